"""Runs of the command: in this process, or as a process of its own where that proves more."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from unittest import mock

from gpubp.__main__ import main

SETTINGS = {"COLUMNS": "80", "GPUBP_BACKEND": "cpu", "NO_COLOR": "1"}
ENVIRONMENT = {**os.environ, **SETTINGS}
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)  # output is buffered where users run the command


def process(*words, cwd, **keywords):
    return subprocess.run(
        [sys.executable, "-m", "gpubp", *map(str, words)],
        cwd=cwd, capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=120,
        stdin=subprocess.DEVNULL, **keywords,
    )  # fmt: skip


def gpubp(*words, cwd):
    """Return what `process` does, without a second or two for its imports."""
    given = ["gpubp", *map(str, words)]
    with tempfile.TemporaryDirectory() as folder:
        printed = {name: Path(folder, name) for name in ("stdout", "stderr")}
        with contextlib.ExitStack() as around:
            around.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
            around.enter_context(contextlib.chdir(cwd))
            around.enter_context(mock.patch.dict(os.environ, SETTINGS))
            around.enter_context(mock.patch.object(sys, "argv", given))
            around.enter_context(_warnings_of_a_process())
            for name, path in printed.items():
                file = around.enter_context(path.open("w", encoding="utf-8"))
                around.enter_context(mock.patch.object(sys, name, file))
            code = _exit_code()
        texts = [path.read_text(encoding="utf-8") for path in printed.values()]
        return subprocess.CompletedProcess(given, code, *texts)


@contextlib.contextmanager
def _warnings_of_a_process():
    """Handle warnings as Python does by itself, not as pytest is told to."""
    with warnings.catch_warnings():
        warnings.resetwarnings()
        for kind in (DeprecationWarning, ImportWarning, PendingDeprecationWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)
        yield


def _exit_code():
    try:
        main()
    except SystemExit as left:
        return left.code or 0
    except BaseException:  # what ends a process with a traceback
        traceback.print_exc()
        return 1
    return 0


def good(*words, cwd, run=gpubp):
    done = run(*words, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*words, cwd):
    """Return the one line that says why a command with bad input ended with exit code 2."""
    done = gpubp(*words, cwd=cwd)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("gpubp: error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def write_rows(path, rows, separator=","):
    """Write lists of cells as a CSV file."""
    with open(path, "w", newline="") as file:
        csv.writer(file, delimiter=separator).writerows(rows)


def read_rows(path):
    """Return the rows of a CSV file as dicts."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
