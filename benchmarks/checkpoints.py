"""Measure checkpoints: their size, the time to write and read one, and what they cost a training.

    python benchmarks/checkpoints.py

Written where TMPDIR says; a sync takes what the disk there takes.
"""

from __future__ import annotations

import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from cases import MIDDLE, SMALL
from markdown import table

import gpubp
from gpubp.training import checkpoint_files as checkpoints

ROWS, BATCH, EPOCHS = 12_800, 128, 5
ROUNDS = 5


def trained(sizes: tuple[int, ...], folder: str | None) -> float:
    """Return the seconds that some epochs take, with a checkpoint after each or without any."""
    random = np.random.default_rng(0)
    x = random.random((ROWS, sizes[0]), dtype=np.float32)
    y = random.integers(0, sizes[-1], ROWS)
    net = gpubp.Network(sizes, output="softmax", backend="cpu")
    settings: dict[str, Any] = {"batch_size": BATCH, "checkpoint": folder}
    start = time.perf_counter()
    net.fit(x, y, epochs=EPOCHS, **settings)
    return time.perf_counter() - start


def row(sizes: tuple[int, ...]) -> list[str]:
    """Return one line of the table."""
    with tempfile.TemporaryDirectory() as place:
        plain, kept, writes, reads = [], [], [], []
        for number in range(ROUNDS):
            plain.append(trained(sizes, None))
            folder = Path(place, str(number))
            kept.append(trained(sizes, str(folder)))
            found = checkpoints.CheckpointFolder(folder)
            start = time.perf_counter()
            checkpoint, _ = found.load()
            reads.append(time.perf_counter() - start)
            assert checkpoint is not None
            start = time.perf_counter()
            found.save(10**6, checkpoint)
            writes.append(time.perf_counter() - start)
        size = found.files()[0].stat().st_size
    cost = statistics.median(b - a for a, b in zip(plain, kept, strict=True)) / EPOCHS
    numbers = [statistics.median(times) * 1e3 for times in (writes, reads)] + [cost * 1e3]
    epoch = statistics.median(plain) / EPOCHS * 1e3
    return [
        "-".join(map(str, sizes)),
        f"{size / 1e6:.2f}",
        *(f"{number:.1f}" for number in numbers),
        f"{epoch:.0f}",
    ]


def main() -> int:
    """Print the table."""
    device = gpubp.get_backend("cpu").device
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, {device}; Adam\n")
    head = ["network", "MB", "write ms", "read ms", "adds to an epoch ms", "epoch of 100 steps ms"]
    print(table(head, [row(sizes) for sizes in (SMALL, MIDDLE)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
