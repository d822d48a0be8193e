"""Files that a command would write over: refused before any work, and left as they were."""

import os

import numpy as np
import pytest

from command_runs import good, gpubp, refused, write_rows

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")


@pytest.fixture
def folder(tmp_path):
    """A folder with a table, a model of it, and links to both."""
    random = np.random.default_rng(0)
    rows = [[f"{a:.3f}", f"{b:.3f}", f"{a - b:.3f}"] for a, b in random.normal(size=(40, 2))]
    write_rows(tmp_path / "rows.csv", [["a", "b", "y"], *rows])
    good("train", "rows.csv", "--target", "y", "--epochs", 1, "--preset", "fast", cwd=tmp_path)
    (tmp_path / "sub").mkdir()
    os.symlink(tmp_path / "rows.csv", tmp_path / "link.csv")
    os.link(tmp_path / "rows.csv", tmp_path / "hard.csv")
    os.symlink(tmp_path / "rows.safetensors", tmp_path / "model.py")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        *(
            ["train", "rows.csv", "--target", "y", "--out", out]
            for out in ("rows.csv", "link.csv", "hard.csv", "sub/../rows.csv")
        ),
        ["train", "link.csv", "--target", "y", "--out", "rows.csv"],
        ["predict", "rows.safetensors", "rows.csv", "--out", "rows.csv"],
        ["predict", "rows.safetensors", "rows.csv", "--out", "./rows.safetensors"],
        ["predict", "rows.safetensors", "link.csv", "--out", "hard.csv"],
        ["export", "rows.safetensors", "model.py"],
    ],
    ids=" ".join,
)
def test_a_file_that_is_read_is_not_written_over(words, folder):
    before = {name: (folder / name).read_bytes() for name in ("rows.csv", "rows.safetensors")}
    assert "which is read here and would be written over" in refused(*words, cwd=folder)
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_a_folder_of_parquet_files_is_not_written_into_over_one_of_them(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(
        pyarrow.table({"a": [1.0, 2.0], "y": [1.0, 2.0]}), tmp_path / "part.parquet"
    )
    words = ("train", tmp_path, "--target", "y", "--out", tmp_path / "part.parquet")
    assert "which is read here" in refused(*words, cwd=tmp_path)


def test_a_model_of_another_target_is_not_written_over(folder):
    before = (folder / "rows.safetensors").read_bytes()
    words = ("train", "rows.csv", "--target", "a", "--epochs", 1, "--preset", "fast")
    line = refused(*words, cwd=folder)
    assert "rows.safetensors exists and is a model that predicts 'y', not 'a'" in line
    assert "--overwrite" in line
    assert (folder / "rows.safetensors").read_bytes() == before
    good(*words, "--overwrite", cwd=folder)
    done = gpubp("predict", "rows.safetensors", "rows.csv", cwd=folder)
    assert done.returncode == 0
    good(*words, cwd=folder)  # the same target again needs no word


def test_a_file_that_is_no_model_is_not_written_over(folder):
    (folder / "notes.txt").write_text("a year's notes")
    words = ("train", "rows.csv", "--target", "y", "--out", "notes.txt")
    assert "notes.txt exists and is no model of a table" in refused(*words, cwd=folder)
    assert (folder / "notes.txt").read_text() == "a year's notes"


def test_predictions_are_not_written_over_another_model(folder):
    os.rename(folder / "rows.safetensors", folder / "m")
    (folder / "other").write_bytes((folder / "m").read_bytes())
    line = refused("predict", "m", "rows.csv", "--out", "other", cwd=folder)
    assert "other is a model that predicts 'y'" in line
