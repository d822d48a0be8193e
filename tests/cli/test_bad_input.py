"""What the command says of bad input: one line, exit code 2, and nothing written."""

import os
import re
import subprocess
import sys

import pytest

from command_runs import ENVIRONMENT, gpubp, process

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")


BAD = [
    (["train", "nothing.csv", "--target", "y"], "'nothing.csv' does not exist"),
    (["train", "empty.csv", "--target", "y"], "is empty"),
    (["train", "header.csv", "--target", "b"], "no rows"),
    (["train", "one.csv", "--target", "y"], "one class only"),
    (["train", "inf.csv", "--target", "y"], "row 7.*inf|inf.*row 7"),
    (["train", "people.csv"], "--target is missing"),
    (["train", "people.csv", "--target", "ritch"], "did you mean 'rich'"),
    (["train", "people.csv", "--target", "rich", "--task", "regression"], "is text"),
    (["train", "iris", "--hidden", "12,x"], "--hidden is '12,x'"),
    (["train", "iris", "--activation", "rleu"], "did you mean 'relu'"),
    (["train", "iris", "--optimizer", "adma"], "did you mean 'adam'"),
    (["train", "iris", "--optimizer", "sgd", "--weight-decay", "1"], "is for adamw"),
    (["train", "iris", "--epochs", "0"], "epochs is 0"),
    (["train", "iris", "--learning-rate", "-1"], "learning_rate is -1.0"),
    (["train", "iris", "--dropout", "1"], "dropout is 1.0"),
    (["train", "iris", "--batch-size", "0"], "batch_size is 0"),
    (["train", "iris", "--batch-size", "500"], "batch_size is 500 and the data have 90 rows"),
    (["train", "iris", "--test", "0.9"], "leave nothing to train on"),
    (["train", "bare.csv", "--target", "y"], "first line, 1, x, looks like data; --no-header"),
    (["train", "iris", "--time-column", "day"], "unknown column 'day'"),
    (["train", "people.csv", "--target", "rich", "--time-column", "town"], "holds text or has mis"),
    (["train", "iris", "--cv", "3", "--time-column", "day"], "one of them is needed"),
    (["train", "iris", "--cv", "1"], "--cv is 1; 2 folds or more"),
    (["train", "iris", "--cv", "151"], "151 folds of 150 rows; 2 to 150"),
    (["train", "people.csv", "--target", "rich", "--cv", "3", "--stream"], "--cv 3 of a table"),
    (["train", "iris", "--metric", "acuracy"], "did you mean 'accuracy'"),
    (["train", "iris", "--metric", "rmse"], "is 'rmse' and the task is classification; loss, acc"),
    (["train", "diabetes", "--metric", "auc"], "is 'auc' and the task is regression; loss, rmse"),
    (["train", "iris", "--metric", "auc"], "is of two classes, and the target has 3"),
    (["train", "iris", "--metric", "accuracy", "--validation", "0"], "no validation rows"),
    (["train", "iris", "--preset", "bset"], "did you mean 'best'"),
    (["train", "iris", "--members", "0"], "members is 0"),
    (["train", "iris", "--backend", "tpu"], "known: auto, cpu, gpu"),
    (["train", "iris", "--dtype", "float16"], "float32 or float64"),
    (["train", "iris", "--task", "clustering"], "auto, classification, regression"),
    (["train", "iris", "--seed", "-1"], "seed is -1"),
    (["train", "iris", "--out", "none/model"], "cannot write none/model: No such file"),
    (["train", "iris", "--out", "."], "is a folder"),
    (["train", "iris", "--out", "people.csv/model"], "cannot write people.csv/model: Not a dir"),
    (["predict", "torn.model", "people.csv"], "torn or no model file"),
    (["predict", "people.csv", "people.csv"], "torn or no model file"),
    (["predict", "none.model", "people.csv"], "does not exist"),
    (["predict", "people.safetensors", "one.csv"], "lacks the column"),
    (["predict", "people.safetensors", "text.csv"], "'age'"),
    (["predict", "people.safetensors", "people.csv", "--out", "none/p.csv"], "cannot write"),
    (["evaluate", "people.safetensors", "text2.csv"], "unknown column 'rich'"),
    (["explain", "people.safetensors", "people.csv", "--row", "201"], "row from 1 to 200"),
    (["explain", "people.safetensors", "people.csv", "--row", "0"], "row from 1 to 200"),
    (["export", "people.safetensors", "people.pmml"], "ends in '.pmml'; .onnx or .py is needed"),
    (["export", "people.safetensors", "none/people.py"], "cannot write"),
    (["export", "none.model", "people.py"], "does not exist"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(words, message, folder):
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("a,b\n")
    (folder / "one.csv").write_text("a,y\n" + "1,x\n" * 20)
    (folder / "inf.csv").write_text("a,y\n" + "1,x\n2,z\n" * 3 + "inf,x\n" + "1,x\n2,z\n" * 9)
    (folder / "bare.csv").write_text("1,x\n2,z\n")
    (folder / "text.csv").write_text("town,age\nRome,old\n")
    (folder / "text2.csv").write_text("town,age\nRome,33\n")
    (folder / "torn.model").write_bytes((folder / "people.safetensors").read_bytes()[:200])
    before = {name: os.path.getmtime(folder / name) for name in os.listdir(folder)}
    done = gpubp(*words, cwd=folder)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("gpubp: error: ")]
    assert len(lines) == 1
    assert re.search(message, lines[0]), lines[0]
    assert "Traceback" not in done.stderr
    assert {name: os.path.getmtime(folder / name) for name in os.listdir(folder)} == before


def test_usage_errors_exit_with_2(tmp_path):
    for words in (["nonsense"], ["train"], ["train", "iris", "--epochs", "many"]):
        done = process(*words, cwd=tmp_path)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_gpu_asked_for_and_not_there(tmp_path):
    from gpubp.backends import available_backends

    reason = available_backends()["gpu"]
    if not reason:
        pytest.skip("a GPU works here")
    done = gpubp("train", "iris", "--backend", "gpu", cwd=tmp_path)
    assert done.returncode == 2
    assert " ".join(reason.split()) in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_one_line(folder):
    done = gpubp("predict", "people.safetensors", "people.csv", "--out", "/dev/full", cwd=folder)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gpubp", "predict", "people.safetensors", "people.csv"],
            cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            env=ENVIRONMENT,
        )  # fmt: skip
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_extra_is_named(tmp_path):
    code = (
        "import sys, importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda name, *rest: None if name == 'typer' else find(name, *rest);"
        "from gpubp.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "gpubp: error: the command needs typer: pip install 'gpubp[cli]'\n"
