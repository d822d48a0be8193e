"""The CPU backend with compiled kernels: the loops of `kernels/host/loops.h` on NumPy arrays.

Where there are none (`host_kernels.py` says when) the CPU backend is plain NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from gpubp.backends.cpu import blas
from gpubp.backends.cpu.host_kernels import LEVELS, float32_squares, host_kernels
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from gpubp.backends.cpu.planned_steps import NotPlannedError, Places, PlannedSteps, untransposed
from gpubp.backends.cpu.threads import steps, threads_of_steps
from gpubp.backends.formulas.operations import BATCH
from gpubp.backends.precision import Precision
from gpubp.backends.program import Operation, largest_product, traced
from gpubp.backends.scheduled import Number, value_of
from gpubp.backends.scratch import Array, Scratch

ROWS_A_CHUNK = 64  # as in kernels/host/loops.h
# Multiplications in the largest product of a step: with so many a thread, the step is shared out
# among threads; with more in all, it is left to BLAS to share out each product.
PRODUCT_A_THREAD = 1_000_000
WHOLE_STEP_PRODUCT = 100_000_000
# So many times as many where kernels of our own do the products, for one or two threads of an Intel
# Xeon and of an AMD EPYC; more threads were not measured.
WIDER = 1000
THREADS_OF_WIDER = 2

# Multiplications from which on OpenBLAS would take several threads for a product.
SHARED_PRODUCT = 262_144
WEIGHTS_A_ROW = 1 << 16  # with more than these fewer rows are left to BLAS, which cuts the weights
ROWS_OF_PRODUCT = (64, 256)  # that one thread multiplies at a time: at least, and at most


class _ByBlas:
    """A context in which this thread of Python leaves products to BLAS and its threads."""

    def __enter__(self) -> None:
        steps.by_blas = getattr(steps, "by_blas", 0) + 1

    def __exit__(self, *error: object) -> None:
        steps.by_blas -= 1


_BY_BLAS = _ByBlas()


class CompiledBackend(NumpyBackend):
    """NumPy arrays and matrix products, compiled loops; see `gpubp.backends.protocol.Backend`."""

    plans = True

    def __init__(self, host: Any, level: str, reason: str = "asked for") -> None:
        super().__init__(reason)
        self._host, self.level = host, level
        self._places = Places(host)
        self.products = blas.products()
        squares = float32_squares() if level == LEVELS[-1] else 0
        if self.products is not None and squares:
            self.products = self.products._replace(squares=squares)
            level += ", products by AMX"
        self.device = f"CPU, compiled kernels ({level})"

    def for_precision(self, precision: Precision) -> NumpyBackend:
        from gpubp.backends.cpu.bfloat16_backend import Bfloat16Backend, bfloat16_products

        products, missing = bfloat16_products() if precision.name == "bfloat16" else (None, "")
        if products is None:
            return self.instead_of(precision, missing)
        return Bfloat16Backend(self._host, self.level, self.reason, products, self.alternative)

    def gather(self, array: Array, rows: Array, out: Array, scale: float, scratch: Scratch) -> None:
        if out.dtype.kind == "f":
            self._host.gather(array, rows, out, scale)
        else:  # class indices
            super().gather(array, rows, out, scale, scratch)

    def gather_batch(
        self, array: Array, order: Array, clock: Array, batch: int, scale: float, out: Array
    ) -> None:
        if out.dtype.kind == "f":
            start = int(clock[BATCH]) * batch
            self._host.gather(array, order[start : start + len(out)], out, scale)
        else:  # class indices
            super().gather_batch(array, order, clock, batch, scale, out)

    def shuffle(self, seed: int, stream: int, epoch: int, order: Array) -> None:
        self._host.shuffle(seed, stream, epoch, order)

    def all_finite(self, array: Array) -> bool:
        if array.dtype == np.float16:
            return super().all_finite(array)
        finite: bool = self._host.all_finite(array)
        return finite

    def multiply(self, a: Array, b: Array, out: Array, scale: float = 1.0) -> None:
        (rows, inner), columns = a.shape, b.shape[1]
        small = rows * inner * columns < SHARED_PRODUCT
        few = rows <= 1 + inner * columns // WEIGHTS_A_ROW
        if small or few or self.products is None or self._by_blas(out.dtype):
            super().multiply(a, b, out, scale)
        else:
            fewest, most = ROWS_OF_PRODUCT
            with blas.threads_for(0):
                self._multiply_shared(a, b, out, scale, min(most, max(fewest, -(-rows // 2))))

    def _by_blas(self, dtype: Any) -> bool:
        """Tell whether a product of a large step is BLAS's, which cuts it up for its threads."""
        by_squares = self.products and self.products.squares and dtype == np.float32
        return bool(getattr(steps, "by_blas", 0)) and not by_squares

    def _multiply_shared(
        self, a: Array, b: Array, out: Array, scale: float, rows_at_a_time: int
    ) -> None:
        """Multiply with the team of threads that does the steps.

        BLAS's own threads would go on to spin when a product is done, and for some hundredths of a
        second keep the team of the next steps from its processors.
        """
        a, b, of_a, of_b = untransposed(a, b)
        self._host.multiply(self.products, a, b, out, of_a, of_b, scale, rows_at_a_time)

    def activate(self, name: str, z: Array, bias: Array, y: Array, scratch: Scratch) -> None:
        self._host.activate(self._places.activation[name], z, bias, y)

    def activate_backward(
        self, name: str, kept: Array, dy: Array, dz: Array, dbias: Array, scratch: Scratch
    ) -> None:
        rows, columns = dy.shape
        partial = scratch("bias gradient", (-(-rows // ROWS_A_CHUNK), columns), dz.dtype)
        self._host.backward(self._places.activation[name], kept, dy, dz, partial, dbias)

    def loss(
        self,
        name: str,
        parameter: Number,
        y: Array,
        expected: Array,
        dy: Array,
        mean: Array,
        scratch: Scratch,
        weighting: tuple[Array, Array] | None = None,
        scaling: Array | None = None,
    ) -> None:
        row_loss = scratch("row loss", y.shape[:1], y.dtype)
        weights = None
        if weighting is not None:
            weights, total = weighting
            np.sum(weights, out=total)
        number = value_of(parameter)
        self._host.loss(self._places.loss[name], number, y, expected, dy, row_loss, mean, weights)

    def update_now(
        self,
        name: str,
        gradients: Array,
        parameters: Array,
        state: tuple[Array, ...],
        scalars: tuple[float, ...],
        scratch: Scratch,
    ) -> None:
        self._host.update(self._places.update[name], gradients, parameters, *state, *scalars)

    def record(
        self,
        work: Callable[[Any], None],
        parameters: Array = None,
        half: Array | None = None,
        addresses: None = None,
    ) -> Callable[[int], None]:
        operations = traced(work)
        largest, threads = largest_product(operations), threads_of_steps()
        few = largest <= self._wider(operations, threads) * WHOLE_STEP_PRODUCT
        steps = self._planned(operations) if few else None
        return self._walked(work, largest) if steps is None else steps

    def planned(self, work: Callable[[Any], None]) -> PlannedSteps | None:
        return self._planned(traced(work))

    def _planned(self, operations: list[Operation]) -> PlannedSteps | None:
        """Return the operations as one call, cut into parts for threads; None if C++ lacks one."""
        threads = threads_of_steps()
        parts = max(1, min(threads, largest_product(operations) // PRODUCT_A_THREAD))
        try:
            return PlannedSteps(self._host, self._places, self.products, operations, parts)
        except NotPlannedError:
            return None

    def threads_for(self, multiplications: int) -> AbstractContextManager[None]:
        large = multiplications >= blas.WORTH_THREADS
        return _BY_BLAS if large else super().threads_for(multiplications)

    def _wider(self, operations: list[Operation], threads: int) -> int:
        """Return how many times as large products may be where ours do all that are large."""
        outs = [arguments[2] for name, arguments in operations if name == "multiply"]
        single = all(out.dtype == np.float32 for out in outs)
        return WIDER if single and threads <= THREADS_OF_WIDER and self._has_products() else 1

    def _has_products(self) -> bool:
        """Tell whether kernels of our own do the large products of float32."""
        products = self.products
        return products is not None and bool(
            products.squares or (products.tiled and self._host.has_tiles())
        )


def cpu_backend(reason: str = "asked for") -> NumpyBackend:
    """Return the CPU backend: with compiled kernels where they can be had, else plain NumPy."""
    host, level = host_kernels()
    return NumpyBackend(reason) if host is None else CompiledBackend(host, level, reason)
