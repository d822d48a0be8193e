"""Small measurements that answer one question each on a GPU.

    python benchmarks/gpu_probes.py NAME 512

The number is the size of the matrices. The last line printed is the answer, as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from itertools import product
from typing import Any
from unittest.mock import patch

import numpy as np

import gpubp
from gpubp.backends import Scratch
from gpubp.backends.gpu.products import Products
from gpubp.backends.gpu.recording import STEPS_AT_ONCE, RecordedSteps, Recording
from gpubp.backends.gpu.tuning import CALLS, Tuner
from gpubp.backends.precision import PRECISIONS

NODES = (16, 272)  # in two recordings: the difference is that of 256 nodes
REPEATS = 20
MEMBERS = 64  # networks in lockstep


def backend_of(precision: str) -> Any:
    """Return the GPU's backend for a precision."""
    gpu: Any = gpubp.get_backend("gpu")
    return gpu.for_precision(PRECISIONS[precision])


def microseconds(xp: Any, work: Callable[[], object]) -> float:
    """Return the least time of several that work takes on the device."""
    found = []
    for _ in range(REPEATS):
        start, end = xp.cuda.Event(), xp.cuda.Event()
        start.record()
        work()
        end.record()
        end.synchronize()
        found.append(1e3 * float(xp.cuda.get_elapsed_time(start, end)))
    return min(found)


def matrices(backend: Any, *shapes: tuple[int, int]) -> list[Any]:
    """Return small whole numbers, which every precision multiplies exactly."""
    random, found = np.random.default_rng(0), []
    for shape in shapes:
        values = backend.asarray(random.integers(-2, 3, shape).astype(np.float32))
        stored = backend.empty(shape, backend.precision.stored)
        backend.convert(values, stored)
        found.append(stored)
    return found


def replay(size: int) -> dict[str, Any]:
    """Say whether a captured cublasLtMatmul replays, and reads what is in memory then."""
    found: dict[str, Any] = {}
    for name in PRECISIONS:
        backend = backend_of(name)
        a, b = matrices(backend, (size, size), (size, size))
        out = backend.empty((size, size), backend.precision.dtype)
        steps = backend.record(lambda ops, a=a, b=b, out=out: ops.multiply(a, b, out))
        for _ in range(4):
            steps(1)
        exact = backend.to_numpy(out).astype(float).copy()
        a[...] = backend.xp.zeros_like(a)
        steps(1)
        cleared = not backend.to_numpy(out).any()
        found[name] = {
            "recorded": steps.one.recorded,
            "reason": steps.one.reason,
            "not zero before": bool(exact.any()),
            "reads memory": cleared,
        }
    good = all(one["recorded"] and one["reads memory"] for one in found.values())
    return {"answer": "yes" if good else "no", **found}


def epilogues(size: int) -> dict[str, Any]:
    """Return the microseconds of a product and a kernel, and of both in one, by dtype."""
    found: dict[str, Any] = {}
    for name in PRECISIONS:
        backend = backend_of(name)
        products: Products | None = backend._products
        if products is None:
            return {"answer": "no cuBLASLt", "notes": backend.notes}
        x, weight, y = matrices(backend, (2 * size, size), (size, size), (2 * size, size))
        computed = backend.precision.dtype
        bias = backend.xp.zeros(size, computed)
        own = backend.empty((size,), y.dtype)
        backend.convert(bias, own)
        arguments = (x, weight, (bias, own), y, y, Scratch(backend.xp), 1.0)
        dweight = backend.empty((size, size), computed)
        dbias = backend.empty((size,), computed)
        for activation in ("relu", "identity"):
            ways = backend._dense._forward_ways(activation, *arguments)
            found[f"{name} forward {activation}"] = timed_ways(backend.xp, ways, arguments)
        arguments = (y, y, x, dweight, dbias, Scratch(backend.xp), 1.0)
        ways = backend._dense._backward_ways("relu", *arguments)
        found[f"{name} backward"] = timed_ways(backend.xp, ways, arguments)
    return {"answer": "see below", **found}


def timed_ways(xp: Any, ways: dict[str, Callable[..., None]], arguments: Any) -> dict[str, float]:
    """Return the microseconds of the fastest algorithm of each kind of way."""
    found: dict[str, float] = {}
    for way, do in ways.items():
        kind = way.partition(" ")[0]
        do(*arguments)
        found[kind] = min(found.get(kind, np.inf), microseconds(xp, lambda do=do: do(*arguments)))
    return found


def node(size: int) -> dict[str, Any]:
    """Return the microseconds of a node of a recording that does next to nothing."""
    backend = backend_of("float32")
    values = backend.xp.zeros(32, np.float32)

    def repeated(count: int) -> float:
        steps = backend.record(lambda ops: [ops.convert(values, values) for _ in range(count)])
        for _ in range(3):
            steps.one()
        return microseconds(backend.xp, steps.one)

    few, many = map(repeated, NODES)
    return {"answer": (many - few) / (NODES[1] - NODES[0]), "recording of 16": few}


