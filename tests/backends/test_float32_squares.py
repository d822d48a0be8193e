"""Products of float32 by three bfloat16 a number: every bit, and how exact they are.

The plain C++ that a compiler makes of `kernels/host/float32_squares.h` anywhere, and the
instructions of AMX where the processor has them, stand beside a reference that rounds as they do,
and beside float64.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

import gpubp
from bfloat16_truth import NORMAL, split_sums
from called_products import (
    Kind,
    check_every_bit,
    check_threads,
    function_of,
    module,
    native,
    numbers,
    plain,
)
from conftest import compiled
from gpubp.backends.cpu import compiled_backend
from gpubp.backends.cpu import host_kernels as kernels
from gpubp.backends.cpu.compiled_backend import CompiledBackend
from gpubp.backends.cpu.host_kernels import float32_squares
from kernel_compilation import host_compiler, load_host_header

HEADERS = (
    *("float32_squares.h", "squares.h", "packed_product.h", "tiled_product.h", "packing.h"),
    *("simd_vector.h", "flush_subnormals.h", "../storage.cuh"),
)
SPLIT = Kind(
    "amx", "squares_product<gpubp::Float32Squares>", HEADERS, split_sums, "float32_product"
)


@pytest.fixture(params=[plain, native])
def product(request):
    """A function of a, b and more, as `called` takes them."""
    return function_of(request.param(SPLIT))


def squares_taken():
    """Return the compiled backend where it takes squares."""
    backend = compiled()
    if not backend.products.squares:
        pytest.skip("the processor has no AMX, or a set of instructions was asked for")
    return backend


@pytest.mark.parametrize("of_b", [False, True])
@pytest.mark.parametrize("of_a", [False, True])
@pytest.mark.parametrize(
    ("rows", "columns", "inner"),
    [
        *((1, 1, 1), (13, 33, 3), (5, 10, 70), (17, 31, 16), (16, 16, 32), (33, 31, 65)),
        (40, 48, 97),
        (70, 40, 1030),  # several blocks of rows, and of the inner dimension
        (14, 300, 5),  # and of columns
    ],
)
def test_every_bit_is_the_references(product, rows, columns, inner, of_a, of_b):
    check_every_bit(product, split_sums, (rows, columns, inner), of_a, of_b)


def test_three_parts_have_every_bit_of_a_number(product):
    """The product with 1 is the number itself, for all sizes but the smallest and the largest."""
    random = np.random.default_rng(3)
    bits = random.integers(0x0C000000, 0x7F000000, 20_000, np.uint32)  # 1e-31 to 1.7e38
    values = bits.view(np.float32) * random.choice(np.float32([-1, 1]), bits.size)
    found = product(values[:, None], np.ones((1, 1), np.float32))[:, 0]
    np.testing.assert_array_equal(found, values)
    whole = np.float32([0, -0.0, 1, -3, 2**24 - 1, 0.1, 3.38e38])
    np.testing.assert_array_equal(
        product(whole[:, None], np.ones((1, 1), np.float32))[:, 0], whole + np.float32(0)
    )


def test_small_numbers_lose_bits_and_no_more(product):
    values = np.float32([1e-34, -3e-36, 1e-37, 1.5 * NORMAL])
    found = product(values[:, None], np.ones((1, 1), np.float32))[:, 0]
    np.testing.assert_allclose(found, values, rtol=2.0**-8)
    assert product(np.float32([[1e-39]]), np.float32([[1]])) == 0


@pytest.mark.parametrize(
    "value",
    [np.nan, np.uint32(0x7FFFFFFF).view(np.float32), np.inf, -np.inf, np.finfo(np.float32).max],
)
def test_what_has_no_three_parts_is_nan(product, value):
    a = np.float32([[1, value, 2], [1, 2, 3]])
    found = product(a, np.ones((3, 1), np.float32))[:, 0]
    np.testing.assert_array_equal(found, [np.nan, 6])


@pytest.mark.parametrize("inner", [30, 784, 5000])
def test_errors_are_those_of_float32(product, inner):
    """In units of the sum of magnitudes, beside NumPy's own products of float32."""
    random = np.random.default_rng(inner)
    a, b = (random.standard_normal(s).astype(np.float32) for s in ((48, inner), (inner, 40)))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    size = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    found, other = (np.abs(c - exact) / size for c in (product(a, b), a @ b))
    assert found.max() < 2.0**-22
    assert np.sqrt((found**2).mean()) < 1.5 * np.sqrt((other**2).mean()) + 2.0**-26
    coarse = a.view(np.uint32) & np.uint32(0xFFFFFF00)  # without a number's last 8 bits
    less = np.abs(coarse.view(np.float32).astype(np.float64) @ b - exact) / size
    assert less.max() > 4 * found.max(), "such a bound would not see a part left out"


