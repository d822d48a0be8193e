"""Recording and replaying, on the simulated GPU, and on a real one where there is one."""

from __future__ import annotations

import numpy as np
import pytest

import simulated.cupy
import simulated.streams
from conftest import params, real_gpu
from gpubp.backends.gpu.recording import Recording
from kernel_compilation import host_compiler


@pytest.fixture(params=params("simulated-gpu", "gpu"))
def cupy(request, monkeypatch):
    if request.param == "gpu":
        return real_gpu().xp
    if host_compiler() is None:
        pytest.skip("the simulated GPU needs a C++ compiler: g++ or clang++")
    return simulated.cupy.install(monkeypatch)


@pytest.fixture
def count(cupy):
    """A kernel that adds one to what is there."""
    return cupy.ElementwiseKernel("", "T x", "x += 1", "gpubp_test_count")


def test_work_is_done_twice_recorded_and_replayed(cupy, count):
    x, calls = cupy.zeros(3, np.float32), []
    recording = Recording(cupy, lambda: (calls.append(1), count(x))[1])
    for done in range(1, 6):
        recording()
        assert cupy.asnumpy(x).tolist() == [done] * 3
        assert recording.recorded == (done >= 3)
    assert len(calls) == 3, "two warm-ups and the recording"
    assert recording.reason == ""


def test_a_replay_reads_what_is_in_memory_then(cupy):
    source, target = cupy.zeros(2, np.float32), cupy.zeros(2, np.float32)
    copy = cupy.ElementwiseKernel("T x", "T y", "y = x", "gpubp_test_copy")
    recording = Recording(cupy, lambda: copy(source, target))
    for number in range(5):
        source[...] = number
        recording()
        assert cupy.asnumpy(target).tolist() == [number] * 2


def test_what_cannot_be_recorded_is_done_as_it_stands(cupy, count):
    x, told = cupy.zeros(1, np.float32), []
    recording = Recording(cupy, lambda: (count(x), cupy.asnumpy(x))[0], tell=told.append)
    for done in range(1, 6):
        recording()
        assert cupy.asnumpy(x).tolist() == [done], "not once too often, not once too few"
    assert not recording.recorded
    assert recording.reason
    (message,) = told
    assert message == f"a step could not be recorded and is done as it stands: {recording.reason}"


def test_a_reason_given_beforehand_keeps_it_from_recording(cupy, count):
    x = cupy.zeros(1, np.float32)
    recording = Recording(cupy, lambda: count(x), "no cuBLASLt")
    for _ in range(5):
        recording()
    assert not recording.recorded
    assert cupy.asnumpy(x).tolist() == [5]


def test_the_simulation_refuses_what_would_not_be_replayed(monkeypatch):
    cupy = simulated.cupy.install(monkeypatch)
    x = cupy.zeros((2, 2))
    forbidden = {
        "cupy.empty": lambda: cupy.empty(3),
        "cuBLAS": lambda: cupy.dot(x, x, out=x),
        "a copy to the host": lambda: x.get(),
        "a copy from the host": lambda: x.set(np.ones((2, 2))),
        "an assignment": lambda: x.__setitem__(0, 1),
        "an operator": lambda: x + x,
        "fill": lambda: x.fill(1),
    }
    with cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        for what, work in forbidden.items():
            with pytest.raises(RuntimeError, match=f"StreamCaptureUnsupported: {what}"):
                work()
        assert x.T[:1].reshape(-1).shape == (2,), "a view launches nothing"
        assert stream.end_capture().launches == []
    assert simulated.streams.Stream.stack == [simulated.streams.Stream.null]
