"""Processes that leave, stand still or differ, and signals: every job ends, and says why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from mpi_jobs import (  # noqa: F401
    AT_MOST,
    TIMEOUT,
    finished,
    nothing_left,
    processes_of,
    pytestmark,
)

SCRIPT = """
import json, os, signal, sys, time
fault = json.loads(sys.argv[1])
rank = int(os.environ.get("PMI_RANK") or os.environ.get("OMPI_COMM_WORLD_RANK") or 0)
last = rank == 1
if fault["what"] == "leave before" and last:
    sys.exit(0)
if fault["what"] == "stop before" and last:
    os.kill(os.getpid(), signal.SIGSTOP)
import numpy as np
import gpubp
from gpubp.distributed import communicator
talk = communicator()
if fault["what"] == "leave" and last:
    sys.exit(0)
if fault["what"] == "stop" and last:
    os.kill(os.getpid(), signal.SIGSTOP)
if fault["what"] == "vanish" and last:
    os._exit(0)
if fault["what"] == "vanish all":
    os._exit(0)
generator = np.random.default_rng(0)
rows = 90 if fault["what"] == "rows" and last else 100
x = generator.standard_normal((rows, 6)).astype(np.float32)
y = generator.integers(0, 3, rows)
if fault["what"] == "data" and last:
    x = x + 1
hidden = 9 if fault["what"] == "sizes" and last else 8
net = gpubp.Network([6, hidden, 3], output="softmax", backend="cpu")
rate = 0.1 if fault["what"] == "rate" and last else 0.01

class Told:
    def begin(self, net, epochs): print("begun", flush=True)
    def advance(self, history, share): time.sleep(0.05)
    def epoch_end(self, net, history): return False
    def end(self, net, history): pass

class Order:
    def __call__(self, epoch):
        if fault["what"] == "vanish later" and last and epoch == 1:
            os._exit(0)
        return np.random.default_rng(epoch).permutation(rows)

net.fit(x, y, epochs=fault.get("epochs", 3), batch_size=50, distributed=talk, callbacks=[Told()],
        optimizer=gpubp.SGD(rate), shuffle=Order() if fault["what"] == "vanish later" else True)
"""


def test_a_script_of_another_test_is_none_of_ones_own(tmp_path):
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "script.py").write_text("input()")
    command = [sys.executable, tmp_path / "other" / "script.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert processes_of(tmp_path / "other") == [str(process.pid)]
        assert not processes_of(tmp_path / "own")


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return str(path)


def command(script, timeout=1.0, **fault):
    words = [sys.executable, "-m", "gpubp", "launch", "-n", "2", "--timeout", str(timeout), script]
    return [*words, json.dumps(fault)]


@pytest.mark.parametrize(
    "what", ["leave before", "stop before", "leave", "stop", "vanish", "vanish later"]
)
def test_a_rank_that_is_not_there_ends_the_job(script, what):
    done = finished(command(script, what=what))
    assert done.returncode != 0, done.text
    assert done.seconds < 2 * AT_MOST


def test_a_job_whose_ranks_vanish_is_no_success(script):
    done = finished(command(script, what="vanish all"))
    assert done.returncode != 0
    assert "Traceback" not in done.text


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("rows", "rank 1 has rows 90 and rank 0 100"),
        ("data", "rank 1 has data "),
        ("sizes", "rank 1 has sizes [6, 9, 3] and rank 0 [6, 8, 3]"),
        ("rate", "rank 1 has optimizer "),
    ],
)
def test_ranks_that_differ_are_told_so_before_training(script, what, said):
    done = finished(command(script, timeout=5, what=what))
    assert done.returncode != 0
    assert said in done.text
    assert done.seconds < AT_MOST


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_launcher_alone_ends_all_ranks(script, number):
    process = subprocess.Popen(
        command(script, timeout=60, what="", epochs=100_000),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        while b"begun" not in process.stdout.readline():
            pass
        os.kill(process.pid, number)
        start = time.monotonic()
        process.communicate(timeout=TIMEOUT)
        assert time.monotonic() - start < 2 * AT_MOST
        assert process.returncode == 128 + number
    finally:
        process.kill()
