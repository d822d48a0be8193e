"""Trainings by the command: what is saved however they end, and what is shown meanwhile."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time

import numpy as np
import pytest

from command_runs import ENVIRONMENT, good, gpubp, refused
from gpubp import load

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")


def test_a_training_goes_on_from_its_checkpoints(tmp_path):
    """Cut short and gone on with: the same model as trained in one go; another run is refused."""
    options = ("train", "iris", "--checkpoint", "run", "--validation", "0", "--epochs", "6")
    good(*options, "--out", "whole", cwd=tmp_path)
    for member in (0, 1):
        folder = tmp_path / "run" / f"member-{member}"
        os.remove(max(folder.iterdir()))  # as if it had been killed before the last epoch
    good(*options, "--resume", "--out", "long", cwd=tmp_path)
    load_file = pytest.importorskip("safetensors.numpy").load_file
    long, whole = (load_file(tmp_path / name) for name in ("long", "whole"))
    for name in ("parameters", "parameters.1"):
        np.testing.assert_array_equal(long[name], whole[name])
    done = gpubp(*options, "--resume", "--seed", "1", cwd=tmp_path)
    assert done.returncode == 2
    assert "is of another run: seed is 1 here and 0 there" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_presets_members_and_refit(tmp_path):
    """A setting that is given replaces that of the preset."""
    words = ("train", "wine", "--preset", "fast", "--members", "2", "--refit", "--time-limit", "60")
    report = json.loads(good(*words, "--json", cwd=tmp_path))
    assert report["members"] == 2
    assert report["accuracy"] > 0.9
    answers = json.loads(good("predict", report["out"], "wine", "--json", cwd=tmp_path))
    shares = [[answer[f"probability_class_{k}"] for k in range(3)] for answer in answers]
    np.testing.assert_allclose(np.sum(shares, axis=1), 1, rtol=1e-5)


def test_divergence_saves_the_last_good_weights(tmp_path):
    done = gpubp(
        "train", "digits", "--optimizer", "sgd", "--learning-rate", "1e12", cwd=tmp_path
    )  # fmt: skip
    assert done.returncode == 1
    assert "not finite at step" in done.stderr
    assert "layer" in done.stderr
    measured = json.loads(good("evaluate", "digits.safetensors", "digits", "--json", cwd=tmp_path))
    assert 0 <= measured["accuracy"] <= 1


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_saves_the_best_model_so_far(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "gpubp", "train", "digits", "--epochs", "100000",
         "--patience", "100000"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        # a shell that started the tests in the background has them ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("backend:"):
            break
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()  # nothing goes on after a test that failed
    assert process.returncode == 130
    assert "best model so far is saved" in errors
    assert "Traceback" not in errors
    measured = json.loads(good("evaluate", "digits.safetensors", "digits", "--json", cwd=tmp_path))
    assert measured["accuracy"] > 0.9


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals of POSIX")
def test_the_bar_is_drawn_on_a_terminal_only(tmp_path):
    import pty

    words = [sys.executable, "-m", "gpubp", "train", "iris", "--epochs", "3"]
    piped = gpubp("train", "iris", "--epochs", "3", cwd=tmp_path)
    assert piped.stderr == ""
    main, secondary = pty.openpty()
    environment = {**ENVIRONMENT, "TERM": "xterm"}
    process = subprocess.Popen(
        words, cwd=tmp_path, stdin=secondary, stdout=secondary, stderr=secondary, env=environment
    )
    os.close(secondary)
    shown = b""
    try:
        while chunk := os.read(main, 65536):
            shown += chunk
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(main)
    assert process.wait(30) == 0
    assert "3/3" in shown.decode()
    assert "━" in shown.decode()


def test_measures_over_folds(tmp_path):
    """They are told before the training, and in JSON with what each fold gave."""
    words = ("train", "iris", "--preset", "fast", "--epochs", "4", "--cv", "3", "--test", "0")
    spread = json.loads(good(*words, "--json", cwd=tmp_path))["cv"]["accuracy"]
    assert len(spread["folds"]) == 3
    for share in spread["folds"]:
        assert share * 50 == pytest.approx(round(share * 50)), "50 rows a fold"
    assert spread["mean"] == pytest.approx(statistics.mean(spread["folds"]))
    assert spread["deviation"] == pytest.approx(statistics.stdev(spread["folds"]))
    text = good(*words, cwd=tmp_path)
    told, _, after = text.partition("4 epochs in")
    assert "150 rows in 3 folds" in told
    values = (spread["mean"], spread["deviation"], min(spread["folds"]), max(spread["folds"]))
    line = next(line for line in told.splitlines() if line.startswith("accuracy"))
    assert line.split()[1:] == [f"{value:.4g}" for value in values]
    assert "model saved" in after


def test_a_fold_that_diverges_is_named(tmp_path):
    words = ("--optimizer", "sgd", "--learning-rate", "1e30", "--cv", "3", "--preset", "fast")
    done = gpubp("train", "wine", *words, cwd=tmp_path)
    assert done.returncode == 1, "as of any training that diverges"
    (line,) = done.stderr.splitlines()
    assert line.startswith("gpubp: error: fold 1 of 3: the loss is not finite at step ")
    assert line.endswith("; no model is saved")
    assert not os.listdir(tmp_path)


def test_the_epoch_may_go_by_another_measure(tmp_path):
    """What it is of each epoch lies in the model file; a checkpoint of another one is refused."""
    words = ("train", "breast_cancer", "--preset", "fast", "--epochs", "3", "--checkpoint", "run")
    good(*words, "--metric", "auc", cwd=tmp_path)
    history = load(tmp_path / "breast_cancer.safetensors").model_.net.history
    assert [*history.metrics] == ["auc"]
    assert len(history.metrics["auc"]) == 3
    line = refused(*words, "--metric", "accuracy", "--resume", cwd=tmp_path)
    assert "is of another run" in line


PRESSED_AT_AN_IMPORT = """
import builtins, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Press:
    def find_spec(self, name, *others):
        if name == "gpubp.cli.app":
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt as error:
                raise getattr(builtins, sys.argv[1]) from error
sys.meta_path.insert(0, Press())
from gpubp.__main__ import main
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "AttributeError"])
def test_ctrl_c_while_the_command_is_imported_is_one_line(tmp_path, raised):
    """On a busy machine imports take seconds, and pandas' raises another error when torn."""
    command = [sys.executable, "-c", PRESSED_AT_AN_IMPORT, raised]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 130
    assert done.stderr == "gpubp: interrupted before it was done; no file is left half written\n"