def branch(size: int) -> dict[str, Any]:
    """Return what a second stream in a recording gains for two kernels side by side."""
    backend = backend_of("float32")
    (x,) = matrices(backend, (size, size))
    outs = [backend.xp.empty((size, size), np.float32) for _ in range(2)]
    aside = backend.branch()

    def in_turn(ops: Any) -> None:
        for out in outs:
            ops.convert(x, out)

    def side_by_side() -> None:
        with aside.after_what_was_begun():
            backend.convert(x, outs[0])
        backend.convert(x, outs[1])
        aside.join()

    recordings = [backend.record(in_turn).one, Recording(backend.xp, side_by_side)]
    for recording in recordings:
        for _ in range(3):
            recording()
    one, two = (microseconds(backend.xp, recording) for recording in recordings)
    return {"answer": one / two, "one stream": one, "two streams": two}


def choices(size: int) -> dict[str, Any]:
    """Return the microseconds of every way that a step of three layers may be done in, by dtype.

    Among them are a layer forward ("forward"), the one kernel for the narrow output layer with its
    loss ("output"), and gradients of weights beside the way down ("branch").
    """
    found: dict[str, Any] = {"answer": "see below"}

    def fastest(tuner: Tuner, key: str, names: Any, times: Callable[[], dict[str, float]]) -> str:
        if len(names) < 2 or key.startswith("steps"):
            return str(names[0])
        each = times()
        found[f"{precision} {key[:100]}"] = {name: 1e3 * each[name] / CALLS for name in names}
        return min(names, key=lambda name: each[name])

    with patch.object(Tuner, "fastest", fastest):
        for precision in ("float32", "bfloat16"):
            net = gpubp.Network(
                [784, size, size, 10], output="softmax", backend="gpu", precision=precision
            )
            x = np.random.default_rng(0).random((16 * 128, 784), dtype=np.float32)
            net.fit(x, np.zeros(len(x), np.int64), batch_size=128, epochs=1)
    return found


def tiles(size: int) -> dict[str, Any]:
    """Return the microseconds of a step by the library's products and by tiles."""
    found: dict[str, Any] = {"answer": "see below"}

    def fastest(tuner: Tuner, key: str, names: Any, times: Callable[[], dict[str, float]]) -> str:
        each = times()
        if key.startswith("steps"):
            taken = {name: 1e3 * ms / STEPS_AT_ONCE for name, ms in each.items()}
            found[f"{sizes} {precision} batch {batch}"] = taken
        return min(names, key=lambda name: each[name])

    with patch.object(Tuner, "fastest", fastest):
        for sizes in ([784, 128, 10], [784, size, size, 10]):
            for precision, batch in product(("float32", "bfloat16"), (32, 128, 512)):
                net = gpubp.Network(sizes, output="softmax", backend="gpu", precision=precision)
                x = np.random.default_rng(0).random((16 * batch, 784), dtype=np.float32)
                net.fit(x, np.zeros(len(x), np.int64), batch_size=batch, epochs=1)
    return found


def lockstep(size: int) -> dict[str, Any]:
    """Return how many times as long a step of 64 small networks takes as a step of one.

    Steps are timed on the device, as replays of what a training has recorded; what the host does
    between them, for every network by itself, is in the seconds of an epoch.
    """
    random, sizes, batch = np.random.default_rng(0), [64, 64, 64, 1], 256
    xp, do, times = backend_of("float32").xp, RecordedSteps.__call__, list[float]()
    x = xp.asarray(random.random((size * batch, 64), dtype=np.float32))
    y = xp.asarray(random.random((len(x), 1), dtype=np.float32))
    found: dict[str, Any] = {}

    def timed(steps: RecordedSteps, count: int = 1) -> None:
        start, end = xp.cuda.Event(), xp.cuda.Event()
        start.record()
        do(steps, count)
        end.record()
        end.synchronize()
        if count >= STEPS_AT_ONCE:
            times.append(1e3 * float(xp.cuda.get_elapsed_time(start, end)) / count)

    many = min(MEMBERS, size // 2)  # fewer where all is tried on a small scale
    for members in (1, many):
        nets = gpubp.Networks(sizes, members, backend="gpu")
        times.clear()
        with patch.object(RecordedSteps, "__call__", timed):
            nets.fit(x, y, batch_size=batch, epochs=2)
        found[f"{members} networks, a step"] = min(times)
        found[f"{members} networks, an epoch's step"] = 1e6 * nets.histories[0].seconds[-1] / size
        found["notes"] = list(nets.backend.notes)
    return {"answer": found[f"{many} networks, a step"] / found["1 networks, a step"], **found}


PROBES = {
    probe.__name__: probe for probe in (replay, epilogues, node, branch, choices, tiles, lockstep)
}


if __name__ == "__main__":
    print(json.dumps(PROBES[sys.argv[1]](int(sys.argv[2]))))
