"""What a step on a GPU is made of, counted on the simulated one: it needs no device.

    python benchmarks/recorded_steps.py

For each network: kernels and products of a recorded step, apart, with all that a product of the
library can do besides, and by tiles; recordings of a first and of a second fit; and the host's
microseconds of a step that is replayed, without what CuPy and the driver take for a recording.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import gpubp
import simulated.cublaslt
import simulated.cupy
from gpubp.backends.gpu.recording import STEPS_AT_ONCE
from gpubp.backends.gpu.tuning import Tuner
from gpubp.training.epoch_steps import EpochSteps
from simulated.streams import Graph, Stream
from simulated.ways import WAYS, taken

NETWORKS = (
    ([784, 128, 10], "relu", "float32"),
    ([784, 512, 512, 10], "relu", "float32"),
    ([784, 512, 512, 10], "relu", "bfloat16"),
    ([784, 512, 512, 100], "relu", "float32"),  # an output layer that is not narrow
)
BATCH, STEPS = 8, 40  # the simulated device takes its time; what is counted depends on neither
ROUNDS = 20


@contextmanager
def device(way: str) -> Iterator[None]:
    """Have a simulated GPU, on which one of `WAYS` is taken."""

    def fastest(tuner: Tuner, key: str, names: Sequence[str], times: object) -> str:
        return taken(way, names)

    with pytest.MonkeyPatch.context() as change:
        simulated.cupy.install(change)
        simulated.cublaslt.install(change)  # which refuses nothing that the real one may offer
        change.setattr(Tuner, "fastest", fastest)
        yield


def nodes(sizes: list[int], activation: str, precision: str, way: str) -> int:
    """Return the kernels and products of a recorded step."""
    with device(way):
        net, x, y = training(sizes, activation, precision)
        net.fit(x, y, batch_size=BATCH, epochs=1)
        (step,) = net.stack.kept.prepared.values()
        (graph,) = step.several._graphs.values()
        return len(graph.launches) // STEPS_AT_ONCE


def training(sizes: list[int], activation: str, precision: str) -> tuple[gpubp.Network, Any, Any]:
    """Return a network and data."""
    random = np.random.default_rng(0)
    x = random.random((BATCH * STEPS, sizes[0]), dtype=np.float32)
    y = random.integers(0, sizes[-1], len(x))
    net = gpubp.Network(sizes, activation, "softmax", backend="gpu", precision=precision)
    return net, x, y


def recordings_and_cost(sizes: list[int], activation: str, precision: str) -> list[str]:
    """Return the recordings of two fits, and the least microseconds of a replayed step."""
    made: list[EpochSteps] = []
    captures: list[Stream] = []
    with (
        device(WAYS[-1]),
        noted(Stream, "begin_capture", captures),
        noted(EpochSteps, "__init__", made),
    ):
        net, x, y = training(sizes, activation, precision)
        counts = []
        for _ in range(2):
            captures.clear()
            net.fit(x, y, batch_size=BATCH, epochs=3)
            counts.append(str(len(captures)))
        with patch.object(Graph, "launch", lambda graph: None):
            together, alone = (least(made[-1], count) for count in (4 * STEPS_AT_ONCE, 1))
        return [*counts, f"{together:.2f}", f"{alone:.1f}"]


def least(steps: EpochSteps, count: int) -> float:
    """Return the least microseconds of a step, so many being asked for at a time."""
    found = []
    for _ in range(ROUNDS):
        steps.run(0, 0, 1)
        start = time.perf_counter()
        steps.run(0, 1, 1 + count)
        found.append(1e6 * (time.perf_counter() - start) / count)
    return min(found)


@contextmanager
def noted(kind: type, name: str, objects: list[Any]) -> Iterator[None]:
    """Note every object that a method is called of."""
    before = getattr(kind, name)

    def method(one: Any, *given: Any) -> Any:
        objects.append(one)
        return before(one, *given)

    with patch.object(kind, name, method):
        yield


def main() -> None:
    """Print the table."""
    print(
        f"Python {platform.python_version()}, NumPy {np.__version__}, gpubp {gpubp.__version__}\n"
    )
    print(
        "| network | activation | precision | nodes, apart | with epilogues | by tiles |"
        " recordings: first fit | second fit | host: us a step of 32 | of one |\n"
        + "|---" * 10
        + "|"
    )
    for sizes, activation, precision in NETWORKS:
        counted = [str(nodes(sizes, activation, precision, way)) for way in WAYS]
        row = ["-".join(map(str, sizes)), activation, precision, *counted]
        print(f"| {' | '.join([*row, *recordings_and_cost(sizes, activation, precision)])} |")


if __name__ == "__main__":
    main()
