"""Runs of the command, each a process of its own."""

import csv
import os
import subprocess
import sys

ENVIRONMENT = {**os.environ, "COLUMNS": "80", "GPUBP_BACKEND": "cpu", "NO_COLOR": "1"}
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)  # output is buffered where users run the command


def gpubp(*words, cwd, **keywords):
    return subprocess.run(
        [sys.executable, "-m", "gpubp", *map(str, words)],
        cwd=cwd, capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=120,
        stdin=subprocess.DEVNULL, **keywords,
    )  # fmt: skip


def good(*words, cwd):
    done = gpubp(*words, cwd=cwd)
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
