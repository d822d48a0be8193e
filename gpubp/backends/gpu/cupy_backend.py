"""The CuPy backend: kernels compiled by CuPy on first use, products by cuBLASLt."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpubp.backends.formulas.operations import ArrayOperations
from gpubp.backends.gpu import kernel_table as table
from gpubp.backends.gpu.block_kernel import BlockKernels
from gpubp.backends.gpu.categories import CupyCategories
from gpubp.backends.gpu.cublaslt import CublasLt, CublasLtError
from gpubp.backends.gpu.dense import DenseLayers
from gpubp.backends.gpu.elementwise import LANES, SUM_CHUNKS, SUM_COLUMNS, Elementwise, chunk_of
from gpubp.backends.gpu.embeddings import CupyEmbeddings
from gpubp.backends.gpu.mixing import CupyMixing
from gpubp.backends.gpu.normalization import CupyNormalization
from gpubp.backends.gpu.output_layer import CupyOutputLayer
from gpubp.backends.gpu.penalties import CupyPenalties
from gpubp.backends.gpu.periodic import CupyPeriodic
from gpubp.backends.gpu.products import Products, workspace_bytes
from gpubp.backends.gpu.sources import preamble
from gpubp.backends.gpu.step_recording import CupyRecording
from gpubp.backends.gpu.steps import CupySteps
from gpubp.backends.gpu.tiled_gradients import CupyTiledGradients
from gpubp.backends.gpu.tiles import CupyTiles
from gpubp.backends.gpu.transfers import Branch, DeviceSlots
from gpubp.backends.gpu.tuning import Tuner
from gpubp.backends.precision import PRECISIONS, Precision
from gpubp.backends.scheduled import CLOCK_SIZE, Number, Scheduled
from gpubp.backends.scratch import Array, Scratch
from gpubp.errors import BackendUnavailableError

MATRIX_UNITS = 8  # compute capability of devices that multiply float32 and bfloat16 by them
# of a device; one serves all networks, from any thread
cublaslt = cache(lambda index: CublasLt())


class CupyBackend(
    CupyNormalization,
    CupyCategories,
    CupyEmbeddings,
    CupyMixing,
    CupyPeriodic,
    CupyPenalties,
    CupyOutputLayer,
    CupyTiles,
    CupyTiledGradients,
    CupySteps,
    CupyRecording,
    ArrayOperations,
):
    """Arrays and kernels on one NVIDIA GPU; see `gpubp.backends.protocol.Backend`."""

    name = "gpu"
    storage: frozenset[str] = frozenset({"uint8", "float16", "float32", "float64"})
    chunk_rows = 1 << 16
    plans = False

    def __init__(
        self,
        cupy: Any,
        index: int,
        device: str,
        reason: str,
        precision: Precision = PRECISIONS["float32"],
    ) -> None:
        self.xp = cupy
        self.index = index
        self.device = device
        self.reason = reason
        self.precision = precision
        self.alternative: Any = None
        self.notes: list[str] = []
        self._kernels = {kernel.name: self.kernel(kernel) for kernel in table.ELEMENTWISE}
        self._clock = cupy.zeros(CLOCK_SIZE, np.int64)
        self._scaling = cupy.asarray(np.array([1, 0, 0], np.float32))
        self._ones = {np.dtype(kind): cupy.ones(1, kind) for kind in ("float32", "float64")}
        properties = cupy.cuda.runtime.getDeviceProperties(index)
        major = int(properties["major"])
        self.multiprocessors = int(properties["multiProcessorCount"])
        self.workspace, self.has_matrix_units = workspace_bytes(major), major >= MATRIX_UNITS
        self._blocks = BlockKernels(cupy)
        self._branches: dict[int, Branch] = {}
        self._products = self._start_products()
        self._tuner: Tuner | None = None
        if self._products is not None:
            machine = f"{device}, {self._products.version}"
            self._tuner = Tuner(cupy, machine, self.lend)
        self._dense = DenseLayers(self, self._products, self._tuner)

    def _start_products(self) -> Products | None:
        try:
            library = cublaslt(self.index)
        except (OSError, CublasLtError) as error:
            text = " ".join(str(error).split())
            if self.precision.half:
                raise BackendUnavailableError(
                    f"precision {self.precision.name!r} needs cuBLASLt, which was not found"
                    f" ({text}): pip install 'cupy-cuda13x[ctk]' or 'cupy-cuda12x[ctk]'"
                ) from error
            self.notes.append(f"steps are not recorded and products left to CuPy: {text}")
            return None
        return Products(self.xp, library, self.precision.tf32, self.workspace)

    def for_precision(self, precision: Precision) -> CupyBackend:
        if precision == self.precision:
            return self
        with self.on_device():
            made = CupyBackend(self.xp, self.index, self.device, self.reason, precision)
        made.alternative = self.alternative
        return made

    def stored(self, precision: Precision) -> np.dtype[Any]:
        return precision.stored

    def on_device(self) -> AbstractContextManager[Any]:
        device: AbstractContextManager[Any] = self.xp.cuda.Device(self.index)
        return device

    def asarray(self, array: Any, dtype: DTypeLike | None = None) -> Array:
        return self.xp.ascontiguousarray(self.xp.asarray(array, dtype=dtype))

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        return self.xp.empty(shape, dtype)

    def put(self, array: Array, values: Any) -> None:
        array.set(np.asarray(values, array.dtype).reshape(array.shape))

    def slots(self, kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]) -> DeviceSlots:
        return DeviceSlots(self.xp, kinds)

    def to_numpy(self, array: Array) -> NDArray[Any]:
        result: NDArray[Any] = self.xp.asnumpy(array)
        return result

    def holds(self, size: int) -> bool:
        return size <= self.free_memory() // 2

    def free_memory(self) -> int:
        pool = self.xp.get_default_memory_pool()
        return int(self.xp.cuda.runtime.memGetInfo()[0]) + int(pool.free_bytes())

    def convert(self, array: Array, out: Array) -> None:
        self._kernels[table.CONVERT.name](array, out)

    def all_finite(self, array: Array) -> bool:
        if array.dtype == np.uint16:  # bfloat16
            wide = self.xp.empty(array.shape, np.float32)
            self.convert(array, wide)
            array = wide
        return bool(self.xp.isfinite(array.sum())) or bool(self.xp.isfinite(array).all())

    def threads_for(self, multiplications: int) -> AbstractContextManager[None]:
        return nullcontext()

    def multiply(self, a: Array, b: Array, out: Array, scale: float = 1.0) -> None:
        self._dense.multiply(a, b, out, scale)

    plain_multiply = ArrayOperations.multiply

    def dense_forward(
        self,
        x: Array,
        weight: Array,
        bias: tuple[Array, Array],
        name: str,
        z: Array,
        y: Array,
        scratch: Scratch,
        scale: float = 1.0,
    ) -> None:
        self._dense.forward(x, weight, bias, name, z, y, scratch, scale)

    def dense_backward(
        self,
        name: str,
        kept: Array,
        delta: Array,
        x: Array,
        dweight: Array,
        dbias: Array,
        scratch: Scratch,
        scale: float = 1.0,
    ) -> None:
        self._dense.backward(name, kept, delta, x, dweight, dbias, scratch, scale)

    def multiply_slope(
        self, a: Array, b: Array, out: Array, scale: float, name: str, kept: Array
    ) -> None:
        self._dense.multiply_slope(a, b, out, scale, name, kept)

    def add(self, a: Array, b: Array, out: Array) -> None:
        self._kernels[table.ADD.name](a, b, out)

    def activate(self, name: str, z: Array, bias: Array, y: Array, scratch: Scratch) -> None:
        if name == "softmax":
            rows, columns = z.shape
            self._kernels[table.SOFTMAX.name](bias, columns, z, y, size=rows * LANES)
        elif z is y:
            self._kernels[table.ACTIVATE_IN_PLACE[name].name](z, bias, y)
        else:
            self._kernels[table.ACTIVATE[name].name](z, bias, z, y)

    def activate_backward(
        self, name: str, kept: Array, dy: Array, dz: Array, dbias: Array, scratch: Scratch
    ) -> None:
        if name == "softmax":
            self._softmax_backward(kept, dy, dz)
            name, dy = "identity", dz
        self._backward_and_sum(name, kept, dy, dz, dbias, scratch)

    def _sum_columns(self, x: Array, sums: Array, scratch: Scratch) -> None:
        self._backward_and_sum("identity", x, x, x, sums, scratch)

    def _backward_and_sum(
        self, name: str, kept: Array, dy: Array, dz: Array, dbias: Array, scratch: Scratch
    ) -> None:
        rows, columns = dy.shape
        chunk, chunks = chunk_of(rows)
        partial = dbias if chunks == 1 else scratch("sums", (chunks, columns), dbias.dtype)
        given, size = (dy, rows, columns, chunk), chunks * columns
        if name == "identity" and dz is dy:
            self._kernels[SUM_CHUNKS.name](*given, partial, size=size)
        else:
            self._kernels[table.BACKWARD[name].name](kept, kept, *given, dz, partial, size=size)
        if chunks != 1:
            self._kernels[SUM_COLUMNS.name](partial, chunks, columns, dbias, size=columns * LANES)

    def dropout(
        self, x: Array, y: Array, rate: Number, key: tuple[int, int, Any], scratch: Scratch
    ) -> None:
        seed, stream, step = key
        clock = step
        if isinstance(step, int):
            clock = scratch("dropout clock", (1,), np.dtype(np.int64))
            clock.fill(np.uint64(step).astype(np.int64))  # the kernel takes the same bits
        key_of_step = (np.uint64(seed), np.uint64(stream), clock)
        if isinstance(rate, Scheduled):
            self._kernels[table.SCHEDULED_DROPOUT.name](x, *key_of_step, *rate, y)
        else:
            self._kernels[table.DROPOUT.name](x, *key_of_step, np.float32(rate), y)

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()

    def kernel(self, kernel: Elementwise) -> Any:
        """Return a kernel to call, made of its text."""
        return self.xp.ElementwiseKernel(
            kernel.inputs, kernel.outputs, kernel.operation, kernel.name, preamble=preamble()
        )

    def branch(self) -> Branch:
        """Return what does work beside the current stream."""
        return Branch(self.xp)

    def derivative(self, name: str, kept: Array, delta: Array) -> None:
        """Multiply delta by the derivative, in place, without a bias gradient."""
        if name == "softmax":
            self._softmax_backward(kept, delta, delta)
        elif name != "identity":
            self._kernels[table.DERIVATIVE[name].name](kept, kept, delta, delta)

    def _softmax_backward(self, kept: Array, dy: Array, dz: Array) -> None:
        rows, columns = dy.shape
        self._kernels[table.SOFTMAX_BACKWARD.name](kept, dy, columns, dz, size=rows * LANES)
