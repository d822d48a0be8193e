"""How many threads this process computes with on the CPU."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gpubp.backends.cpu import blas
from gpubp.backends.cpu.host_kernels import host_kernels
from gpubp.backends.cpu.thread_count import thread_count

# What each thread of Python says of the steps that it prepares.
steps = threading.local()


def steps_are_undivided() -> bool:
    """Tell whether the steps that this thread prepares are cut into no parts."""
    return getattr(steps, "undivided", False)


def threads_of_steps() -> int:
    """Return for how many threads this thread of Python prepares steps."""
    return 1 if steps_are_undivided() else thread_count()


def use_threads(count: int) -> None:
    """Have BLAS and the compiled kernels use so many threads from now on."""
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[variable] = str(count)  # for what has not looked yet
    thread_count.cache_clear()
    host, _ = host_kernels()
    if host is not None:
        host.set_threads(count)
    blas.set_threads(count)


@contextmanager
def one_thread(undivided: bool = False) -> Iterator[None]:
    """Compute within this context on the calling thread alone: others train beside it.

    No bit of a result depends on it, unless steps are `undivided`: those prepared within have the
    bits, and take the time, of a process that computes with one thread.
    """
    host, _ = host_kernels()
    before = getattr(steps, "alone", False), steps_are_undivided()
    steps.alone, steps.undivided = True, undivided or before[1]
    with blas.threads_for(0):
        if host is not None:
            host.work_alone(True)
        try:
            yield
        finally:
            steps.alone, steps.undivided = before
            if host is not None:
                host.work_alone(steps.alone)
