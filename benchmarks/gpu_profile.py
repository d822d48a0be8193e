"""The kernels of a training step on this machine's GPU, each with its time.

    python benchmarks/gpu_profile.py 784-512-512-10/128/float32 784-128-10/128/bfloat16

needs gpubp, CuPy and PyTorch, whose profiler (CUPTI) sees the kernels of all libraries. A case is
sizes, batch and precision; relu, classes, Adam. First come the times of the ways to do a step among
which the fastest is taken, then kernels, in microseconds a step, how many there are in one, and
last the time of a step by `fit`, whose epochs are short here: 64 batches.
"""

from __future__ import annotations

import argparse
import collections
from collections.abc import Callable, Sequence
from typing import Any

import cupy
import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

import gpubp
from gpubp.backends.gpu.recording import STEPS_AT_ONCE
from gpubp.backends.gpu.tuning import Tuner

BATCHES = 64  # of an epoch
EPOCHS = 4
MOST_KERNELS = 14  # that are told of
CASES = [
    f"{sizes}/{batch}/{precision}"
    for sizes, batches in (("784-128-10", (128,)), ("784-512-512-10", (128, 4096)))
    for batch in batches
    for precision in ("float32", "bfloat16")
]


def tell_ways() -> None:
    """Print the times of the ways to do a step when they are compared."""
    before = Tuner.fastest

    def fastest(
        tuner: Tuner, key: str, names: Sequence[str], times: Callable[[], dict[str, float]]
    ) -> str:
        def told() -> dict[str, float]:
            found = times()
            if key.startswith("steps"):
                each = {name: round(1e3 * ms / STEPS_AT_ONCE, 2) for name, ms in found.items()}
                print(f"   microseconds a step: {each}")
            return found

        return before(tuner, key, names, told)

    Tuner.fastest = fastest  # type: ignore[method-assign,assignment]


def kernels(work: Callable[[], object]) -> list[tuple[str, float, int]]:
    """Return the kernels of some work, the longest first: name, microseconds in all, how many."""
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        work()
        cupy.cuda.Device().synchronize()
    times: collections.Counter[str] = collections.Counter()
    counts: collections.Counter[str] = collections.Counter()
    for event in found.events():
        if event.device_time > 0:
            times[event.name] += event.device_time
            counts[event.name] += 1
    return [(name, time, counts[name]) for name, time in times.most_common()]


def show(case: str) -> None:
    """Print what there is to be told of a case."""
    text, batch, precision = case.split("/")
    sizes, rows = [int(size) for size in text.split("-")], int(batch) * BATCHES
    random = np.random.default_rng(0)
    x = cupy.asarray(random.random((rows, sizes[0]), dtype=np.float32))
    y = cupy.asarray(random.integers(0, sizes[-1], rows))
    net = gpubp.Network(sizes, "relu", "softmax", backend="gpu", precision=precision)
    settings: Any = {"optimizer": gpubp.Adam(1e-3), "epochs": EPOCHS, "batch_size": int(batch)}
    print(f"## {case}")
    net.fit(x, y, **settings)
    steps = EPOCHS * BATCHES
    found = kernels(lambda: net.fit(x, y, **settings))
    print(f"   kernels: {sum(time for _, time, _ in found) / steps:.2f} us a step")
    for name, time, count in found[:MOST_KERNELS]:
        print(f"   {time / steps:9.2f} {count / steps:6.2f} x {time / count:8.2f}  {name[:100]}")
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    net.fit(x, y, **settings | {"epochs": 16 * EPOCHS})
    end.record()
    end.synchronize()
    milliseconds = cupy.cuda.get_elapsed_time(start, end)
    print(f"   by fit: {1e3 * milliseconds / (16 * steps):.2f} us a step", flush=True)


def main() -> None:
    """Show cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=CASES)
    torch.zeros(1, device="cuda")
    tell_ways()
    for case in parser.parse_args().cases:
        show(case)


if __name__ == "__main__":
    main()
