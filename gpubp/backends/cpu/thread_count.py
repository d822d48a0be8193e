"""How many threads this process was given."""

from __future__ import annotations

import os
from functools import cache


@cache
def thread_count() -> int:
    """Return how many threads BLAS was told to use, or the processors this process may use."""
    told = told_threads()
    if told:
        return told
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def told_threads() -> int:
    """Return how many threads BLAS was told to use; 0 for nothing."""
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(variable, "")
        if value.isdigit() and int(value) > 0:
            return int(value)
    return 0
