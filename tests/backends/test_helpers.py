"""Where the helpers of the team may run: apart from their caller for a while, then anywhere."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

import gpubp
from conftest import compiled

DEADLINE = 20.0  # seconds; mostly a tenth of one is enough


def differing():
    """Return the processors of those threads of this process that may not use all of its own."""
    allowed = os.sched_getaffinity(0)
    found = [os.sched_getaffinity(int(task.name)) for task in Path("/proc/self/task").iterdir()]
    return [own for own in found if own != allowed]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processors cannot be chosen here")
def test_a_helper_may_use_all_processors_again_after_a_while():
    net = gpubp.Network([30, 128, 64, 10], output="softmax", backend=compiled(), seed=0)
    x = np.random.default_rng(0).random((1000, 30), dtype=np.float32)
    for pause in (0.0, 0.05, 0.3):
        time.sleep(pause)
        for _ in range(300):
            net.predict(x)
    end = time.perf_counter() + DEADLINE
    while differing() and time.perf_counter() < end:
        net.predict(x)
    assert differing() == []
