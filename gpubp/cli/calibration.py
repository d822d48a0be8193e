"""The constants of `gpubp.cli.planning`, measured: a network's rate, and sums between ranks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from gpubp.cli.planning import Constants
from gpubp.distributed.communicator import Communicator
from gpubp.network import Network
from gpubp.nn.optimizers import Adam

SIZES = (784, 512, 512, 10)
ROWS = 2048
REPEATS = 7
SUMS = tuple(1 << power for power in range(10, 24))  # bytes


def calibrate(processes: Communicator | None, backend: str = "auto") -> Constants:
    """Return constants of this machine: all ranks compute at the same time, then add up.

    With one rank what connects devices is not measured and stays as assumed.
    """
    flops, update = _rates(processes, backend)
    if processes is None or processes.size == 1:
        source = "computing measured here, what connects devices assumed: launch 2 ranks or more"
        return Constants(flops=flops, update=update, source=source)
    alpha, bandwidth = _link(processes)
    source = f"measured here on {processes.size} ranks"
    return Constants(flops, update, processes.size, alpha, bandwidth, alpha, bandwidth, source)


def _rates(processes: Communicator | None, backend: str) -> tuple[float, float]:
    """Return operations a second and seconds a parameter of an update."""
    generator = np.random.default_rng(0)
    rows = ROWS // (processes.size if processes else 1)
    x = generator.random((rows, SIZES[0]), np.float32)
    y = generator.integers(0, SIZES[-1], rows)
    net = Network(SIZES, output="softmax", backend=backend)
    x, y = net.backend.asarray(x), net.backend.asarray(y)
    whole = _seconds(processes, lambda: net.train_step(x, y, Adam()))
    few = _seconds(processes, lambda: net.train_step(x[:1], y[:1], Adam()))
    parameters = net.parameters.size
    update = few / parameters
    return 6 * parameters * (rows - 1) / max(whole - few, 1e-9), update


def _link(processes: Communicator) -> tuple[float, float]:
    """Return latency and bandwidth that sums of several sizes have, as around a ring.

    A line is laid through the medians: 2 (P - 1) alpha + 2 n (P - 1) / P / bandwidth.
    """
    times = []
    for size in SUMS:
        array = np.ones(size // 4, np.float32)
        times.append(_seconds(processes, partial(processes.sum, array, "calibration", True)))
    ranks = processes.size
    design = np.array([[2 * (ranks - 1), 2 * size * (ranks - 1) / ranks] for size in SUMS])
    # each size counts the same: errors are taken relative to the times
    weights = 1 / np.array(times)
    seconds = np.linalg.lstsq(design * weights[:, None], np.ones(len(SUMS)), rcond=None)[0]
    alpha, beta = (max(float(number), 1e-13) for number in seconds)
    shared: tuple[float, float] = processes.share((alpha, 1 / beta), "calibration")
    return shared


def _seconds(processes: Communicator | None, work: Callable[[], object]) -> float:
    """Return the median time of some work that all ranks do at once; the slowest rank's."""
    times = []
    for number in range(REPEATS + 2):
        if processes is not None:
            processes.barrier("calibration")
        start = time.perf_counter()
        work()
        if number >= 2:
            times.append(time.perf_counter() - start)
    median = statistics.median(times)
    return median if processes is None else processes.largest(median, "calibration", True)
