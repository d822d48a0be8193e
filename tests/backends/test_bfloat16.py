"""Products in bfloat16 on the CPU: every bit against a reference, any machine; then training.

Two references, in `bfloat16_truth`, round as the instructions of AVX512-BF16 and of AMX do. Beside
them stand the plain C++ that a compiler makes of `kernels/host/bfloat16_product.h` and
`bfloat16_squares.h` anywhere, and, where the processor has them, the instructions.
"""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
from bfloat16_truth import NORMAL, flushed, pair_sums, rounded, square_sums
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
from gpubp.backends.cpu import bfloat16_backend
from gpubp.backends.cpu.bfloat16_backend import Bfloat16Backend, bfloat16_products
from gpubp.backends.cpu.compiled_backend import CompiledBackend
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from gpubp.backends.precision import PRECISIONS
from gpubp.cli.openblas import cpuinfo

BFLOAT16 = PRECISIONS["bfloat16"]
HEADERS = (
    *("bfloat16_product.h", "tiled_product.h", "packing.h", "simd_vector.h"),
    *("flush_subnormals.h", "../storage.cuh"),
)
PAIRS = Kind("avx512bf16", "bfloat16_product", HEADERS, pair_sums)
SQUARES = Kind(
    "amx",
    "squares_product<gpubp::Bfloat16Squares>",
    ("bfloat16_squares.h", "squares.h", "packed_product.h", *HEADERS),
    square_sums,
)
KINDS = {kind.module: kind for kind in (PAIRS, SQUARES)}


def taken():
    """Return the kind that the backend takes here."""
    _, missing = bfloat16_products()
    if missing:
        pytest.skip(missing)
    return KINDS[module()]


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param


@pytest.fixture(params=[plain, native])
def product(request, kind):
    """A function of a, b and more, as `called` takes them."""
    return function_of(request.param(kind))


@pytest.mark.parametrize("of_b", [False, True])
@pytest.mark.parametrize("of_a", [False, True])
@pytest.mark.parametrize(
    ("rows", "columns", "inner"),
    [
        *((1, 1, 1), (12, 32, 2), (13, 33, 3), (5, 10, 70), (11, 17, 31), (24, 16, 33)),
        (250, 40, 1030),  # several blocks of rows, and of the inner dimension
        (14, 1060, 5),  # and of columns
        *((16, 16, 32), (33, 31, 65), (40, 48, 97)),  # whole squares, and a little more or less
    ],
)
def test_every_bit_is_the_references(product, kind, rows, columns, inner, of_a, of_b):
    check_every_bit(product, kind.truth, (rows, columns, inner), of_a, of_b)


def test_the_reference_itself_against_an_exact_sum(kind):
    """A sum of few products of small whole numbers is exact; others are near."""
    whole = np.arange(-8, 8, dtype=np.float32).reshape(4, 4)
    np.testing.assert_array_equal(kind.truth(whole, whole), whole @ whole)
    a, b = numbers(3, 7, 60), numbers(4, 60, 5)
    exact = rounded(a).astype(np.float64) @ rounded(b).astype(np.float64)
    bound = 60 * 2.0**-24 * (np.abs(rounded(a)).astype(np.float64) @ np.abs(rounded(b)))
    assert (np.abs(kind.truth(a, b) - exact) <= bound).all()
    plain = a.astype(np.float64) @ b.astype(np.float64)
    assert (np.abs(exact - plain) > bound).any(), "the operands were not rounded"


def test_what_a_product_reads_is_rounded_to_nearest_and_ties_to_even(product):
    ties = np.arange(0x3F800000, 0x3F840000, 0x4000, dtype=np.uint32).view(np.float32)
    small = np.float32([1e-38, -1e-39, 1.2e-38, 0.0, np.inf, -np.inf, 3.3e38, -3.3e38])
    values = np.concatenate([ties, small, numbers(5, 1000)])
    one = np.ones((1, 1), np.float32)
    found = product(values[:, None], one)[:, 0]
    np.testing.assert_array_equal(found, flushed(rounded(values)))
    assert np.isnan(product(np.float32([[np.nan]]), one)).all()


def test_sums_below_the_smallest_normal_number_are_zero(product):
    a = np.float32([[1.5 * NORMAL, -NORMAL], [NORMAL, NORMAL]])
    found = product(a, np.ones((2, 1), np.float32))
    np.testing.assert_array_equal(found[:, 0], [0, 2 * NORMAL])


@pytest.mark.parametrize(("of_a", "of_b"), [(False, False), (True, False), (False, True)])
def test_no_bit_of_a_product_depends_on_the_threads(of_a, of_b):
    check_threads(compiled().for_precision(BFLOAT16), taken().truth, of_a, of_b)


def test_a_product_of_no_rows():
    backend = compiled().for_precision(BFLOAT16)
    taken()
    out = np.empty((0, 5), np.float32)
    backend.multiply(np.empty((0, 3), np.float32), np.ones((3, 5), np.float32), out)
    assert out.shape == (0, 5)


def test_a_product_of_what_does_not_fit_is_refused():
    backend = compiled().for_precision(BFLOAT16)
    taken()
    a, b = np.ones((3, 4), np.float32), np.ones((5, 2), np.float32)
    with pytest.raises(TypeError, match="differ in type or shape"):
        backend.multiply(a, b, np.empty((3, 2), np.float32))
    with pytest.raises(TypeError, match="differ in type or shape"):
        backend.multiply(a, b[:4].astype(np.float64), np.empty((3, 2), np.float32))


