"""Steps whose rows are done a chunk after the other, with weights that are packed once for all.

The products here are those of `kernels/host/float32_squares.h` as any compiler makes them, and
count how often they are called, so that a step can be held against plain NumPy's.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

import gpubp
from bfloat16_truth import square_sums
from called_products import module, numbers
from conftest import compiled
from gpubp.backends.cpu import compiled_backend, threads
from gpubp.backends.cpu.compiled_backend import CompiledBackend
from gpubp.backends.cpu.host_kernels import host_kernels
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from gpubp.backends.cpu.planned_steps import PlannedSteps
from gpubp.backends.cpu.thread_count import thread_count
from gpubp.backends.precision import PRECISIONS
from kernel_compilation import host_compiler, load_host_header
from step_cases import CASES, trained

HEADERS = (
    *("squares.h", "packed_product.h", "tiled_product.h", "packing.h", "simd_vector.h"),
    *("flush_subnormals.h", "../storage.cuh"),
)
CODE = """#include <atomic>
using namespace gpubp;
typedef Float32Squares Format;
static std::atomic<int> times(0);
static void multiply(std::int64_t m, std::int64_t n, std::int64_t k, float scale, const float* a,
                     std::int64_t lda, const float* packed, float* c, std::int64_t ldc) {
  ++times;
  squares_product_of_packed<Format>(m, n, k, scale, a, lda, packed, c, ldc);
}
extern "C" long long product() { return reinterpret_cast<long long>(squares_product<Format>); }
extern "C" const void* packed() {
  static const PackedProduct found = {packed_size<Format>, pack_for_squares<Format>, multiply};
  return &found;
}
extern "C" int multiplied() { return times.exchange(0); }
"""
BATCH, TIMES = 700, 8  # of 90 rows, each so many times


class Packed(ctypes.Structure):
    """`PackedProduct` of `kernels/host/packed_product.h`."""

    _fields_ = (
        ("size", ctypes.CFUNCTYPE(*(ctypes.c_int64,) * 3)),
        (
            "pack",
            ctypes.CFUNCTYPE(
                *(None, ctypes.c_bool, ctypes.c_int64, ctypes.c_int64),
                *(ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p),
            ),
        ),
        (
            "multiply",
            ctypes.CFUNCTYPE(
                *(None, *(ctypes.c_int64,) * 3, ctypes.c_float, ctypes.c_void_p),
                *(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64),
            ),
        ),
    )


@pytest.fixture(scope="module")
def library():
    if host_compiler() is None:
        pytest.skip("a C++ compiler is needed: g++ or clang++")
    found = load_host_header(CODE, "float32_squares.h", *HEADERS)
    found.product.restype, found.packed.restype = ctypes.c_int64, ctypes.c_void_p
    return found


@pytest.fixture
def chunked(library, monkeypatch):
    """A function that returns a backend whose steps are cut into parts and chunks."""

    def make(parts, packed=True):
        monkeypatch.setattr(threads, "thread_count", lambda: parts)
        monkeypatch.setattr(compiled_backend, "PRODUCT_A_THREAD", 1)
        backend = compiled()
        made = CompiledBackend(backend._host, backend.level)
        made.products = backend.products._replace(
            squares=library.product(), packed=library.packed() if packed else 0
        )
        return made

    return make


@pytest.mark.parametrize("case", CASES)
def test_a_step_in_chunks_is_the_walked_step(chunked, library, prepared, case):
    how = {"batch": BATCH, "times": TIMES, "epochs": 2, "optimizer": gpubp.SGD(0.1)}
    exact = trained(NumpyBackend(), case, **how)
    library.multiplied()
    net = trained(chunked(2), case, "float32", **how)
    # the first batch has two parts of three chunks; the other, of 20 rows, none
    assert library.multiplied() % 6 == 0
    whole, *_ = prepared()[2:]
    assert isinstance(whole, PlannedSteps), "the step was walked"
    np.testing.assert_allclose(net.history.loss, exact.history.loss, rtol=2e-5)
    size = np.abs(exact.gradients).max()
    np.testing.assert_allclose(net.gradients, exact.gradients, rtol=1e-3, atol=1e-4 * size)


def test_each_product_is_of_a_chunk_of_128_rows_at_most(chunked, library):
    backend = chunked(2)
    library.multiplied()
    for rows, chunks in ((256, 0), (257, 3), (700, 6), (1100, 10)):
        net = gpubp.Network([21, 40, 33, 5], "tanh", backend=backend)
        net.train_step(numbers(1, rows, 21), numbers(2, rows, 5), gpubp.SGD(1e-3))
        assert library.multiplied() == 5 * chunks, "three products forward and two back"


def test_no_bit_depends_on_the_threads(chunked):
    host = host_kernels()[0]
    found = []
    try:
        for threads in (1, 2, 3):
            host.set_threads(threads)
            net = trained(chunked(3), "dropout", "float32", batch=BATCH, times=TIMES)
            found.append(net.parameters.tobytes())
    finally:
        host.set_threads(thread_count())
    assert len(set(found)) == 1


def test_chunks_change_no_bit_of_what_each_row_is_alone(chunked):
    """Sums over rows have another order; outputs, and the slopes of the loss by them, have not."""
    x, y = numbers(1, 700, 64) * 0.01, numbers(2, 700, 64) * 0.01
    found = []
    for packed in (True, False):
        net = gpubp.Network([64, 96, 96, 64], "tanh", backend=chunked(2, packed), seed=3)
        net.train_step(x, y, gpubp.SGD(1e-3))
        found.append([layer.dweight.copy() for layer in net.layers])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("of_b", [False, True])
@pytest.mark.parametrize("shape", [(5, 3, 7), (130, 70, 1030), (33, 65, 32)])
def test_every_bit_of_the_processors_product_is_the_references(shape, of_b):
    if module() != "amx":
        pytest.skip("the processor has no instructions for amx")
    loaded = pytest.importorskip("gpubp.backends.cpu._host_amx")
    packed = Packed.from_address(loaded.packed_product())
    (m, n, k), columns = shape, shape[1] + 3
    a, b = numbers(1, m, k), numbers(2, k, n)
    right = np.ascontiguousarray(b.T) if of_b else b
    room = np.full(packed.size(n, k), np.nan, np.float32)
    packed.pack(of_b, n, k, right.ctypes.data, right.shape[1], room.ctypes.data)
    out = np.full((m, columns), np.nan, np.float32)
    packed.multiply(m, n, k, 0.3, a.ctypes.data, k, room.ctypes.data, out.ctypes.data, columns)
    np.testing.assert_array_equal(out[:, :n], square_sums(a, b, 0.3))
    assert np.isnan(out[:, n:]).all(), "written beyond the last column"


def test_large_steps_in_bfloat16_are_done_in_one_call(prepared):
    backend = compiled().for_precision(PRECISIONS["bfloat16"])
    if not backend.products.packed:
        pytest.skip("the processor has no AMX")
    net = gpubp.Network([784, 512, 10], backend=backend, dtype="float32", precision="bfloat16")
    net.fit(numbers(1, 512, 784), numbers(2, 512, 10), batch_size=512, epochs=1)
    assert isinstance(prepared()[0], PlannedSteps)
