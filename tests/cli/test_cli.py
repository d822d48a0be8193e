"""The command end to end."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from command_runs import ENVIRONMENT, good, gpubp, process, read_rows

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")


def test_the_main_job_and_what_it_says_to_try_next(tmp_path):
    """Each run a process of its own, as users have them."""
    output = good("train", "digits", cwd=tmp_path, run=process)
    line = next(line for line in output.splitlines() if line.startswith("test accuracy"))
    assert float(line.split()[2]) >= 0.96
    assert "359 held-out rows" in line
    assert os.listdir(tmp_path) == ["digits.safetensors"]
    assert max(map(len, output.splitlines())) <= 80
    commands = [line.split() for line in output.partition("try next:")[2].splitlines() if line]
    assert [words[1] for words in commands] == ["evaluate", "predict", "explain"]
    for words in commands:
        assert words[0] == "gpubp"
        good(*words[1:], cwd=tmp_path, run=process)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_bundled_sets(name, tmp_path):
    report = json.loads(good("train", name, "--json", "--epochs", 30, cwd=tmp_path))
    assert report["task"] == ("regression" if name == "diabetes" else "classification")
    assert report["train_rows"] > report["test_rows"] > 0
    measured = json.loads(good("evaluate", report["out"], name, "--json", cwd=tmp_path))
    assert all(isinstance(value, float) for value in measured.values())


def test_evaluate_agrees_with_scikit_learn(folder):
    metrics = pytest.importorskip("sklearn.metrics")
    measured = json.loads(
        good("evaluate", "people.safetensors", "people.csv", "--json", cwd=folder)
    )
    rows = read_rows(folder / "people.csv")
    good("predict", "people.safetensors", "people.csv", "--out", "p.csv", cwd=folder)
    answers = read_rows(folder / "p.csv")
    true, predicted = [row["rich"] for row in rows], [row["prediction"] for row in answers]
    shares = [[float(row[f"probability_{label}"]) for label in ("no", "yes")] for row in answers]
    assert measured["accuracy"] == pytest.approx(metrics.accuracy_score(true, predicted))
    assert measured["f1_macro"] == pytest.approx(metrics.f1_score(true, predicted, average="macro"))
    shares = np.array(shares) / np.sum(shares, axis=1, keepdims=True)  # six digits were written
    assert measured["log_loss"] == pytest.approx(metrics.log_loss(true, shares), rel=1e-3)
    assert measured["accuracy"] > 0.8


def test_regression_agrees_with_scikit_learn(folder):
    metrics = pytest.importorskip("sklearn.metrics")
    measured = json.loads(good("evaluate", "income.model", "incomes.csv", "--json", cwd=folder))
    true = [float(row["income"]) for row in read_rows(folder / "incomes.csv")]
    good("predict", "income.model", "incomes.csv", "--out", "answers.csv", cwd=folder)
    predicted = [float(row["prediction"]) for row in read_rows(folder / "answers.csv")]
    assert measured["r2"] == pytest.approx(metrics.r2_score(true, predicted))
    error = metrics.mean_squared_error(true, predicted)
    assert measured["mean_squared_error"] == pytest.approx(error)
    assert measured["r2"] > 0.5


def test_predict_takes_the_raw_file_without_the_target(folder):
    (folder / "new.csv").write_text("town,age,other\nOslo,33.3,1\n,,2\n")
    answers = json.loads(good("predict", "people.safetensors", "new.csv", "--json", cwd=folder))
    names = {"prediction", "probability_no", "probability_yes"}
    assert [set(answer) for answer in answers] == [names] * 2


def test_unseen_categories_warn_or_are_refused(folder):
    (folder / "mars.csv").write_text("town,age\nMars,33\nRome,44\n")
    done = gpubp("predict", "people.safetensors", "mars.csv", cwd=folder)
    assert done.returncode == 0
    assert "1 of 2 rows" in done.stderr
    assert "'Mars'" in done.stderr
    done = gpubp("predict", "people.safetensors", "mars.csv", "--strict", cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""


def test_export(folder):
    """What a file predicts by itself is what the command predicts."""
    for name in ("people.py", "people.onnx"):
        good("export", "people.safetensors", name, cwd=folder)
    alone = subprocess.run(
        [sys.executable, "people.py", "people.csv"], cwd=folder, capture_output=True, text=True
    )
    expected = good("predict", "people.safetensors", "people.csv", cwd=folder).splitlines()[1:]
    assert alone.stdout.split() == [line.split(",")[0] for line in expected]


def test_explain(folder):
    text = good("explain", "people.safetensors", "people.csv", "--row", 3, cwd=folder)
    assert "expected rich of row 3" in text
    for words in ("weighted sum", "slope", "error", "before", "after"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 80
    trace = json.loads(
        good("explain", "people.safetensors", "people.csv", "--row", 3, "--json", cwd=folder)
    )
    assert [len(layer["bias_after"]) for layer in trace["layers"]] == [1, 256, 256, 256, 2]
    assert trace["loss_after"] <= trace["loss"]
    (folder / "new2.csv").write_text("town,age\nOslo,33.3\n")
    assert "own answer is expected" in good("explain", "people.safetensors", "new2.csv", cwd=folder)


def test_doctor(tmp_path):
    facts = json.loads(good("doctor", "--json", cwd=tmp_path))
    assert facts["backends"]["cpu"] == ""
    assert facts["auto"] == "cpu"
    assert facts["auto_reason"] == "GPUBP_BACKEND=cpu"
    assert facts["versions"]["numpy"] == np.__version__
    assert any(library["library"] for library in facts["blas"])
    text = good("doctor", cwd=tmp_path)
    assert "backend gpu" in text
    assert "BLAS" in text


def test_a_closed_pipe_is_no_error(folder):
    script = f"{sys.executable} -m gpubp predict people.safetensors people.csv | head -1"
    done = subprocess.run(
        ["sh", "-c", script], cwd=folder, capture_output=True, text=True, env=ENVIRONMENT,
        check=False,
    )  # fmt: skip
    assert done.stdout.startswith("prediction,")
    assert done.stderr == ""


def test_version_and_help(tmp_path):
    import gpubp as package

    assert good("--version", cwd=tmp_path) == f"gpubp {package.__version__}\n"
    assert "train" in good("--help", cwd=tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "inspect",
        "train",
        "tune",
        "predict",
        "evaluate",
        "explain",
        "report",
        "learn",
        "export",
        "card",
        "doctor",
        "launch",
        "plan",
    ],
)
def test_every_help_has_an_example(tmp_path, name):
    said = " ".join(good(name, "--help", cwd=tmp_path).split())
    assert f"Example: gpubp {name}" in said


def test_completion_can_be_installed(tmp_path):
    assert "--install-completion" in good("--help", cwd=tmp_path)


def test_inspect_says_what_a_table_holds_and_trains_nothing(tmp_path):
    lines = ["id,town,price,y"]
    for number in range(60):
        town = "Rome" if number % 2 else "Oslo"
        lines.append(f"{number},{town if number != 3 else ''},{number % 7}.5,{number % 3}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    done = gpubp("inspect", "t.csv", "--target", "y", cwd=tmp_path)
    assert done.returncode == 0
    assert "classification of y: 60 rows, 4 columns" in done.stdout
    assert "2 different: Oslo, Rome" in done.stdout
    assert "the target" in done.stdout
    assert "column 'id' numbers the rows, which says nothing of new ones: --drop id" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    trained = gpubp("train", "t.csv", "--target", "y", "--epochs", 1, cwd=tmp_path)
    assert "column 'id' numbers the rows" in trained.stderr
