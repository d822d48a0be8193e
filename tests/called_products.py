"""Products that are called as cblas_sgemm is: made by any compiler, or by a processor's own means.

What `kernels/host/bfloat16_product.h`, `bfloat16_squares.h` and `float32_squares.h` offer.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from conftest import compiled
from gpubp.backends.cpu.host_kernels import host_kernels
from gpubp.backends.cpu.thread_count import thread_count
from gpubp.cli.openblas import cpuinfo
from kernel_compilation import host_compiler, load_host_header

TRANSPOSE = {False: 111, True: 112}  # CblasNoTrans, CblasTrans
ARGUMENTS = (
    *(ctypes.c_int,) * 3,
    *(ctypes.c_int64,) * 3,
    ctypes.c_float,
    *(ctypes.c_void_p, ctypes.c_int64) * 2,
    ctypes.c_float,
    *(ctypes.c_void_p, ctypes.c_int64),
)
CODE = """extern "C" long long address() {{
  return reinterpret_cast<long long>(gpubp::{});
}}
"""


class Kind(NamedTuple):
    """One of the products: its module, its function, what it includes, and its truth.

    `method` is the function of the module that returns its address.
    """

    module: str
    function: str
    headers: tuple[str, ...]
    truth: Callable[..., Any]
    method: str = "product"


def plain(kind):
    """Return the address of the product that any compiler makes."""
    if host_compiler() is None:
        pytest.skip("a C++ compiler is needed: g++ or clang++")
    library = load_host_header(CODE.format(kind.function), *kind.headers)
    library.address.restype = ctypes.c_int64
    return library.address()


def module():
    """Return the module that pays on this processor, or ""."""
    compiled()
    return host_kernels()[0].bfloat16_module()


def native(kind):
    """Return the address of the product by the processor's instructions."""
    has_pairs = "avx512_bf16" in cpuinfo("flags").split()
    if module() != kind.module and not (kind.module == "avx512bf16" and has_pairs):
        pytest.skip(f"the processor has no instructions for {kind.module}")
    loaded = pytest.importorskip(f"gpubp.backends.cpu._host_{kind.module}")
    return getattr(loaded, kind.method)()


def called(function, a, b, of_a=False, of_b=False, scale=1.0, columns=None):
    """Return scale a b, each as it lies or transposed, in an array that has held NaN."""
    (m, inner), n = a.shape[:: -1 if of_a else 1], b.shape[0 if of_b else 1]
    out = np.full((m, columns or n), np.nan, np.float32)
    left, right = ((x.ctypes.data, x.shape[1]) for x in (a, b))
    flags = TRANSPOSE[of_a], TRANSPOSE[of_b]
    function(101, *flags, m, n, inner, scale, *left, *right, 0.0, out.ctypes.data, out.shape[1])
    return out


def function_of(address):
    """Return the product at this address as a function of a, b and more; see `called`."""
    function = ctypes.CFUNCTYPE(None, *ARGUMENTS)(address)
    return lambda *arguments, **options: called(function, *arguments, **options)


def numbers(seed, *shape):
    random = np.random.default_rng(seed)
    powers = 2.0 ** random.integers(-12, 12, shape)
    return (random.standard_normal(shape) * powers).astype(np.float32)


def check_every_bit(product, truth, shape, of_a, of_b):
    """Compare a product with its truth, and see that nothing beside it is written."""
    rows, columns, inner = shape
    a, b = numbers(1, rows, inner), numbers(2, inner, columns)
    left = np.ascontiguousarray(a.T) if of_a else a
    right = np.ascontiguousarray(b.T) if of_b else b
    found = product(left, right, of_a, of_b, scale=0.3, columns=columns + 3)
    np.testing.assert_array_equal(found[:, :columns], truth(a, b, 0.3))
    assert np.isnan(found[:, columns:]).all(), "written beyond the last column"


def check_threads(backend, truth, of_a, of_b):
    """Compare a product of several numbers of threads with its truth, to the last bit."""
    host = host_kernels()[0]
    a, b = numbers(6, *((130, 700) if of_a else (700, 130))), numbers(7, 130, 170)
    right = np.ascontiguousarray(b.T).T if of_b else b
    found = []
    try:
        for threads in (1, 2, 5):
            host.set_threads(threads)
            out = np.full((700, 170), np.nan, np.float32)
            backend.multiply(a.T if of_a else a, right, out, 0.5)
            found.append(out)
    finally:
        host.set_threads(thread_count())
    for out in found:
        np.testing.assert_array_equal(out, truth(a.T if of_a else a, b, 0.5))
