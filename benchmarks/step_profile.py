"""Show where the time of a training step goes: matrix products, loops, and what is left.

    python benchmarks/step_profile.py

Every part of a step, done pass by pass, is timed by itself; parts of a kind are added up. The
last column is the same step as it is really done, which for a small network is one call.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections import defaultdict
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
from cases import STEPS, Case, step_batches

import gpubp
from gpubp.backends.cpu.numpy_backend import NumpyBackend

KINDS = ("products", "activate", "activate_backward", "loss", "update")
SECONDS = 1.0


def timed(function: Any, times: dict[str, float], kind: str) -> Any:
    """Return the function with its time added to a kind's."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        start = time.perf_counter()
        result = function(*arguments, **keywords)
        times[kind] += time.perf_counter() - start
        return result

    return call


def step_seconds(net: gpubp.Network, case: Case, times: dict[str, float]) -> list[dict[str, float]]:
    """Return the time of each kind of work in each of as many steps as fit a second."""
    batches, optimizer, found = step_batches(case), gpubp.Adam(), []
    for index in range(3):
        net.train_step(*batches[index], optimizer=optimizer)
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(found) < 5:
        times.clear()
        start = time.perf_counter()
        net.train_step(*batches[len(found) % len(batches)], optimizer=optimizer)
        found.append({"total": time.perf_counter() - start, **times})
    return found


def profile(case: Case) -> list[str]:
    """Return one line of the table."""
    times: dict[str, float] = defaultdict(float)
    net = gpubp.Network(case.sizes, case.activation, "softmax", backend="cpu")
    backend: Any = net.backend
    for kind in KINDS[1:]:
        setattr(backend, kind, timed(getattr(backend, kind), times, kind))
    backend.record = partial(NumpyBackend.record, backend)  # which walks the operations
    with patch.object(np, "dot", timed(np.dot, times, "products")):
        by_pass = step_seconds(net, case, times)
    whole = step_seconds(
        gpubp.Network(case.sizes, case.activation, "softmax", backend="cpu"), case, {}
    )

    def median(kind: str, steps: list[dict[str, float]]) -> float:
        return 1e6 * statistics.median(step.get(kind, 0.0) for step in steps)

    parts = [median(kind, by_pass) for kind in KINDS]
    total = median("total", by_pass)
    name = ["-".join(map(str, case.sizes)), str(case.batch), case.activation]
    numbers = [*parts, total - sum(parts), total, median("total", whole)]
    return name + [f"{number:,.0f}" for number in numbers]


def main() -> int:
    """Print the table, in microseconds."""
    device = gpubp.get_backend("cpu").device
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, {device}; microseconds\n")
    head = ["network", "batch", "activation", *KINDS, "rest", "pass by pass", "as done"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for activation in ("relu", "tanh"):
        for sizes, batch in STEPS:
            line = profile(Case("step", sizes, batch, activation))
            print("| " + " | ".join(line) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
