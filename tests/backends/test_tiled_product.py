"""Products of float32 in tiles: every bit against a sum in one order, and what they are for."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from conftest import compiled
from kernel_compilation import host_compiler, load_host_header

HEADERS = (
    *("float32_product.h", "tiled_product.h", "packing.h", "simd_vector.h"),
    "processor_level.h",
)
NO_BLAS = (1, 1, True, True, 0, 0)  # to call it would end the process
# rows, columns, inner: what tiles are for, with and without rows and lanes that fill no tile
LARGE = [(32, 128, 400), (400, 128, 32), (37, 111, 333), (4, 512, 600), (128, 96, 1030)]
LARGE += [(200, 1000, 300)]  # two blocks of everything that is packed
SMALL = [(1, 1, 1), (8, 48, 5), (9, 49, 33), (3, 17, 600)]
CODE = r"""
#define PRODUCT(name, Format) \
extern "C" void name(int of_a, int of_b, long long m, long long n, long long k, float scale, \
                     const float* a, long long lda, const float* b, long long ldb, float* c, \
                     long long ldc) { \
  gpubp::tiled_product<gpubp::Format>(gpubp::lines_of(a, lda, of_a), \
                                      gpubp::lines_of(b, ldb, !of_b), m, n, k, scale, c, ldc); \
}
PRODUCT(product, Float32)
PRODUCT(packed_product, PackedFloat32)
extern "C" bool packs(bool amd, bool of_b, long long m, long long n, long long k, long long ldb) {
  return gpubp::packing_pays(amd, of_b, m, n, k, ldb);
}
extern "C" bool pay(bool of_b, long long m, long long n, long long k) {
  return gpubp::tiles_pay(of_b, m, n, k);
}
"""


def library():
    """Return the product and the rule as any compiler makes them."""
    if host_compiler() is None:
        pytest.skip("a C++ compiler is needed: g++ or clang++")
    return load_host_header(CODE, *HEADERS)


def plain(a, b, of_a, of_b, scale, out, function="product"):
    """Multiply by plain C++, on any machine."""
    (m, n), inner = out.shape, a.shape[0 if of_a else 1]
    sizes = (ctypes.c_longlong(size) for size in (m, n, inner))
    arrays = [(ctypes.c_void_p(x.ctypes.data), ctypes.c_longlong(x.shape[1])) for x in (a, b, out)]
    multiply = getattr(library(), function)
    multiply(of_a, of_b, *sizes, ctypes.c_float(scale), *sum(arrays, ()))


def packed(*given):
    """Multiply by plain C++ what is packed first."""
    plain(*given, function="packed_product")


def native(a, b, of_a, of_b, scale, out):
    """Multiply in a planned step, by tiles alone."""
    host = compiled()._host
    if not host.has_tiles():
        pytest.skip("the compiled kernels in use have no tiles")
    flat = np.zeros(1, np.float32)
    row = ("multiply", a, b, out, of_a, of_b, scale)
    host.run_plans(host.plan([row], 1, NO_BLAS, (flat, flat), False), 1)


def numbers(seed, *shape):
    """Return numbers of at most 12 bits: the product of two is exact in float32."""
    random = np.random.default_rng(seed)
    powers = 2.0 ** random.integers(-8, 8, shape)
    return (random.integers(-(2**11), 2**11, shape) * powers).astype(np.float32)


def reference(a, b, scale):
    """Return scale a b, each sum from the first to the last, each addition rounded once."""
    total = np.zeros((len(a), b.shape[1]), np.float32)
    for k in range(a.shape[1]):
        total = total + a[:, k, None] * b[k]
    return total * np.float32(scale)


@pytest.mark.parametrize(("of_a", "of_b"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize(
    ("product", "shape"),
    [
        *((way, shape) for way in (plain, packed) for shape in LARGE + SMALL),
        *((native, shape) for shape in LARGE),
    ],
    ids=lambda one: getattr(one, "__name__", str(one)),
)
def test_every_bit_is_that_of_a_sum_in_one_order(product, shape, of_a, of_b):
    m, n, inner = shape
    if product is native and of_b and m < 16:
        pytest.skip("with so few rows this is left to BLAS")
    a, b = numbers(1, m, inner), numbers(2, inner, n)
    left = np.ascontiguousarray(a.T) if of_a else a
    right = np.ascontiguousarray(b.T) if of_b else b
    out = np.full((m, n), np.nan, np.float32)
    product(left, right, of_a, of_b, 0.3, out)
    np.testing.assert_array_equal(out, reference(a, b, 0.3))


def test_each_product_is_added_unrounded():
    """A sum of products that cancel shows their last bits."""
    a = np.float32([[1, 1 + 2**-12]]).repeat(40, 0)
    b = np.float32([[-(1 + 2**-11)], [1 + 2**-12]]).repeat(16, 1)
    out = np.empty((40, 16), np.float32)
    plain(a, b, False, False, 1.0, out)
    np.testing.assert_array_equal(out, np.full((40, 16), 2.0**-24))


@pytest.mark.parametrize("function", ["product", "packed_product"])
def test_numbers_beside_the_matrices_are_not_read(function):
    """Rows that lie apart, NaN between them; and what lies beyond the last column stays."""
    wide = np.full((40, 70), np.nan, np.float32)
    wide[:, :50] = numbers(3, 40, 50)
    out = np.full((30, 64), np.nan, np.float32)
    a = numbers(4, 30, 40)
    sizes = (ctypes.c_longlong(size) for size in (30, 50, 40))
    arrays = [
        (ctypes.c_void_p(x.ctypes.data), ctypes.c_longlong(x.shape[1])) for x in (a, wide, out)
    ]
    getattr(library(), function)(False, False, *sizes, ctypes.c_float(1), *sum(arrays, ()))
    np.testing.assert_array_equal(out[:, :50], reference(a, wide[:, :50], 1))
    assert np.isnan(out[:, 50:]).all()


@pytest.mark.parametrize(
    ("of_b", "shape", "expected"),
    [
        (False, (32, 128, 400), True),  # 784-128-10 at batch 32, in two parts
        (False, (400, 128, 32), True),
        (True, (32, 64, 10), True),
        (False, (32, 10, 64), False),  # six lanes of a vector would be idle
        (True, (32, 10, 64), False),
        (False, (32, 64, 64), False),  # OpenBLAS has a kernel for small ones
        (False, (2, 1024, 1024), False),  # few rows
        (True, (8, 128, 128), False),
    ],
)
def test_tiles_are_for_shapes_where_they_were_faster(of_b, shape, expected):
    pay = library().pay
    pay.restype = ctypes.c_bool
    assert pay(of_b, *map(ctypes.c_longlong, shape)) is expected


@pytest.mark.parametrize(
    ("amd", "of_b", "shape", "apart", "expected"),
    [
        (False, False, (128, 512, 100), 512, True),
        (False, False, (128, 256, 100), 256, False),  # several rows of b on a page
        (False, False, (64, 512, 100), 512, False),  # too few rows to read what was packed
        (False, True, (128, 512, 100), 512, False),  # b is packed a panel at a time
        (True, False, (512, 2048, 2048), 2048, False),  # a stays in the caches
        (True, False, (2048, 2048, 2048), 2048, True),
        (True, True, (2048, 2048, 2048), 2048, True),
        (True, False, (2048, 128, 2048), 128, False),  # a is not read often enough
    ],
)
def test_what_pays_to_be_packed(amd, of_b, shape, apart, expected):
    packs = library().packs
    packs.restype = ctypes.c_bool
    assert packs(amd, of_b, *map(ctypes.c_longlong, (*shape, apart))) is expected
