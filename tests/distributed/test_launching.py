"""How ranks are started and watched: launchers, threads, timeouts; no MPI is needed."""

from __future__ import annotations

import math
import time

import pytest

from gpubp import errors
from gpubp.distributed import launching, startup
from gpubp.distributed.watchdog import Watchdog


def test_the_watchdog_ends_a_job_that_waits_too_long(capfd):
    ended = []
    dog = Watchdog(3, 0.3, ended.append)
    dog.step = 17
    with dog.waiting("a checkpoint", patient=True):
        time.sleep(0.6)
    for _ in range(5):
        with dog.waiting("the sum"):
            time.sleep(0.1)
    assert not ended
    with dog.waiting("the sum of the gradients"):
        time.sleep(1.5)
    assert ended == [75]
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "rank 3 waited 0.3 s at step 17 for the sum of the gradients" in said


def test_the_launcher_must_be_that_of_the_library():
    startup.check_launcher({"PMI_SIZE": 2}, 2, "MPICH")
    with pytest.raises(
        errors.DistributedError, match=r"started 4 processes \(PMI_SIZE\) and MPICH"
    ):
        startup.check_launcher({"PMI_SIZE": 4}, 1, "MPICH")


def test_open_mpis_launcher_is_known_before_mpi_begins(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    startup.check_family("Open MPI", (4, 1, 6))
    with pytest.raises(errors.DistributedError, match="Open MPI's and mpi4py uses MPICH"):
        startup.check_family("MPICH", (5, 0, 2))
    monkeypatch.delenv("PMIX_NAMESPACE", raising=False)
    with pytest.raises(errors.DistributedError, match=r"started 2 .* knows of 1"):
        startup.check_family("Open MPI", (5, 0, 11))
    monkeypatch.setenv("PMIX_NAMESPACE", "prterun-1")
    startup.check_family("Open MPI", (5, 0, 11))
    assert startup.is_launched()


def test_no_launcher_no_ranks(monkeypatch):
    for name in startup.SIZES:
        monkeypatch.delenv(name, raising=False)
    assert not startup.is_launched()


@pytest.mark.parametrize(
    ("cores", "bound", "local", "threads"),
    [(8, 8, 2, 4), (8, 8, 3, 2), (2, 2, 4, 1), (8, 1, 8, 1), (8, 4, 2, 4), (8, 4, 1, 4)],
)
def test_threads_of_a_rank(monkeypatch, cores, bound, local, threads):
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(bound)), raising=False)
    assert startup.threads_a_rank(local) == threads


@pytest.mark.parametrize("timeout", ["x", 0, -1.0, math.inf])
def test_a_timeout_that_is_none(monkeypatch, timeout):
    with pytest.raises(errors.ConfigurationError, match="timeout is"):
        startup.communicator(timeout)


@pytest.mark.parametrize(
    ("words", "processes", "message"),
    [
        ([], 2, "nothing to launch"),
        (["train"], 0, "-n is 0"),
        (["none.py", "-x"], 2, "none.py does not exist; a Python script is needed"),
    ],
)
def test_nothing_to_launch(words, processes, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        launching.launch(words, processes)


def test_the_launchers_environment(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    found = launching.environment(4, 12.5)
    assert found["OPENBLAS_NUM_THREADS"] == "2"
    assert found["OMP_NUM_THREADS"] == "5"  # the user's own
    assert found["GPUBP_TIMEOUT"] == "12.5"
