"""The simulated GPU finds what would go wrong, now and then, on a real one."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

import simulated.cublaslt
import simulated.cupy
from conftest import simulated_gpu
from gpubp.backends import Scratch, get_backend
from gpubp.backends.gpu import cupy_backend, products
from gpubp.backends.gpu.recording import Recording
from gpubp.backends.gpu.transfers import DeviceSlots
from kernel_compilation import host_compiler
from simulated.memory import POOL, IllegalAddressError, OrderError

pytestmark = [
    pytest.mark.simulated_gpu,
    pytest.mark.skipif(
        host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
    ),
]


@pytest.fixture
def cupy(monkeypatch):
    return simulated.cupy.install(monkeypatch)


@pytest.fixture
def copy(cupy):
    return cupy.ElementwiseKernel("T x", "T y", "y = x", "gpubp_test_copy")


def test_an_array_is_found_while_another_thread_gives_others_back():
    """As garbage is collected in any thread, in the middle of whatever another one does."""
    arrays = [POOL.empty((16,), np.dtype(np.float32), 0) for _ in range(300)]
    *lower, kept = sorted(arrays, key=lambda each: each.ctypes.data)
    address, found, over = kept.ctypes.data, set(), threading.Event()
    del arrays

    def give_back() -> None:
        for _ in range(40):
            count = len(lower)
            lower.clear()
            lower.extend(POOL.empty((16,), np.dtype(np.float32), 0) for _ in range(count))
        over.set()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        other = threading.Thread(target=give_back)
        other.start()
        while not over.is_set():
            place = POOL.place(address, 64)
            found.add(place._chunk.address <= address < place._chunk.address + place._chunk.size)
        other.join()
    finally:
        sys.setswitchinterval(before)
    assert found == {True}


def test_memory_is_used_again_and_holds_no_numbers(cupy):
    first = cupy.ones(300, np.float32)
    place = first.data.ptr
    del first
    again = cupy.empty(290, np.float32)
    assert again.data.ptr == place
    assert np.isnan(again.get()).all()


def test_no_number_of_32_bits_is_an_address(cupy):
    """5e-5 in float32, 0x3851b717, stood in a table of addresses, and an array lay there."""
    arrays = [cupy.empty(size) for size in (1, 100, 10**6)]
    assert all(array.data.ptr >= 1 << 32 for array in arrays)


def test_an_array_of_no_elements_lies_nowhere(cupy):
    assert cupy.empty((0, 3), np.float32).data.ptr == 0
    assert cupy.ones(5)[2:2].data.ptr == 0


def test_a_recording_that_uses_memory_given_back_is_stopped(cupy, copy):
    target = cupy.zeros(3, np.float32)
    kept = [cupy.ones(3, np.float32)]
    recording = Recording(cupy, lambda: copy(kept[0], target))
    for _ in range(3):
        recording()
    kept.clear()
    with pytest.raises(IllegalAddressError, match="given back to the pool"):
        recording()
    recycled = cupy.ones(3, np.float32)
    with pytest.raises(IllegalAddressError, match="given back to the pool"):
        recording()
    assert recycled.get().tolist() == [1, 1, 1]


@pytest.mark.parametrize("place", [-1, 4], ids=["before", "behind"])
def test_a_write_beside_an_array_is_stopped(cupy, place):
    write = cupy.ElementwiseKernel("int64 place", "raw float32 x", "x[place] = 1", "gpubp_test_wr")
    x = cupy.zeros(12, np.float32)[4:8]
    write(3, x, size=1)
    with pytest.raises(IllegalAddressError, match="gpubp_test_wr wrote outside its arrays"):
        write(place, x, size=1)
    with pytest.raises(IllegalAddressError, match="an array of no elements, address 0"):
        write(0, cupy.empty(0, np.float32), size=1)


def order_by(cupy, how, first, second):
    """Put what follows on the second stream after what was done on the first, or not."""
    if how == "event":
        event = cupy.cuda.Event()
        event.record(first)
        second.wait_event(event)
    elif how == "host":
        first.synchronize()
    elif how == "copy to the host":
        with first:
            cupy.zeros(1).get()


@pytest.mark.parametrize("how", ["event", "host", "copy to the host", "nothing"])
@pytest.mark.parametrize("first", ["read", "write"])
def test_two_streams_need_an_order(cupy, copy, how, first):
    x, a, b = (cupy.ones(4, np.float32) for _ in range(3))
    cupy.cuda.get_current_stream().synchronize()
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
    with streams[0]:
        copy(x, a) if first == "read" else copy(a, x)
    order_by(cupy, how, *streams)
    with streams[1]:
        if how == "nothing":
            with pytest.raises(OrderError, match="does not wait for another stream's"):
                copy(b, x) if first == "read" else copy(x, b)
        else:
            copy(b, x) if first == "read" else copy(x, b)


def test_a_branch_of_a_recording_needs_an_order_too(cupy, copy):
    x, y, z = (cupy.ones(4, np.float32) for _ in range(3))
    backend = get_backend("gpu")
    found = []
    for waits in (True, False):
        branch = backend.branch()

        def work(waits=waits, branch=branch):
            with branch.after_what_was_begun():
                copy(x, y)
            if waits:
                branch.join()
                copy(y, z)
            else:
                copy(y, z)
                branch.join()

        recording = Recording(cupy, work)
        recording._calls = 2
        try:
            recording()
            found.append("in order")
        except OrderError as error:
            found.append(str(error)[:24])
    assert found[0] == "in order"
    assert found[1].startswith(("a read of bytes 0 to 16", "a write of bytes 0 to 16"))


def test_the_first_stream_may_have_left_memory_in_use(cupy, copy):
    """What one stream has left, no other gets without waiting."""
    with cupy.cuda.Stream(non_blocking=True):
        place = cupy.ones(4, np.float32).data.ptr
    assert cupy.ones(4, np.float32).data.ptr != place


def test_slots_wait_for_whoever_had_their_memory(cupy, copy):
    """A batch is brought by a stream of its own, to memory that the current one may still use."""
    old = cupy.ones((4, 8), np.float32)
    place, target = old.data.ptr, cupy.empty((4, 8), np.float32)
    copy(old, target)
    del old
    slots = DeviceSlots(cupy, [((4, 8), np.dtype(np.float32))])
    assert place in [arrays[0].data.ptr for arrays in slots.arrays]
    for slot in range(slots.count):
        slots.to_fill(slot)[0][...] = slot
        slots.send(slot, 4)
        slots.wait(slot)
        copy(slots.arrays[slot][0], target)
        assert target.get().tolist() == [[slot] * 8] * 4


def test_no_rows_are_multiplied(cupy):
    backend = get_backend("gpu")
    scratch, nothing = Scratch(cupy), cupy.empty((0, 5), np.float32)
    weight, dweight = cupy.ones((5, 4), np.float32), cupy.ones((5, 4), np.float32)
    y, dbias = cupy.empty((0, 4), np.float32), cupy.ones(4, np.float32)
    backend.multiply(nothing, weight, y)
    backend.dense_forward(nothing, weight, (dbias, dbias), "relu", y, y, scratch)
    backend.dense_backward("relu", y, y, nothing, dweight, dbias, scratch)
    assert not dweight.get().any()
    assert not dbias.get().any()
    backend.multiply(nothing.T, y, weight)
    assert not weight.get().any()


def products_on_two_streams(backend):
    """Multiply on streams that do not wait for each other."""
    xp = backend.xp
    a, results = xp.ones((4, 4), np.float32), [xp.empty((4, 4), np.float32) for _ in range(3)]
    backend.multiply(a, a, results[2])  # finds the fastest way, which waits
    backend.synchronize()
    for result in results[:2]:
        with xp.cuda.Stream(non_blocking=True):
            backend.multiply(a, a, result)
    xp.cuda.Device().synchronize()
    return [result.get().tolist() for result in results]


def test_products_on_two_streams_share_no_workspace(monkeypatch):
    assert products_on_two_streams(simulated_gpu(monkeypatch)) == [[[4] * 4] * 4] * 3


def test_a_workspace_for_all_streams_would_be_found(monkeypatch):
    backend = simulated_gpu(monkeypatch)
    own = products.Products._workspace
    monkeypatch.setattr(products.Products, "_workspace", lambda self, stream: own(self, 0))
    with pytest.raises(OrderError):
        products_on_two_streams(backend)


def test_a_recording_is_made_for_each_stream(monkeypatch):
    backend = simulated_gpu(monkeypatch)
    cupy, lent = backend.xp, backend._products
    x, y = cupy.ones((4, 4), np.float32), cupy.empty((4, 4), np.float32)
    steps = backend.record(lambda ops: ops.multiply(x, x, y))
    steps(30)
    backend.synchronize()
    with cupy.cuda.Stream(non_blocking=True):
        steps(3)
        assert y.get().tolist() == [[4] * 4] * 4
    assert len(steps.one._graphs) == 2
    assert len(lent._workspaces) == 2, "none is kept for the streams that recorded"


def forward(backend, offset=0):
    """Do a layer with a bias at this place of a buffer; return the result and the exact one."""
    xp = backend.xp
    x, weight = xp.ones((6, 5), np.float32), xp.ones((5, 4), np.float32)
    bias = xp.arange(64, dtype=np.float32)[offset : offset + 4]
    y = xp.empty((6, 4), np.float32)
    backend.dense_forward(x, weight, (bias, bias), "relu", y, y, Scratch(xp))
    return y.get(), np.tile(5 + np.arange(offset, offset + 4), (6, 1))


def use_last_way(monkeypatch, backend):
    """Take the library's own epilogue wherever it is offered."""
    backend.has_matrix_units = False  # or else tiles would be offered too
    monkeypatch.setattr(backend._tuner, "choose", lambda key, ways: list(ways)[-1])


