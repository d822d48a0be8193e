"""The CuPy backend: the kernels of `kernel_table` compiled by CuPy on first use."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpubp.backends import kernel_table as table
from gpubp.backends.protocol import Array, Scratch, WholeStep
from gpubp.backends.sources import preamble

# Rows that one thread of a backward kernel walks down. Enough threads for a large device even at
# moderate batches, few enough partial sums that adding them costs little.
CHUNK_ROWS = 32


class CupyBackend:
    """Arrays and kernels on the current NVIDIA GPU; see `gpubp.backends.protocol.Backend`."""

    name = "gpu"
    storage: frozenset[str] = frozenset()

    def __init__(self, cupy: Any, device: str, reason: str) -> None:
        self.xp = cupy
        self.device = device
        self.reason = reason
        self._elementwise = {
            kernel.name: cupy.ElementwiseKernel(
                kernel.inputs, kernel.outputs, kernel.operation, kernel.name, preamble=preamble()
            )
            for kernel in table.ELEMENTWISE
        }
        self._sum = _reduction(cupy, table.SUM)

    def asarray(self, array: Any, dtype: DTypeLike | None = None) -> Array:
        return self.xp.ascontiguousarray(self.xp.asarray(array, dtype=dtype))

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        return self.xp.empty(shape, dtype)

    def to_numpy(self, array: Array) -> NDArray[Any]:
        result: NDArray[Any] = self.xp.asnumpy(array)
        return result

    def gather(self, array: Array, rows: Array, out: Array, scale: float, scratch: Scratch) -> None:
        self.xp.take(array, rows, axis=0, out=out)
        if scale != 1:
            out *= scale

    def all_finite(self, array: Array) -> bool:
        return bool(self.xp.isfinite(array.sum())) or bool(self.xp.isfinite(array).all())

    def threads_for(self, multiplications: int) -> AbstractContextManager[None]:
        return nullcontext()

    def activate(self, name: str, z: Array, bias: Array, y: Array, scratch: Scratch) -> None:
        if name == "softmax":
            rows, columns = z.shape
            self._elementwise[table.SOFTMAX.name](bias, columns, z, y, size=rows)
        elif z is y:
            self._elementwise[table.ACTIVATE_IN_PLACE[name].name](z, bias, y)
        else:
            self._elementwise[table.ACTIVATE[name].name](z, bias, z, y)

    def activate_backward(
        self, name: str, kept: Array, dy: Array, dz: Array, dbias: Array, scratch: Scratch
    ) -> None:
        rows, columns = dy.shape
        if name == "softmax":
            self._elementwise[table.SOFTMAX_BACKWARD.name](kept, dy, columns, dz, size=rows)
            name, dy = "identity", dz
        chunks = -(-rows // CHUNK_ROWS)
        partial = scratch("bias gradient", (chunks, columns), dz.dtype)
        self._elementwise[table.BACKWARD[name].name](
            kept, kept, dy, rows, columns, CHUNK_ROWS, dz, partial, size=chunks * columns
        )
        self._sum(partial, dbias, axis=0)

    def loss(
        self, name: str, y: Array, expected: Array, dy: Array, mean: Array, scratch: Scratch
    ) -> None:
        rows, columns = y.shape
        row_loss = scratch("row loss", (rows,), y.dtype)
        self._elementwise[table.LOSS[name].name](
            y, expected, columns, 1.0 / rows, dy, row_loss, size=rows
        )
        self._sum(row_loss, mean, axis=0)

    def dropout(
        self, x: Array, y: Array, rate: float, key: tuple[int, int, int], scratch: Scratch
    ) -> None:
        seed, stream, step = (np.uint64(part) for part in key)
        self._elementwise[table.DROPOUT.name](x, seed, stream, step, np.float32(rate), y)

    def update(
        self,
        name: str,
        gradients: Array,
        parameters: Array,
        state: tuple[Array, ...],
        scalars: tuple[float, ...],
        scratch: Scratch,
    ) -> None:
        kernel = self._elementwise[table.UPDATE[name].name]
        kernel(gradients, *scalars, parameters, *state)

    def plan_step(
        self,
        layers: Sequence[tuple[Any, ...]],
        loss: str,
        on_logits: bool,
        update: str,
        flat: tuple[Array, ...],
        mean: Array,
    ) -> WholeStep | None:
        return None

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()


def _reduction(cupy: Any, kernel: table.Reduction) -> Any:
    return cupy.ReductionKernel(
        kernel.inputs,
        kernel.outputs,
        kernel.map,
        kernel.reduce,
        kernel.post_map,
        kernel.identity,
        kernel.name,
        preamble=preamble(),
    )
