"""`evaluate --part`: the rows that training did not use, known again in the table."""

import json
import random
import re

import pytest

from command_runs import good, gpubp, refused, write_rows

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")
QUICK = ("--preset", "fast", "--epochs", "3", "--hidden", "8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two tables, one of classes and one of numbers, and models of both."""
    folder = tmp_path_factory.mktemp("parts")
    draw = random.Random(0)
    rows = [[round(draw.gauss(0, 1), 3), draw.choice("ab"), draw.random()] for _ in range(200)]
    write_rows(
        folder / "classes.csv",
        [["x", "c", "y"], *[[x, c, "yes" if x + e > 0.5 else "no"] for x, c, e in rows]],
    )
    write_rows(folder / "numbers.csv", [["x", "c", "y"], *[[x, c, x + e] for x, c, e in rows]])
    return folder


def trained(folder, name):
    return json.loads(good("train", name, "--target", "y", *QUICK, "--json", cwd=folder))


@pytest.mark.parametrize("name", ["classes", "numbers"])
def test_the_test_part_gives_the_measures_of_the_training(folder, name):
    report = trained(folder, f"{name}.csv")
    words = ("evaluate", f"{name}.safetensors", f"{name}.csv", "--json")
    measured = json.loads(good(*words, "--part", "test", cwd=folder))
    for key, value in measured.items():
        assert report[key] == value, key
    whole = json.loads(good(*words, cwd=folder))
    parts = [json.loads(good(*words, "--part", part, cwd=folder)) for part in ("train", "all")]
    assert parts[0] != whole
    assert parts[1] == whole


def test_a_shuffled_table_has_the_same_parts(folder):
    report = trained(folder, "numbers.csv")
    header, *lines = (folder / "numbers.csv").read_text().splitlines()
    random.Random(1).shuffle(lines)
    (folder / "shuffled.csv").write_text("\n".join([header, *lines]) + "\n")
    words = ("evaluate", "numbers.safetensors", "shuffled.csv", "--part", "test", "--json")
    measured = json.loads(good(*words, cwd=folder))
    assert measured["r2"] == pytest.approx(report["r2"])


def test_rows_trained_on_are_said_to_be(folder):
    report = trained(folder, "classes.csv")
    done = gpubp("evaluate", "classes.safetensors", "classes.csv", cwd=folder)
    used = report["train_rows"] + report["validation_rows"]
    line = f"{used} of 200 rows were trained on; --part test measures only those that were not"
    assert line in done.stderr
    (folder / "new.csv").write_text("x,c,y\n9.5,a,yes\n-9.5,b,no\n")
    done = gpubp("evaluate", "classes.safetensors", "new.csv", cwd=folder)
    assert "trained on" not in done.stderr
    line = refused("evaluate", "classes.safetensors", "new.csv", "--part", "train", cwd=folder)
    assert "no row of the part 'train'" in line
    line = refused("evaluate", "classes.safetensors", "new.csv", "--part", "tset", cwd=folder)
    assert "'test'" in line


def test_train_suggests_the_part_that_was_held_out(folder):
    output = good("train", "classes.csv", "--target", "y", *QUICK, cwd=folder)
    suggested = re.search(r"gpubp (evaluate .*)", output)[1].split()
    assert suggested[-2:] == ["--part", "test"]
    good(*suggested, cwd=folder)
    output = good("train", "classes.csv", "--target", "y", *QUICK, "--test", "0", cwd=folder)
    assert "--part" not in output