@pytest.mark.parametrize("offsets", [(0, 4), (4, 0)])
def test_an_algorithm_is_chosen_for_where_the_bias_lies(cupy, monkeypatch, offsets):
    """One that was found for a bias at a multiple of 256 bytes is not used for another."""
    backend = get_backend("gpu")
    use_last_way(monkeypatch, backend)
    for offset in offsets:
        found, expected = forward(backend, offset)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("status", simulated.cublaslt.REFUSALS)
def test_an_epilogue_that_is_refused_is_left_to_the_kernels(cupy, monkeypatch, status):
    library = simulated.cublaslt.install(monkeypatch, refused=8)
    monkeypatch.setattr(simulated.cublaslt, "REFUSALS", (status,))
    backend = get_backend("gpu")
    use_last_way(monkeypatch, backend)
    found, expected = forward(backend)
    np.testing.assert_array_equal(found, expected)
    assert set(library.calls) == {"DEFAULT"}


def test_which_epilogues_are_offered_depends_on_the_seed(cupy, monkeypatch):
    offered = []
    for seed in range(8):
        library = simulated.cublaslt.install(monkeypatch, refused=4, seed=seed)
        backend = get_backend("gpu")
        use_last_way(monkeypatch, backend)
        forward(backend)
        offered.append(library.calls[-1])
    assert set(offered) == {"DEFAULT", "RELU_BIAS"}


def test_the_simulated_library_does_not_stay():
    with pytest.MonkeyPatch.context() as monkeypatch:
        simulated.cupy.install(monkeypatch)
        get_backend("gpu")
        assert cupy_backend.cublaslt.cache_info().currsize == 1
    assert cupy_backend.cublaslt.cache_info().currsize == 0


def test_ways_take_different_times_and_the_same_each_time(cupy):
    """So that the tuner chooses, and chooses the same for two networks."""
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    found = []
    for name in ("gpubp_test_one", "gpubp_test_other", "gpubp_test_one"):
        kernel = cupy.ElementwiseKernel("", "T x", "x += 1", name)
        start.record()
        kernel(cupy.zeros(3))
        end.record()
        found.append(round(cupy.cuda.get_elapsed_time(start, end), 9))
    assert found[0] == found[2] != found[1]
