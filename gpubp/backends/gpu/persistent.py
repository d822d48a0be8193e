"""Steps of a small network in one launch: a kernel that stays, for Hopper and later devices.

A small network lies in the second cache, and most of its step is the time from one kernel to the
next. Here one cluster of thread blocks does the launches of a step one after the other, meets after
each, and goes on with the next step. The launches are noted (`gpubp.backends.gpu.noting`), so the
step is not written again. Whether this is faster than recorded kernels is found by timing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpubp.backends.gpu.elementwise import C_TYPES
from gpubp.backends.gpu.joining import element_text, likeness, table_of
from gpubp.backends.gpu.noting import Launch, Noted, NotJoinable, Product, is_array
from gpubp.backends.gpu.products import kinds, transposed
from gpubp.backends.gpu.recording import STEPS_AT_ONCE, RecordedSteps, Recording
from gpubp.backends.gpu.tuning import Tuner
from gpubp.backends.scratch import Array

Steps = Callable[[int], None]
BLOCKS, THREADS = 8, 256  # of a cluster, and of a block; with more, registers are too few
LEAST_MAJOR = 9  # compute capability of a device whose blocks meet as clusters
LARGEST = 40_000_000  # multiplications of a step: with more, all of a device is faster


class PersistentSteps:
    """Does any number of steps in one launch.

    Parameters
    ----------
    cupy : module
    preamble : str
        The headers of all kernels.
    noted : sequence
        The launches of a step, which are kept with what they read and write.

    Raises
    ------
    NotJoinable
        When a launch cannot be one of those of a kernel.
    """

    def __init__(self, cupy: Any, preamble: str, noted: Sequence[Noted]) -> None:
        self.noted = noted
        text = step_text(noted)
        name = f"gpubp_steps_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        source = (
            f'{preamble}\nextern "C" __global__ void __cluster_dims__({BLOCKS}, 1, 1)'
            f" __launch_bounds__({THREADS})\n"
            f"{name}(const unsigned long long* joined_places, long long steps) {{\n{text}}}\n"
        )
        self._kernel = cupy.RawKernel(source, name, options=("-std=c++17",))
        self._table = cupy.asarray(np.concatenate([_row(one) for one in noted]))

    def __call__(self, count: int = 1) -> None:
        """Do so many steps."""
        self._kernel((BLOCKS,), (THREADS,), (self._table, np.int64(count)))


def step_text(noted: Sequence[Noted]) -> str:
    """Return the body of a kernel that does these launches as often as `steps` says."""
    lines, start = [], 0
    for one in noted:
        lines.append(f"    {{ const unsigned long long* joined_own = joined_places + {start};")
        if isinstance(one, Launch):
            lines.append(f"    for (gpubp::int64 i = thread; i < {one.size}; i += threads)")
            lines.append(f"    {{ {element_text(one)} }} }}")
        else:
            lines.append(f"    {_product_text(one)} }}")
        lines.append("    gpubp::meet();")
        start += len(_row(one))
    return "\n".join(
        [
            "  const gpubp::int64 thread = blockIdx.x * (gpubp::int64)blockDim.x + threadIdx.x;",
            "  const gpubp::int64 threads = gridDim.x * (gpubp::int64)blockDim.x;",
            "  for (long long step = 0; step < steps; ++step) {",
            *lines,
            "  }\n",
        ]
    )


def _product_text(product: Product) -> str:
    arrays = (product.a, product.b, product.out)
    dtype = product.out.dtype.name
    if {one.dtype.name for one in arrays} != {dtype} or dtype not in ("float32", "float64"):
        raise NotJoinable(f"a product of {kinds(*arrays)} is none of 32 or 64 bits throughout")
    ctype, (rows, columns) = C_TYPES[dtype], product.out.shape
    matrices = [
        f"gpubp::Matrix<{const}{ctype}>{{({const}{ctype}*)joined_own[{place}], {_steps(array)}}}"
        for place, (array, const) in enumerate(zip(arrays, ("const ", "const ", ""), strict=True))
    ]
    return (
        f"gpubp::product<{ctype}>({', '.join(matrices)}, {rows}, {columns},"
        f" {product.a.shape[1]}, {ctype}({float(product.scale)!r}), thread, threads);"
    )


def _steps(array: Array) -> str:
    """Return how far a matrix's rows are apart, and its columns."""
    return f"1, {array.shape[0]}" if transposed(array) else f"{array.shape[1]}, 1"


def _row(one: Noted) -> Any:
    """Return what a launch finds in the table."""
    if isinstance(one, Launch):
        return table_of([one])[0]
    return np.array([array.data.ptr for array in (one.a, one.b, one.out)], np.uint64)


def written(noted: Sequence[Noted]) -> list[Array]:
    """Return the arrays that launches write to."""
    arrays = []
    for one in noted:
        if isinstance(one, Product):
            arrays.append(one.out)
        else:
            pairs = zip(one.kernel.parameters, one.arguments, strict=True)
            arrays += [each for parameter, each in pairs if parameter.written and is_array(each)]
    return arrays


class FasterSteps(RecordedSteps):
    """Steps that are done in two ways to find the faster; the trial leaves no trace.

    Parameters
    ----------
    make, step, several
        Of recorded steps; see `RecordedSteps`.
    persistent : PersistentSteps
        Does them too.
    """

    def __init__(
        self,
        make: Callable[[Callable[[], None]], Recording],
        step: Callable[[], None],
        several: bool,
        persistent: PersistentSteps,
        tuner: Tuner,
    ) -> None:
        super().__init__(make, step, several)
        noted, self._tuner = persistent.noted, tuner
        self._key = f"steps {' '.join(str(likeness(one)) for one in noted)}"
        self._written = written(noted)
        self._ways: dict[str, Steps] = {"recorded": super().__call__, "persistent": persistent}
        self._chosen: Steps | None = None

    def __call__(self, count: int = 1) -> None:
        """Do so many steps."""
        if self._chosen is None and count >= STEPS_AT_ONCE:
            name = self._tuner.fastest(self._key, list(self._ways), self._times)
            self._chosen = self._ways[name]
        (self._chosen or self._ways["recorded"])(count)

    def _times(self) -> dict[str, float]:
        """Return the times of the ways: steps that are to be done now are done, and undone."""
        before = [array.copy() for array in self._written]

        def undo() -> None:
            for array, value in zip(self._written, before, strict=True):
                array[...] = value

        calls = {name: partial(steps, STEPS_AT_ONCE) for name, steps in self._ways.items()}
        return self._tuner.times(calls, undo)
