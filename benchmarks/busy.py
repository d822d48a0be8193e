"""Time training steps on a quiet and on a busy machine, of this gpubp and of another one.

    python benchmarks/busy.py [--before PYTHON] [--rounds 5] [--seconds 1.5]

PYTHON is the interpreter of an environment with another version of gpubp. Both take turns, each in
a process of its own; a busy machine has one or two processes beside it that only count. The table
shows the median over the rounds of the mean time of a step, in microseconds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from markdown import circumstances, table

ADAMW = "AdamW"
# name: sizes, batch, settings of the network, optimizer
NETWORKS = {
    "784-128-10, batch 32": ([784, 128, 10], 32, {}, "Adam"),
    "784-512-512-10, batch 128": ([784, 512, 512, 10], 128, {}, "Adam"),
    "64-256-128-10, batch 32": ([64, 256, 128, 10], 32, {}, ADAMW),
    "the same, dropout 0.2": ([64, 256, 128, 10], 32, {"dropout": 0.2}, ADAMW),
    "the same, layer norm": ([64, 256, 128, 10], 32, {"normalization": "layer"}, ADAMW),
    "the same, batch norm": ([64, 256, 128, 10], 32, {"normalization": "batch"}, ADAMW),
}
BUSY = (0, 1, 2)


def step_times(seconds: float) -> dict[str, float]:
    """Return the mean time of a step of every network, in microseconds."""
    import numpy as np

    import gpubp

    found = {}
    for name, (sizes, batch, settings, optimizer) in NETWORKS.items():
        random = np.random.default_rng(0)
        rows = batch * 50
        x = random.standard_normal((rows, sizes[0]), dtype=np.float32)
        y = random.integers(0, sizes[-1], rows)
        net = gpubp.Network(sizes, "relu", "softmax", "cpu", **settings)
        how = {"optimizer": getattr(gpubp, optimizer)(1e-3), "batch_size": batch}
        net.fit(x, y, epochs=3, **how)
        steps, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            net.fit(x, y, epochs=2, **how)
            steps += 100
        found[name] = 1e6 * (time.perf_counter() - start) / steps
    return found


def count_on() -> None:
    """Keep a processor busy."""
    while True:
        sum(range(100_000))


def measured(python: str, seconds: float) -> dict[str, float]:
    """Return the times that a Python finds in a process of its own."""
    command = [python, str(Path(__file__).resolve()), "--child", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    return dict(json.loads(done.stdout))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--before", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--child", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(step_times(given.child)))
        return 0
    pythons = {"now": sys.executable} | ({"before": given.before} if given.before else {})
    times: dict[tuple[str, int, str], list[float]] = {}
    for busy in BUSY:
        beside = [multiprocessing.Process(target=count_on, daemon=True) for _ in range(busy)]
        for process in beside:
            process.start()
        for _ in range(given.rounds):
            for version, python in pythons.items():
                for name, value in measured(python, given.seconds).items():
                    times.setdefault((name, busy, version), []).append(value)
        for process in beside:
            process.kill()
            process.join()
    head = ["network", *(f"{v}, {n} busy" for n in BUSY for v in pythons)]
    rows = [
        [name, *(f"{statistics.median(times[name, n, v]):,.0f}" for n in BUSY for v in pythons)]
        for name in NETWORKS
    ]
    print(circumstances())
    print(f"microseconds a step, median of {given.rounds} rounds; {os.cpu_count()} processors\n")
    print(table(head, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
