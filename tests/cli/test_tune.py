"""The command `tune`."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from command_runs import ENVIRONMENT
from command_runs import gpubp as run
from gpubp.tables.recipe import Recipe

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

import gpubp
from gpubp.tables.model import TabularModel

WORDS = ["tune", "table.csv", "--target", "y", "--preset", "fast"]


def tune(folder, *words):
    return run(*WORDS, *words, cwd=folder)


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    x = random.uniform(size=(200, 2))
    with open(tmp_path / "table.csv", "w", newline="") as file:
        rows = [[f"{a:.3f}", f"{b:.3f}", f"{3 * a + b:.3f}"] for a, b in x]
        csv.writer(file).writerows([["a", "b", "y"], *rows])
    return tmp_path


def test_the_best_is_saved_and_the_trials_are_kept(folder):
    done = tune(folder, "--trials", 3, "--epochs", 3, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    _, *lines = (folder / "table.trials.jsonl").read_text().splitlines()
    trials = [json.loads(line) for line in lines]
    assert [trial["epochs"] for trial in trials] == [1, 1, 1, 3]
    assert report["trials"] == 4
    fast = Recipe.of("fast", 120, "regression", {})
    of_preset = next(trial["settings"] for trial in trials if trial["number"] == 0)
    assert of_preset == {name: getattr(fast, name) for name in of_preset} | {"hidden": [128, 128]}
    assert report["settings"] == trials[-1]["settings"]
    assert (folder / "table.safetensors").exists()
    again = tune(folder, "--trials", 3, "--epochs", 3)
    assert again.returncode == 0, again.stderr
    assert "4 trials; the best:" in again.stdout
    assert (folder / "table.trials.jsonl").read_text().splitlines()[1:] == lines


def ended(folder, by):
    """Begin a search of many trials and end it by a signal after the first of them.

    Return the code it ended with, what it said and the lines that it kept.
    """
    command = [sys.executable, "-m", "gpubp", *WORDS, "--trials", "1000"]
    with subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE,
        # a shell that started the tests in the background has them ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        kept, until = folder / "table.trials.jsonl", time.monotonic() + 60
        while not kept.exists() and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(by)
        _, said = process.communicate(timeout=60)
    return process.returncode, said, kept.read_text().splitlines()


def test_ctrl_c_keeps_what_is_known(folder):
    code, said, lines = ended(folder, signal.SIGINT)
    assert code == 130
    assert b"trials are kept in table.trials.jsonl" in said
    assert len(lines) >= 2


def test_a_killed_search_goes_on(folder):
    code, _, lines = ended(folder, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert len(lines) >= 2
    done = tune(folder, "--trials", 1000, "--time-limit", 2)
    assert done.returncode == 0, done.stderr
    after = (folder / "table.trials.jsonl").read_text().splitlines()
    assert after[: len(lines)] == lines
    assert len(after) > len(lines)


def test_ctrl_c_while_the_best_is_trained_saves_the_best_model_so_far(folder, monkeypatch, capsys):
    """The press comes after the first epoch of the last training."""
    from gpubp.cli.app import app

    train = TabularModel.train

    def pressed(model, prepared, recipe, **settings):
        class Press(gpubp.Callback):
            def epoch_end(self, net, history):
                raise KeyboardInterrupt

        extra = {"callbacks": [Press()]}  # in place of those that watch a trial
        return train(model, prepared, recipe, **(extra | settings))

    monkeypatch.chdir(folder)
    monkeypatch.setattr(TabularModel, "train", pressed)
    words = ["tune", "table.csv", "--target", "y", "--preset", "fast", "--trials", "1"]
    with pytest.raises(SystemExit) as end:
        app([*words, "--epochs", "3"])
    assert end.value.code == 130
    assert "the best model so far is saved in table.safetensors" in capsys.readouterr().err
    assert TabularModel.load(folder / "table.safetensors").net.history.epochs == 1


def test_a_file_that_is_no_model_of_the_target_is_not_written_over(folder):
    (folder / "mine").write_text("mine")
    done = tune(folder, "--trials", 1, "--epochs", 1, "--out", "mine")
    assert done.returncode == 2
    assert "--overwrite, is needed" in done.stderr
    assert (folder / "mine").read_text() == "mine"
    assert (
        tune(folder, "--trials", 1, "--epochs", 1, "--out", "mine", "--overwrite").returncode == 0
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "a", "--file", "./a"], "--out and --file are both a"),
        (["--validation", 0], "validation is 0"),
        (["--time-limit", 0], "--time-limit is 0"),
        (["--target", "z"], "'z'"),
    ],
)
def test_bad_input_is_one_line(folder, words, said):
    done = tune(folder, *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
