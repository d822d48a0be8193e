"""The CPU backend with compiled kernels: the loops of `kernels/host/loops.h` on NumPy arrays.

Three modules are built from one source, for the instructions of any processor, for AVX2 and for
AVX-512; the widest that this processor has is loaded. Where none was built, or the environment
variable GPUBP_HOST_KERNELS is "off", the CPU backend is plain NumPy. Where the processor has AMX,
and no instruction set is asked for, products of float32 are done by a module of its own.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import numpy as np

from gpubp.backends.cpu import blas
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from gpubp.backends.cpu.planned_steps import NotPlannedError, Places, PlannedSteps, untransposed
from gpubp.backends.formulas.operations import BATCH
from gpubp.backends.precision import Precision
from gpubp.backends.program import Operation, largest_product, traced
from gpubp.backends.scheduled import Number, value_of
from gpubp.backends.scratch import Array, Scratch

ENVIRONMENT_VARIABLE = "GPUBP_HOST_KERNELS"
LEVELS = ("baseline", "avx2", "avx512")  # narrowest first
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

# What each thread of Python says of the steps that it prepares; see `gpubp.backends.cpu.threads`.
steps = threading.local()


def undivided() -> bool:
    """Tell whether the steps that this thread prepares are cut into no parts."""
    return getattr(steps, "undivided", False)


def threads_of_steps() -> int:
    """Return for how many threads this thread of Python prepares steps."""
    return 1 if undivided() else thread_count()


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


@cache
def host_kernels() -> tuple[Any, str]:
    """Return the module of compiled kernels and its instruction set; None and why there is none."""
    wanted = _asked_for()
    if wanted == "off":
        return None, f"{ENVIRONMENT_VARIABLE}=off"
    try:
        level = _load("baseline").level()
    except ImportError as error:
        return None, f"not built when gpubp was installed ({error})"
    if wanted in LEVELS:
        level = min(level, wanted, key=LEVELS.index)
    for name in reversed(LEVELS[: LEVELS.index(level) + 1]):
        try:
            host = _load(name)
        except ImportError:
            continue
        host.set_threads(thread_count())
        return host, name
    raise AssertionError("the baseline module was loaded above")


@cache
def float32_squares() -> int:
    """Return the address of the product in `kernels/host/float32_squares.h`.

    0 where the processor lacks AMX, its module was not built, or an instruction set was asked for.
    """
    host, _ = host_kernels()
    if host is None or _asked_for() in LEVELS or host.bfloat16_module() != "amx":
        return 0
    try:
        return int(_load("amx").float32_product())
    except ImportError:
        return 0


def _asked_for() -> str:
    return os.environ.get(ENVIRONMENT_VARIABLE, "").strip().lower()


def _load(level: str) -> Any:
    return importlib.import_module(f"gpubp.backends.cpu._host_{level}")


@cache
def thread_count() -> int:
    """Return how many threads BLAS was told to use, or the processors this process may use."""
    told = told_threads()
    if told:
        return told
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def told_threads() -> int:
    """Return how many threads BLAS was told to use; 0 for nothing."""
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(variable, "")
        if value.isdigit() and int(value) > 0:
            return int(value)
    return 0
