"""How many threads a process takes, beside others of the same job."""

from __future__ import annotations

import os

import pytest

joblib = pytest.importorskip("joblib")

FEW = 2


def test_processes_of_joblib_share_the_processors_among_them(monkeypatch):
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)

    def threads_of_a_worker() -> tuple[int, int]:  # within, for its text to go to the workers
        from gpubp.backends.cpu.thread_count import thread_count

        return thread_count(), os.getpid()

    with joblib.parallel_config("loky", n_jobs=FEW):
        answers = joblib.Parallel()(joblib.delayed(threads_of_a_worker)() for _ in range(FEW))
    cores = joblib.cpu_count()
    for threads, process in answers:
        assert process != os.getpid()
        assert threads == max(1, cores // FEW), "more threads than processors in all"