@pytest.mark.parametrize(
    ("of_b", "shape", "expected"),
    [
        (False, (392, 128, 32), True),
        (False, (128, 512, 784), True),
        (False, (32, 128, 784), False),  # what is packed is read too seldom
        (True, (32, 256, 256), True),
        (True, (16, 256, 256), False),
        (False, (256, 10, 128), False),
        (False, (256, 128, 16), False),  # half of a square would be idle
    ],
)
def test_squares_are_for_shapes_where_they_were_faster(of_b, shape, expected):
    if host_compiler() is None:
        pytest.skip("a C++ compiler is needed: g++ or clang++")
    code = """extern "C" bool pay(bool of_b, long long m, long long n, long long k) {
  return gpubp::squares_pay(of_b, m, n, k);
}
"""
    headers = (
        *("multiply.h", "packed_product.h", "float32_product.h", "tiled_product.h", "packing.h"),
        "processor_level.h",
    )
    pay = load_host_header(code, *headers).pay
    pay.restype = ctypes.c_bool
    assert pay(of_b, *map(ctypes.c_longlong, shape)) is expected


@pytest.mark.parametrize(("of_a", "of_b"), [(False, False), (True, False), (False, True)])
def test_no_bit_of_a_product_depends_on_the_threads(of_a, of_b):
    check_threads(squares_taken(), split_sums, of_a, of_b)


def test_products_of_a_step_too_large_for_one_call_are_by_squares_too():
    backend = squares_taken()
    a, b = numbers(10, 200, 150), numbers(11, 150, 160)
    with backend.threads_for(10**9):
        for dtype, expected in (("float32", split_sums(a, b)), ("float64", a.astype("d") @ b)):
            out = np.empty((200, 160), dtype)
            backend.multiply(a.astype(dtype), b.astype(dtype), out)
            np.testing.assert_allclose(out, expected, rtol=0 if dtype == "float32" else 1e-14)


def without_squares(monkeypatch):
    """Return a compiled backend that has no squares."""
    backend = compiled()
    monkeypatch.setattr(compiled_backend, "float32_squares", lambda: 0)
    return CompiledBackend(backend._host, backend.level)


@pytest.mark.parametrize("rows", [96, 400], ids=["by columns", "by rows"])
def test_a_step_multiplies_by_squares(rows, monkeypatch):
    backends = [squares_taken(), without_squares(monkeypatch)]
    x, target = numbers(8, rows, 200) * 0.01, numbers(9, rows, 160) * 0.01
    gradients = []
    for dtype, backend in zip(
        ("float64", "float32", "float32"), (backends[0], *backends), strict=True
    ):
        net = gpubp.Network([200, 160, 160], "tanh", backend=backend, dtype=dtype, seed=1)
        net.parameters[...] = net.parameters.astype(np.float32)
        net.train_step(x, target, gpubp.SGD(1e-6))
        gradients.append([layer.dweight for layer in net.layers])
    for exact, found, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(found, exact, rtol=0, atol=2e-6 * np.abs(exact).max())
        assert (found != other).any(), "squares were not used"


def test_where_there_are_none_products_are_those_of_tiles(monkeypatch):
    other = without_squares(monkeypatch)
    assert other.products.squares == 0
    assert "AMX" not in other.device


def test_an_instruction_set_that_is_asked_for_leaves_amx_out(monkeypatch):
    compiled()
    monkeypatch.setenv(kernels.ENVIRONMENT_VARIABLE, "avx512")
    assert float32_squares.__wrapped__() == 0
    monkeypatch.delenv(kernels.ENVIRONMENT_VARIABLE)
    assert bool(float32_squares.__wrapped__()) == (module() == "amx")


def test_a_module_that_was_not_built_is_done_without(monkeypatch):
    class Host:
        def bfloat16_module(self):
            return "amx"

    def missing(level):
        raise ImportError(level)

    monkeypatch.setattr(kernels, "host_kernels", lambda: (Host(), "avx512"))
    monkeypatch.setattr(kernels, "_load", missing)
    monkeypatch.delenv(kernels.ENVIRONMENT_VARIABLE, raising=False)
    assert float32_squares.__wrapped__() == 0
