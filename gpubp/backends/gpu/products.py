"""Matrix products by cuBLASLt: each shape described once, its fastest way found once."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from gpubp.backends.gpu.cublaslt import CONSTANTS, Algorithm, CublasLt, CublasLtError
from gpubp.backends.scratch import Array

Run = Callable[..., None]

KINDS = {
    "float16": CONSTANTS["CUDA_R_16F"],
    "uint16": CONSTANTS["CUDA_R_16BF"],  # bfloat16, for which NumPy has no name
    "float32": CONSTANTS["CUDA_R_32F"],
    "float64": CONSTANTS["CUDA_R_64F"],
}
# What cuBLAS itself takes: 32 MiB on Hopper and later, 4 MiB before.
WORKSPACE = {9: 32 << 20}
SMALL_WORKSPACE = 4 << 20
ALGORITHMS = 4  # of the library's proposals, how many are tried


class Plan(NamedTuple):
    """A product of one shape as cuBLASLt wants it described, and how it can be computed."""

    operation: ctypes.c_void_p
    layouts: tuple[ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    number: Any
    zero: Any
    algorithms: list[Algorithm]


class Products:
    """Products out = a @ b of row-major matrices, a and b possibly transposed views.

    cuBLASLt counts by columns, and a row-major matrix counted by columns is its transpose. So it
    is asked for out.T = b.T @ a.T, with b as its operand A and a as its operand B.

    An object belongs to one backend object and is to be used by one thread at a time. Products on
    one stream share a workspace; those on two streams, which may run at once, have one each.
    """

    def __init__(self, cupy: Any, library: CublasLt, tf32: bool, workspace: int) -> None:
        self.version = f"cuBLASLt {library.version}"
        self._cupy = cupy
        self._library = library
        self._tf32 = tf32
        self._workspace_bytes = workspace
        self._plans: dict[tuple[Any, ...], Plan] = {}
        self._workspaces: dict[int, Array] = {}  # by the address of a stream

    def workspace(self) -> Array:
        """Return the memory that products on the current stream have."""
        return self._workspace(self._cupy.cuda.get_current_stream().ptr)

    def _workspace(self, stream: int) -> Array:
        memory = self._workspaces.get(stream)
        if memory is None:
            memory = self._cupy.empty(self._workspace_bytes, np.uint8)
            self._workspaces[stream] = memory
        return memory

    @contextmanager
    def lend_workspace(self, stream: Any) -> Iterator[None]:
        """Let a stream that records use the workspace of the current one, which will replay."""
        lender = self._cupy.cuda.get_current_stream().ptr
        self._workspaces[stream.ptr] = self._workspace(lender)
        try:
            yield
        finally:
            del self._workspaces[stream.ptr]

    def plan(
        self,
        a: Array,
        b: Array,
        out: Array,
        epilogue: str = "DEFAULT",
        bias: Array = None,
    ) -> Plan:
        """Return the plan for operands like these, made on the first call.

        `bias` is what the epilogue reads or writes; where it lies decides what is possible. A plan
        with an epilogue has no algorithms where the library does not do it, for whatever reason.
        """
        key = (kinds(a, b, out, *(() if bias is None else (bias,))), epilogue)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._make(a, b, out, epilogue, bias)
        return plan

    def run(
        self,
        plan: Plan,
        algorithm: Algorithm,
        a: Array,
        b: Array,
        out: Array,
        scale: float,
        bias: Array = None,
    ) -> None:
        """Write out = scale a @ b by this algorithm.

        `bias` is what the epilogue reads or writes. It is added to scaled sums, and that of BGRADA
        is the sum of what is not scaled.
        """
        library = self._library
        self._point(plan.operation, bias)
        layout_a, layout_b, layout_out = plan.layouts
        target, stream = out.data.ptr, self._cupy.cuda.get_current_stream().ptr
        memory = self._workspace(stream)
        status = library.matmul(
            *(library.handle, plan.operation, ctypes.byref(plan.number(scale))),
            *(b.data.ptr, layout_a, a.data.ptr, layout_b, ctypes.byref(plan.zero)),
            *(target, layout_out, target, layout_out, ctypes.byref(algorithm)),
            *(memory.data.ptr, memory.nbytes, stream),
        )
        if status:
            raise RuntimeError(f"cublasLtMatmul failed ({status}) for {kinds(a, b, out)}")

    def _point(self, operation: ctypes.c_void_p, bias: Array) -> None:
        """Tell a description where what its epilogue reads or writes lies."""
        if bias is not None:
            self._library.describe(operation, "BIAS_POINTER", ctypes.c_void_p(bias.data.ptr))

    def _make(self, a: Array, b: Array, out: Array, epilogue: str, bias: Array) -> Plan:
        library, wide = self._library, out.dtype == np.float64
        compute = "CUBLAS_COMPUTE_64F" if wide else "CUBLAS_COMPUTE_32F"
        if self._tf32 and a.dtype == np.float32:
            compute += "_FAST_TF32"
        scale = KINDS["float64" if wide else "float32"]
        turned = (transposed(b), transposed(a))
        operation = library.operation(CONSTANTS[compute], scale, turned)
        layouts = (self._layout(b), self._layout(a), self._layout(out))
        number = ctypes.c_double if wide else ctypes.c_float
        alignments = [alignment(array) for array in (b, a, out)]
        preference = library.preference(self._workspace_bytes, alignments)
        try:
            code = ctypes.c_int32(CONSTANTS[f"CUBLASLT_EPILOGUE_{epilogue}"])
            library.describe(operation, "EPILOGUE", code)
            self._point(operation, bias)
            algorithms = library.heuristics(operation, layouts, preference, ALGORITHMS)
        except CublasLtError:
            if epilogue == "DEFAULT":
                raise
            algorithms = []
        return Plan(operation, layouts, number, number(0), algorithms)

    def _layout(self, array: Array) -> ctypes.c_void_p:
        rows, columns = array.shape[::-1] if transposed(array) else array.shape
        return self._library.layout(KINDS[array.dtype.name], columns, rows, columns)


def workspace_bytes(major: int) -> int:
    """Return how much workspace products get on a device of this compute capability."""
    return WORKSPACE.get(max(WORKSPACE) if major >= max(WORKSPACE) else major, SMALL_WORKSPACE)


def kinds(*arrays: Array) -> str:
    """Name what a way to multiply depends on: dtypes, shapes, order and alignment."""
    return " ".join(
        f"{array.dtype.name}{tuple(array.shape)}{'T' if transposed(array) else ''}"
        f"@{alignment(array)}"
        for array in arrays
    )


def alignment(array: Array) -> int:
    """Return how many bytes an array is aligned to; 256 is all that cuBLASLt asks about."""
    address = int(array.data.ptr)
    return min(256, address & -address)


def transposed(array: Array) -> bool:
    """Tell whether an array is a transposed view of one that lies row by row."""
    return not array.flags.c_contiguous
