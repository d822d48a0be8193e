"""gpubp on a GPU, and the matrix products of its step alone."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import cupy
import numpy as np
from cases import CLASSES, Case

import gpubp
from gpubp.backends.precision import PRECISIONS

COPY_BYTES = 1 << 30
SIDE = 8192  # of the matrices that the ceiling is measured with
BATCHES = 16  # different batches that steps go round
SMALLEST_EPOCH = 256  # steps; an epoch's end waits for the device


def versions() -> dict[str, str]:
    """Return the versions that matter."""
    backend: Any = gpubp.get_backend("gpu")
    runtime = cupy.cuda.runtime
    return {
        "gpubp": gpubp.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cupy": cupy.__version__,
        "CUDA runtime": str(runtime.runtimeGetVersion()),
        "CUDA driver": str(runtime.driverGetVersion()),
        "products": backend._products.version if backend._products else backend.notes[0],
    }


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that work takes on the device."""
    start, end, stream = cupy.cuda.Event(), cupy.cuda.Event(), cupy.cuda.get_current_stream()
    start.record(stream)
    work()
    end.record(stream)
    end.synchronize()
    return float(cupy.cuda.get_elapsed_time(start, end)) / 1e3


def free() -> None:
    """Give back the memory that CuPy keeps for other arrays."""
    cupy.get_default_memory_pool().free_all_blocks()
    cupy.get_default_pinned_memory_pool().free_all_blocks()


def rows(count: int, columns: int) -> Any:
    """Return random inputs on the device."""
    return cupy.random.default_rng(0).random((count, columns), dtype=np.float32)


class Gpubp:
    """The library as a user calls it, its data on the device."""

    def network(self, case: Case) -> gpubp.Network:
        """Return a new network for a case."""
        return gpubp.Network(
            case.sizes, case.activation, "softmax", backend="gpu", precision=case.precision
        )

    def step(self, case: Case) -> Callable[[int], tuple[int, float]]:
        """Train by `fit`, shuffling and gathering included."""
        net, optimizer = self.network(case), gpubp.Adam(1e-3)
        count = BATCHES if case.batch * case.sizes[0] > 1 << 20 else SMALLEST_EPOCH
        x = rows(count * case.batch, case.sizes[0])
        y = cupy.random.default_rng(1).integers(0, CLASSES, len(x))

        def repeat(steps: int) -> tuple[int, float]:
            epochs = -(-steps // count)
            settings: Any = {"optimizer": optimizer, "epochs": epochs, "batch_size": case.batch}
            return epochs * count, timed(lambda: net.fit(x, y, **settings))

        return repeat

    def predict(self, case: Case) -> Callable[[int], tuple[int, float]]:
        """Predict all rows."""
        net, x = self.network(case), rows(case.rows, case.sizes[0])

        def repeat(count: int) -> tuple[int, float]:
            return count, timed(lambda: [net.predict(x) for _ in range(count)])

        return repeat


class Products:
    """The products of a step, each by its fastest algorithm of the same library, replayed."""

    def step(self, case: Case) -> Callable[[int], tuple[int, float]]:
        """Return the products of one training step."""
        precision = PRECISIONS[case.precision]
        backend: Any = gpubp.get_backend("gpu").for_precision(precision)

        def matrix(count: int, columns: int) -> Any:
            values = rows(count, columns) - np.float32(0.5)
            stored = backend.empty(values.shape, precision.stored)
            backend.convert(values, stored)
            return stored

        pairs = list(zip(case.sizes, case.sizes[1:], strict=False))
        weights = [matrix(*pair) for pair in pairs]
        gradients = [backend.empty(pair, precision.dtype) for pair in pairs]
        values = [matrix(case.batch, size) for size in case.sizes]
        out = [backend.empty(value.shape, precision.stored) for value in values]

        def forward(ops: Any) -> None:
            for index, weight in enumerate(weights):
                ops.multiply(values[index], weight, out[index + 1])

        def step(ops: Any) -> None:
            forward(ops)
            for index in reversed(range(len(weights))):
                ops.multiply(values[index].T, values[index + 1], gradients[index])
                if index:
                    ops.multiply(values[index + 1], weights[index].T, out[index])

        replay = backend.record(forward if case.kind == "predict" else step)

        def repeat(count: int) -> tuple[int, float]:
            return count, timed(lambda: [replay() for _ in range(count)])

        return repeat

    def ceilings(self) -> dict[str, Any]:
        """Return the device, and its bytes a second when copying and operations in products.

        What cannot be measured is told under "problems" and does not keep the rest from it.
        """
        backend: Any = gpubp.get_backend("gpu")
        rates: dict[str, float] = {}
        problems: dict[str, str] = {}
        for name in ("copy", *PRECISIONS):
            try:
                rates[name] = _copied_bytes() if name == "copy" else self._operations(name)
            except Exception as error:
                problems[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
            free()
        about = {"device": backend.device, "notes": backend.notes}
        return {**about, "rates": rates, "problems": problems}

    def _operations(self, precision: str) -> float:
        case = Case("predict", (SIDE, SIDE), SIDE, rows=SIDE, precision=precision)
        repeat = self.step(case)
        repeat(5)
        _, seconds = repeat(5)
        return 5 * 2 * SIDE**3 / seconds

    def predict(self, case: Case) -> Callable[[int], tuple[int, float]]:
        """Return the products of a prediction, a chunk of rows at a time."""
        chunk = gpubp.get_backend("gpu").chunk_rows
        part = Case("predict", case.sizes, chunk, precision=case.precision)
        one = self.step(part)

        def repeat(count: int) -> tuple[int, float]:
            _, seconds = one(count * -(-case.rows // chunk))
            return count, seconds

        return repeat


def _copied_bytes() -> float:
    """Return the bytes a second that a copy reads and writes."""
    source = cupy.random.default_rng(0).integers(0, 255, COPY_BYTES, dtype=cupy.uint8)
    target = cupy.empty_like(source)
    copies = sorted(timed(lambda: cupy.copyto(target, source)) for _ in range(10))
    return 2 * COPY_BYTES / copies[len(copies) // 2]


PEERS: dict[str, type] = {"gpu-gpubp": Gpubp, "gpu-products": Products}
