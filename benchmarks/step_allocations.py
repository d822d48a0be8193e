"""Show that a training step allocates no array after the first.

tracemalloc sees every allocation that NumPy makes for array data. For each network the step is
run once to lay out its memory; then the peak of traced memory over ten more steps is compared with
the memory in use before them. What is left does not depend on the batch: Python's
small objects (array views, floats) and the iteration buffer of 8192 numbers (32 KiB) that NumPy
takes inside a broadcast operation. The same step is run at two batch sizes, and the program fails
when a step's peak grows by as much as one number a row.

    python benchmarks/step_allocations.py
"""

from __future__ import annotations

import platform
import sys
import tracemalloc

import numpy as np

import gpubp
from gpubp.data.batches import take_data
from gpubp.data.feeds import feed_of
from gpubp.nn.losses import get_loss
from gpubp.training.epoch_steps import EpochSteps, Training
from gpubp.training.settings import TrainingSettings
from gpubp.training.state import TrainingState

NETWORKS = (
    ([784, 128, 10], "relu", "softmax", "cross_entropy", 0.0),
    ([784, 128, 64, 10], "sigmoid", "sigmoid", "squared_error", 0.0),
    ([784, 128, 10], "relu", "softmax", "cross_entropy", 0.1),
    ([784, 128, 10], "gelu", "softmax", "cross_entropy", 0.1),
    ([784, 128, 64, 10], "sigmoid", "sigmoid", "squared_error", 0.1),
    ([100, 64, 1], "mish", "identity", "huber", 0.1),
)
BATCHES = (128, 960)
STEPS = 10


def peak_growth(sizes, activation, output, loss_name, dropout, rows) -> tuple[int, int]:
    """Return the peak of memory that steps after the first add, and that of the first, in bytes."""
    random = np.random.default_rng(0)
    net = gpubp.Network(sizes, activation, output, backend="cpu", dropout=dropout)
    count = (STEPS + 2) * rows
    x = random.standard_normal((count, sizes[0]), dtype=np.float32)
    y = random.integers(0, max(sizes[-1], 2), count)
    loss = get_loss(loss_name, net.output)
    feed = feed_of(net.stack, take_data(net.stack, x, y, loss), rows, True, loss)
    state, settings = TrainingState(), TrainingSettings(gpubp.Adam(), loss)
    state.use(settings, net.stack)
    steps = EpochSteps(Training(net.stack, state, feed, settings))
    tracemalloc.start()
    steps.run(0, 0, 1)
    first = tracemalloc.get_traced_memory()[1]
    steps.run(0, 1, 2)
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    for number in range(2, STEPS + 2):
        steps.run(0, number, number + 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak - before, first


def main() -> int:
    """Print the table; return 1 when a step allocates arrays."""
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, gpubp {gpubp.__version__}")
    print(gpubp.get_backend("cpu").device)
    print("bytes at the peak over the memory in use, ten steps with Adam\n")
    print(f"{'network':<42}{'dropout':>8}{'batch':>6}{'first step':>12}{'later steps':>13}")
    grown = False
    for sizes, activation, output, loss, dropout in NETWORKS:
        later = []
        for rows in BATCHES:
            growth, first = peak_growth(sizes, activation, output, loss, dropout, rows)
            later.append(growth)
            name = f"{'-'.join(map(str, sizes))} {activation} {loss}"
            print(f"{name:<42}{dropout:>8}{rows:>6}{first:>12,}{growth:>13,}")
        # the smallest array that a step could allocate holds one number a row
        grown = grown or later[1] - later[0] >= 4 * (BATCHES[1] - BATCHES[0])
    print("\nA step allocates arrays." if grown else "\nNo step allocates an array.")
    return int(grown)


if __name__ == "__main__":
    sys.exit(main())
