"""The memory plan: counted by hand, by what is really allocated, and said when memory runs out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import gpubp
import simulated.cupy
from gpubp import errors
from kernel_compilation import host_compiler

needs_compiler = pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)


def test_the_plan_of_a_small_network_counted_by_hand():
    net = gpubp.Network([3, 4, 2], "gelu", "softmax", backend="cpu", dropout=0.5)
    plan = net.memory_plan(10, "adam")
    parameters = 3 * 4 + 4 + 4 * 2 + 2
    assert plan.weights == plan.gradients == 4 * parameters
    assert plan.moments == 2 * 4 * parameters
    # x 3; hidden layer of 4: z, y, dropped, delta; last of 2: z, y, delta
    assert plan.activations == 10 * 4 * (3 + 4 * 4 + 3 * 2)
    assert (plan.half_weights, plan.workspace) == (0, 0)
    assert plan.total == 16 * parameters + plan.activations
    assert plan.largest_batch(plan.total) == 10
    assert plan.largest_batch(plan.total - 1) == 9
    assert plan.largest_batch(0) == 0
    assert net.memory_plan(10, "sgd").moments == 0


def test_the_plan_prints_as_a_table():
    text = str(gpubp.Network([784, 512, 10], backend="cpu").memory_plan(128))
    assert text.splitlines()[0].split() == ["weights", "1.6", "MiB"]
    assert text.splitlines()[-1].startswith("total ")
    assert "half" not in text
    small = str(gpubp.Network([2, 3, 1], backend="cpu").memory_plan(32))
    assert small.splitlines()[0].split() == ["weights", "52", "bytes"]  # 13 of 4 bytes


@pytest.mark.parametrize("wrong", [0, -1, 1.5, None])
def test_a_batch_size_that_is_none_is_refused(wrong):
    with pytest.raises(errors.ConfigurationError, match="a whole number above 0 is needed"):
        gpubp.Network([3, 2], backend="cpu").memory_plan(wrong)


@needs_compiler
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
def test_buffers_are_as_large_as_planned(monkeypatch, precision):
    simulated.cupy.install(monkeypatch)
    net = gpubp.Network([30, 40, 20], "gelu", "softmax", "gpu", precision=precision, dropout=0.5)
    plan = net.memory_plan(50)
    buffers = net.stack.buffers(50)
    named = [getattr(p, name) for p in buffers.layers for name in ("y", "z", "delta", "passed")]
    arrays = {id(array): array for array in named if array is not None}
    batch = 50 * 30 * net.stack.stored.itemsize
    assert sum(array.nbytes for array in arrays.values()) + batch == plan.activations
    assert plan.half_weights == (net.parameters.size * 2 if precision == "bfloat16" else 0)
    assert plan.workspace == net.backend.workspace > 0
    addresses = sorted((array.data.ptr, array.nbytes) for array in arrays.values())
    for (address, size), (following, _) in pairwise(addresses):
        assert address + size <= following, "they overlap"


def test_on_the_cpu_the_error_is_numpys_own(monkeypatch):
    """How much memory is free is not known there, so no batch is said to fit."""
    net = gpubp.Network([3, 2], output="softmax", backend="cpu")

    def exhausted(shape, dtype):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(net.backend, "empty", exhausted)
    with pytest.raises(MemoryError, match=r"^Unable to allocate 9 TiB$") as caught:
        net.fit(np.ones((4, 3)), np.zeros(4, int))
    assert type(caught.value) is MemoryError


@needs_compiler
def test_running_out_names_the_plan_and_the_batch_that_fits(monkeypatch):
    cupy = simulated.cupy.install(monkeypatch, free=40 << 20)
    net = gpubp.Network([100, 1000, 10], "relu", "softmax", "gpu")

    def exhausted(shape, *rest):
        raise cupy.cuda.memory.OutOfMemoryError("Out of memory allocating 4,000,000,000 bytes")

    monkeypatch.setattr(net.backend, "empty", exhausted)
    x, y = np.ones((2000, 100), np.float32), np.zeros(2000, np.int64)
    with pytest.raises(errors.DeviceMemoryError) as caught:
        net.fit(x, y, batch_size=2000)
    message = str(caught.value)
    assert "allocating 4,000,000,000 bytes" in message
    assert "training on 2000 rows at a time takes" in message
    plan = net.memory_plan(2000)
    fits = plan.largest_batch((40 << 20) + plan.weights + plan.gradients)
    assert message.endswith(f"a batch_size of {fits} at most fits")
    assert isinstance(caught.value, MemoryError)
    assert "\n" not in message
