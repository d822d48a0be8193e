"""The few calls of NVIDIA's cuBLAS that many products at once need, through ctypes.

cuBLASLt wants matrices at equal distances; cuBLAS takes a list of where each lies. As in
`gpubp.backends.gpu.cublaslt` the caller gives stream and workspace, so that calls can be recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import POINTER, byref, c_int, c_size_t, c_void_p
from typing import Any

from gpubp.backends.gpu.cublaslt import check, declare, load_library

DEFAULT_ALGORITHM = -1  # CUBLAS_GEMM_DEFAULT
_PROTOTYPES: dict[str, Sequence[Any]] = {
    "cublasCreate_v2": (POINTER(c_void_p),),
    "cublasSetStream_v2": (c_void_p, c_void_p),
    "cublasSetWorkspace_v2": (c_void_p, c_void_p, c_size_t),
    "cublasGemmBatchedEx": (
        *(c_void_p, c_int, c_int, c_int, c_int, c_int),  # handle, transposed, m, n, k
        *(c_void_p, c_void_p, c_int, c_int, c_void_p, c_int, c_int),  # alpha, A, B
        *(c_void_p, c_void_p, c_int, c_int),  # beta, C
        *(c_int, c_int, c_int),  # how many, precision, algorithm
    ),
}


class Cublas:
    """The library, with its handle for the current device.

    Raises
    ------
    OSError, CublasLtError
        When the library cannot be loaded or does not start.
    """

    def __init__(self, library: Any = None) -> None:
        self._library = load_library("cublas") if library is None else library
        declare(self._library, _PROTOTYPES)
        self._handle = c_void_p()
        self._call("cublasCreate_v2", byref(self._handle))

    def use(self, stream: int, workspace: int, size: int) -> None:
        """Let the next products be on a stream and have so many bytes of memory.

        A new stream takes the workspace away, so both are said each time.
        """
        self._call("cublasSetStream_v2", self._handle, stream)
        self._call("cublasSetWorkspace_v2", self._handle, workspace, size)

    def multiply_all(
        self,
        transposed: tuple[int, int],
        shape: tuple[int, int, int],
        scale: Any,
        operands: Sequence[tuple[int, int, int]],
        count: int,
        compute: int,
    ) -> None:
        """Write C = scale op(A) op(B) for so many column-major matrices.

        Parameters
        ----------
        transposed : tuple of int
            Whether A, B are, as ``CUBLAS_OP_N`` or ``CUBLAS_OP_T``.
        shape : tuple of int
            Rows and columns of C, terms of each sum.
        scale : ctypes number
            In the precision that is computed with.
        operands : sequence of (list, kind, leading)
            For A, B and C: where the list of their addresses lies on the device, the number of
            their dtype, and from one column to the next.
        """
        (a, kind_a, leading_a), (b, kind_b, leading_b), (c, kind_c, leading_c) = operands
        self._call(
            "cublasGemmBatchedEx",
            *(self._handle, *transposed, *shape),
            *(byref(scale), a, kind_a, leading_a, b, kind_b, leading_b),
            *(byref(type(scale)(0)), c, kind_c, leading_c),
            *(count, compute, DEFAULT_ALGORITHM),
        )

    def _call(self, name: str, *arguments: Any) -> None:
        check(name, getattr(self._library, name)(*arguments))
