"""Where the helpers of the team may run: apart from their caller for a while, then anywhere."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from conftest import compiled

# In a process of its own, whose threads are those of NumPy and of the team.
CODE = """
import os, time
import numpy as np, gpubp

def differing():
    threads, allowed = os.listdir("/proc/self/task"), os.sched_getaffinity(0)
    return [thread for thread in threads if os.sched_getaffinity(int(thread)) != allowed]

net = gpubp.Network([30, 128, 64, 10], output="softmax", backend="cpu", seed=0)
x = np.random.default_rng(0).random((1000, 30), dtype=np.float32)
for pause in (0.0, 0.05, 0.3):
    time.sleep(pause)
    for _ in range(300):
        net.predict(x)
end = time.perf_counter() + 20  # mostly a tenth of a second is enough
while differing() and time.perf_counter() < end:
    net.predict(x)
print(differing())
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processors cannot be chosen here")
def test_a_helper_may_use_all_processors_again_after_a_while():
    compiled()
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