def step_by_hand(net, x, target):
    """Return the gradients of 1/2 (y - target)^2, its products reading rounded numbers."""
    (w, b), (v, c) = ((layer.weight.copy(), layer.bias.copy()) for layer in net.layers)

    def times(left, right):
        return rounded(left).astype(np.float64) @ rounded(right).astype(np.float64)

    hidden = np.tanh(times(x, w) + b).astype(np.float32)
    error = ((times(hidden, v) + c - target) / len(x)).astype(np.float32)
    back = (times(error, v.T) * (1 - hidden.astype(np.float64) ** 2)).astype(np.float32)
    return times(x.T, back), back.sum(0), times(hidden.T, error), error.sum(0)


@pytest.mark.parametrize("rows", [8, 2100], ids=["planned", "walked"])
def test_a_step_multiplies_rounded_numbers(rows, monkeypatch):
    for name, limit in (("WHOLE_STEP_PRODUCT", 1_000_000), ("WIDER", 1)):
        monkeypatch.setattr(f"gpubp.backends.cpu.compiled_backend.{name}", limit)
    backend = compiled()
    taken()
    x, target = numbers(8, rows, 30) * 0.01, numbers(9, rows, 3) * 0.01
    net = gpubp.Network([30, 20, 3], "tanh", backend=backend, precision="bfloat16", seed=1)
    assert isinstance(net.backend, Bfloat16Backend)
    expected = step_by_hand(net, x, target)
    wide = gpubp.Network([30, 20, 3], "tanh", backend=backend, dtype="float64", seed=1)
    wide.train_step(x, target, gpubp.SGD(1e-6))
    net.train_step(x, target, gpubp.SGD(1e-6))
    for index, name in enumerate(("weight", "bias")):
        for layer, own in enumerate(net.layers):
            found = getattr(own, f"d{name}")
            assert found.dtype == np.float32
            size = np.abs(expected[2 * layer + index]).max()
            np.testing.assert_allclose(found, expected[2 * layer + index], rtol=0, atol=3e-4 * size)
    exact = wide.layers[0].dweight
    assert np.abs(net.layers[0].dweight - exact).max() > 1e-3 * np.abs(exact).max(), "not used"


def test_training_learns_as_in_float32():
    backend = compiled()
    taken()
    random = np.random.default_rng(0)
    x = random.standard_normal((600, 10)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).astype(np.int64)

    def accuracy(precision):
        net = gpubp.Network([10, 64, 2], output="softmax", backend=backend, precision=precision)
        net.fit(x[:400], y[:400], epochs=60, batch_size=32)
        return net.evaluate(x[400:], y[400:])["accuracy"]

    found, exact = accuracy("bfloat16"), accuracy("float32")
    assert exact > 0.85
    assert found > exact - 0.04


def test_a_precision_is_left_again():
    backend = compiled()
    taken()
    net = gpubp.Network([4, 5, 2], backend=backend, precision="bfloat16")
    assert "products in bfloat16" in net.backend.device
    assert net.backend.for_precision(BFLOAT16) is net.backend
    wide = net.copy(dtype="float32")
    assert type(wide.backend) is CompiledBackend
    assert wide.backend.device == backend.device
    assert gpubp.gradient_check(net, numbers(1, 6, 4), numbers(2, 6, 2)).passed


def test_without_the_instructions_it_is_float32_with_one_note(monkeypatch):
    backend = compiled()
    monkeypatch.setattr(bfloat16_backend, "bfloat16_products", lambda: (None, "no such thing"))
    for own, missing in ((backend, "no such thing"), (NumpyBackend(), "compiled kernels")):
        net = gpubp.Network([4, 5, 2], backend=own, precision="bfloat16")
        assert type(net.backend) is type(own)
        (note,) = net.backend.notes
        assert note.startswith("precision 'bfloat16' computes in float32 on this CPU: ")
        assert missing in note
        assert str(net.summary()).endswith(note)
        assert own.notes == []
        assert net.backend.for_precision(PRECISIONS["float32"]).notes == []
        twin = gpubp.Network([4, 5, 2], backend=own)
        x = numbers(1, 6, 4)
        np.testing.assert_array_equal(net.predict(x), twin.predict(x))


class Host:
    def __init__(self, module):
        self.bfloat16_module = lambda: module


@pytest.mark.parametrize(
    ("kernels", "missing"),
    [
        ((None, "off"), "the compiled kernels are needed: off"),
        (
            (Host(""), "avx512"),
            "the processor has neither AMX nor AMD's AVX512-BF16 (Intel's gains nothing)",
        ),
        ((Host("avx512bf16"), "avx2"), "the compiled kernels in use are those for avx2"),
    ],
)
def test_why_there_are_no_products_in_bfloat16(kernels, missing, monkeypatch):
    monkeypatch.setattr(bfloat16_backend, "host_kernels", lambda: kernels)
    assert bfloat16_products.__wrapped__() == (None, missing)


def test_a_module_that_was_not_built_is_said(monkeypatch):
    kernels = Host("no_such_module"), "avx512"
    monkeypatch.setattr(bfloat16_backend, "host_kernels", lambda: kernels)
    products, missing = bfloat16_products.__wrapped__()
    assert products is None
    assert missing.startswith("not built when gpubp was installed")


def test_the_processor_is_asked_for_the_instructions():
    flags = cpuinfo("flags").split()
    if not flags:
        pytest.skip("/proc/cpuinfo tells no flags of a processor here")
    found = module()
    if "avx512_bf16" in flags and cpuinfo("vendor_id") == "AuthenticAMD":
        assert found == "avx512bf16"
    elif found == "amx":  # the system may keep the registers back
        assert {"amx_tile", "amx_bf16", "avx512_bf16"} <= set(flags)
    else:
        assert not found
