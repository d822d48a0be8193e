"""The few calls of NVIDIA's cuBLASLt that matrix products need, through ctypes.

CuPy's own products refuse to be recorded into a CUDA graph; a call with raw pointers, an explicit
stream and a workspace of the caller's can be. Numbers are those of ``cublasLt.h`` (CUDA 12 and 13),
and `tests/test_cublaslt.py` compares them with that header where it is installed.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping, Sequence
from ctypes import POINTER, byref, c_float, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from typing import Any

CONSTANTS = {
    "CUDA_R_16F": 2,
    "CUDA_R_16BF": 14,
    "CUDA_R_32F": 0,
    "CUDA_R_64F": 1,
    "CUBLAS_COMPUTE_32F": 68,
    "CUBLAS_COMPUTE_32F_FAST_TF32": 77,
    "CUBLAS_COMPUTE_64F": 70,
    "CUBLAS_OP_N": 0,
    "CUBLAS_OP_T": 1,
    "CUBLASLT_MATMUL_DESC_TRANSA": 3,
    "CUBLASLT_MATMUL_DESC_TRANSB": 4,
    "CUBLASLT_MATMUL_DESC_EPILOGUE": 7,
    "CUBLASLT_MATMUL_DESC_BIAS_POINTER": 8,
    "CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES": 1,
    "CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES": 5,
    "CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES": 6,
    "CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES": 7,
    "CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES": 8,
    "CUBLASLT_EPILOGUE_DEFAULT": 1,
    "CUBLASLT_EPILOGUE_BIAS": 4,
    "CUBLASLT_EPILOGUE_RELU_BIAS": 6,
    "CUBLASLT_EPILOGUE_BGRADA": 256,
}
STATUS = {
    1: "not initialized",
    3: "allocation failed",
    7: "invalid value",
    8: "architecture mismatch",
    11: "mapping error",
    13: "execution failed",
    14: "internal error",
    15: "not supported",
}


class Algorithm(ctypes.Structure):
    """``cublasLtMatmulAlgo_t``: how a product is computed, to be kept as it is."""

    _fields_ = (("data", c_uint64 * 8),)


class HeuristicResult(ctypes.Structure):
    """``cublasLtMatmulHeuristicResult_t``."""

    _fields_ = (
        ("algorithm", Algorithm),
        ("workspace", c_size_t),
        ("status", c_int),
        ("waves", c_float),
        ("reserved", c_int * 4),
    )


class CublasLtError(RuntimeError):
    """A call of cuBLASLt failed; names the call and the reason."""


_PROTOTYPES: dict[str, Sequence[Any]] = {
    "cublasLtCreate": (POINTER(c_void_p),),
    "cublasLtMatmulDescCreate": (POINTER(c_void_p), c_int, c_int),
    "cublasLtMatmulDescSetAttribute": (c_void_p, c_int, c_void_p, c_size_t),
    "cublasLtMatrixLayoutCreate": (POINTER(c_void_p), c_int, c_uint64, c_uint64, c_int64),
    "cublasLtMatmulPreferenceCreate": (POINTER(c_void_p),),
    "cublasLtMatmulPreferenceSetAttribute": (c_void_p, c_int, c_void_p, c_size_t),
    "cublasLtMatmulAlgoGetHeuristic": (
        *(c_void_p,) * 7,
        c_int,
        POINTER(HeuristicResult),
        POINTER(c_int),
    ),
    "cublasLtMatmul": (
        *(c_void_p, c_void_p, c_void_p),  # handle, operation, alpha
        *(c_void_p,) * 4,  # A and B with their layouts
        *(c_void_p,) * 5,  # beta, C and D with their layouts
        *(POINTER(Algorithm), c_void_p, c_size_t, c_void_p),  # workspace and stream
    ),
}


class CublasLt:
    """The library, with its handle for the current device.

    Raises
    ------
    OSError, CublasLtError
        When the library cannot be loaded or does not start.
    """

    def __init__(self, library: Any = None) -> None:
        self._library = _load() if library is None else library
        declare(self._library, _PROTOTYPES)
        self._library.cublasLtGetVersion.restype = c_size_t
        self.version = int(self._library.cublasLtGetVersion())
        self.matmul = self._library.cublasLtMatmul  # called each step: no wrapper around it
        self.handle = c_void_p()
        self._call("cublasLtCreate", byref(self.handle))

    def operation(self, compute: int, scale: int, transposed: tuple[bool, bool]) -> c_void_p:
        """Return a description of a product: precision, and which operands are transposed."""
        description = c_void_p()
        self._call("cublasLtMatmulDescCreate", byref(description), compute, scale)
        for name, flag in zip(("TRANSA", "TRANSB"), transposed, strict=True):
            self.describe(description, name, c_int32(flag))
        return description

    def describe(self, description: c_void_p, attribute: str, value: Any) -> None:
        """Set one attribute of a description, named as in the header after MATMUL_DESC."""
        self._call(
            "cublasLtMatmulDescSetAttribute",
            description,
            CONSTANTS[f"CUBLASLT_MATMUL_DESC_{attribute}"],
            byref(value),
            ctypes.sizeof(value),
        )

    def layout(self, kind: int, rows: int, columns: int, leading: int) -> c_void_p:
        """Return the layout of a column-major matrix."""
        layout = c_void_p()
        self._call("cublasLtMatrixLayoutCreate", byref(layout), kind, rows, columns, leading)
        return layout

    def preference(self, workspace: int, alignments: Sequence[int]) -> c_void_p:
        """Return a preference: bytes of workspace, and those that A, B and D are aligned to."""
        preference = c_void_p()
        self._call("cublasLtMatmulPreferenceCreate", byref(preference))
        a, b, d = map(c_int32, alignments)
        settings: dict[str, Any] = {"MAX_WORKSPACE_BYTES": c_size_t(workspace)}
        for operand, alignment in zip("ABCD", (a, b, d, d), strict=True):
            settings[f"MIN_ALIGNMENT_{operand}_BYTES"] = alignment
        for name, value in settings.items():
            code = CONSTANTS[f"CUBLASLT_MATMUL_PREF_{name}"]
            self._call(
                "cublasLtMatmulPreferenceSetAttribute",
                *(preference, code, byref(value), ctypes.sizeof(value)),
            )
        return preference

    def heuristics(
        self, operation: c_void_p, layouts: Sequence[c_void_p], preference: c_void_p, most: int
    ) -> list[Algorithm]:
        """Return algorithms for a product, the library's favourite first; none where none fits."""
        results, count = (HeuristicResult * most)(), c_int(0)
        a, b, d = layouts
        status = self._library.cublasLtMatmulAlgoGetHeuristic(
            *(self.handle, operation, a, b, d, d, preference, most, results, byref(count))
        )
        if status == 15:
            return []
        check("cublasLtMatmulAlgoGetHeuristic", status)
        return [
            Algorithm.from_buffer_copy(result.algorithm)
            for result in results[: count.value]
            if result.status == 0
        ]

    def _call(self, name: str, *arguments: Any) -> None:
        check(name, getattr(self._library, name)(*arguments))


def declare(library: Any, prototypes: Mapping[str, Sequence[Any]]) -> None:
    """Say what functions of a library take; each returns a status."""
    for name, arguments in prototypes.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, c_int


def check(name: str, status: int) -> None:
    """Raise CublasLtError when a call has failed; names the call and the reason."""
    if status:
        raise CublasLtError(f"{name} failed: {STATUS.get(status, 'status')} ({status})")


def _load() -> Any:
    return load_library("cublasLt")


def load_library(name: str) -> Any:
    """Load a library that CuPy uses too; its folder is no search path of the system.

    Raises
    ------
    OSError
        When there is none.
    """
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib
    except ImportError:
        files = (
            [f"{name}64_{major}.dll" for major in (13, 12)]
            if sys.platform == "win32"
            else [f"lib{name}.so.{major}" for major in (13, 12)]
        )
        for file in files[:-1]:
            try:
                return ctypes.CDLL(file)
            except OSError:
                continue
        return ctypes.CDLL(files[-1])
    try:
        return ctypes.CDLL(load_nvidia_dynamic_lib(name).abs_path)
    except RuntimeError as error:  # pathfinder's own error when it finds none
        raise OSError(" ".join(str(error).split())[:160]) from error
