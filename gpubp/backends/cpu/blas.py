"""NumPy's BLAS itself: the number of its threads, and where its products are.

A small product is done before a second thread has begun, and what that thread wrote must then be
fetched from its cache. OpenBLAS takes two threads much earlier than pays here, so small steps run
with one; the number is put back after each step.
"""

from __future__ import annotations

import ctypes
import importlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import TracebackType
from typing import NamedTuple

import numpy as np

# Multiplications in the largest product of a step from which on more threads pay: 784-128 at
# batch 32 has 3.2 million and is faster with one, at batch 64 it has 6.4 million and is not.
WORTH_THREADS = 5_000_000

# OpenBLAS as NumPy's wheels name its functions, and as others do
_NAMES = (
    ("scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"),
    ("scipy_openblas_get_num_threads", "scipy_openblas_set_num_threads"),
    ("openblas_get_num_threads64_", "openblas_set_num_threads64_"),
    ("openblas_get_num_threads", "openblas_set_num_threads"),
)
# Matrix products by their C interface, and whether their integers have 64 bits
_PRODUCTS = (
    ("scipy_cblas_{}gemm64_", True),
    ("cblas_{}gemm64_", True),
    ("scipy_cblas_{}gemm", False),
    ("cblas_{}gemm", False),
)
_MANY_THREADS = nullcontext()


class _OneThread:
    """A context in which BLAS uses one thread; may be entered by several threads at a time."""

    def __init__(self, get: Callable[[], int], set_: Callable[[int], None]) -> None:
        self._get, self._set = get, set_
        self._lock = threading.Lock()
        self._inside = self._before = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = self._get()
                self._set(1)
            self._inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._set(self._before)


def threads_for(multiplications: int) -> AbstractContextManager[None]:
    """Return the context for a step whose largest product has so many multiplications."""
    return _MANY_THREADS if multiplications >= WORTH_THREADS else _one_thread()


class Products(NamedTuple):
    """The products of a planned step.

    Attributes
    ----------
    single, both_double : int
        Addresses of cblas_sgemm and cblas_dgemm, or of what is called as they are.
    wide : bool
        Whether they take 64-bit integers.
    tiled : bool
        Whether `kernels/host/float32_product.h` may stand in for the first where it is faster.
    squares : int
        The address of products by squares, which may stand in for it too; or 0.
    packed : int
        The address of the same with a right matrix that is packed once for many rows, as
        `kernels/host/packed_product.h` has it: steps of many rows then are done a chunk of rows
        after the other; or 0.
    """

    single: int
    both_double: int
    wide: bool
    tiled: bool
    squares: int = 0
    packed: int = 0


@cache
def products() -> Products | None:
    """Return BLAS's products.

    None where they are not found, or BLAS may not be told to leave a call on the caller's thread.
    """
    library = _numpys_library()
    for name, wide in _PRODUCTS:
        single, double = (getattr(library, name.format(letter), None) for letter in "sd")
        if single and double and _one_thread() is not _MANY_THREADS:
            one, other = (ctypes.cast(found, ctypes.c_void_p).value for found in (single, double))
            return Products(one or 0, other or 0, wide, tiled=True)
    return None


@cache
def _numpys_library() -> ctypes.CDLL | None:
    """Return the part of NumPy that is linked with BLAS; it finds BLAS's own functions too."""
    core = "numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core"
    try:
        return ctypes.CDLL(importlib.import_module(f"{core}._multiarray_umath").__file__)
    except (ImportError, OSError):
        return None


def set_threads(count: int) -> None:
    """Have BLAS use so many threads; does nothing where it is not OpenBLAS."""
    functions = _thread_functions()
    if functions is not None:
        functions[1](count)


@cache
def _one_thread() -> AbstractContextManager[None]:
    """Return the context with one thread; one that does nothing where BLAS is not OpenBLAS."""
    functions = _thread_functions()
    return _MANY_THREADS if functions is None else _OneThread(*functions)


@cache
def _thread_functions() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """Return OpenBLAS's functions that tell and set the number of its threads."""
    library = _numpys_library()
    for get, set_ in _NAMES:
        if hasattr(library, get) and hasattr(library, set_):
            setter = getattr(library, set_)
            setter.restype = None
            return getattr(library, get), setter
    return None
