"""Ranks with a GPU each, simulated: gradients go through NCCL, here of MPI's sums."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import gpubp
import simulated.nccl
from gpubp import errors
from gpubp.backends.gpu import tiled_steps
from gpubp.distributed import device_sum as nccl
from gpubp.distributed import host_sums as reduction
from thread_ranks import run_ranks

SIZES = [6, 12, 3]
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.standard_normal((205, 6)).astype(np.float32), RANDOM.integers(0, 3, 205)


@pytest.fixture
def gpu(monkeypatch):
    import simulated.cupy
    from kernel_compilation import host_compiler

    if host_compiler() is None:
        pytest.skip("the simulated GPU needs a C++ compiler: g++ or clang++")
    return simulated.cupy.install(monkeypatch, count=2)


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_gradients_go_through_nccl_on_a_gpu(monkeypatch, gpu, precision):
    nccl_calls = simulated.nccl.install(monkeypatch, gpu.cuda)
    given = {"dropout": 0.2, "precision": precision} | (
        {"dtype": "float64"} if precision == "float64" else {}
    )
    regularization = gpubp.Regularization(alpha=0.1, clip_norm=1.0)
    fit = {"epochs": 3, "batch_size": 32, "regularization": regularization}

    def work(talk):
        own = gpubp.Network(SIZES, output="softmax", backend="gpu", **given)
        history = own.fit(X, Y, distributed=talk, **fit)
        return own.parameters.get(), history

    found, history = run_ranks(1, work)[0]
    alone = gpubp.Network(SIZES, output="softmax", backend="gpu", **given)
    expected = alone.fit(X, Y, **fit)
    tolerance = 1e-12 if precision == "float64" else 1e-5
    np.testing.assert_allclose(found, alone.parameters.get(), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(history.loss, expected.loss, rtol=1e-5)
    assert nccl_calls.sent == [64 + alone.parameters.size] * 21  # one a step


def test_large_sums_are_begun_during_the_backward_pass(monkeypatch, gpu):
    """On a stream of their own; the last bucket, which holds the loss, when all is written."""
    # where nothing comes in between, gradients of all layers might be computed in another way
    monkeypatch.setattr(tiled_steps, "LARGEST", 0)
    monkeypatch.setattr(reduction, "BUCKET", 200)  # bytes
    nccl_calls = simulated.nccl.install(monkeypatch, gpu.cuda)
    shape = (SIZES[0], 16, 12, 8, SIZES[-1])

    def work(talk):
        own = gpubp.Network(shape, output="softmax", backend="gpu", dropout=0.2)
        history = own.fit(X, Y, distributed=talk, epochs=2, batch_size=32)
        return own.parameters.get(), history

    found, history = run_ranks(1, work)[0]
    alone = gpubp.Network(shape, output="softmax", backend="gpu", dropout=0.2)
    expected = alone.fit(X, Y, epochs=2, batch_size=32)
    np.testing.assert_array_equal(found, alone.parameters.get())
    np.testing.assert_array_equal(history.loss, expected.loss)
    # the last two layers together, then one by one; the first goes with the 64 numbers in front
    first, *others = (shape[i + 1] * (shape[i] + 1) for i in range(4))
    assert nccl_calls.sent == [others[2] + others[1], others[0], 64 + first] * 14


def test_a_gpu_without_nccl_is_told_the_wheel(monkeypatch, gpu):
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", None)

    def work(talk):
        gpubp.Network(SIZES, output="softmax", backend="gpu").fit(X, Y, distributed=talk)

    with pytest.raises(errors.MissingExtraError, match="pip install nvidia-nccl-cu13"):
        run_ranks(1, work)


def test_two_ranks_on_one_device_are_refused():
    nccl.check_devices(["a, gpu:0", "a, gpu:1", "b, gpu:0"])
    with pytest.raises(errors.DistributedError, match=r"ranks \[0, 2\] are all on a, gpu:0"):
        nccl.check_devices(["a, gpu:0", "a, gpu:1", "a, gpu:0"])


@pytest.mark.parametrize("fit", [{"deterministic": True}, {"accumulate": 2},
                                 {"sample_weight": np.ones(205)}])  # fmt: skip
def test_what_gpus_cannot_do_together_is_refused(monkeypatch, gpu, fit):
    simulated.nccl.install(monkeypatch, gpu.cuda)

    def work(talk):
        net = gpubp.Network(SIZES, output="softmax", backend="gpu")
        net.fit(X, Y, distributed=talk, **fit)

    with pytest.raises(errors.ConfigurationError, match="on GPUs, which is not there yet"):
        run_ranks(1, work)


def test_each_process_of_a_launcher_takes_a_device_of_its_own(monkeypatch, gpu):
    for rank, index in ((0, 0), (1, 1), (3, 1)):
        monkeypatch.setenv("MPI_LOCALRANKID", str(rank))
        assert gpubp.get_backend("gpu").index == index
        assert gpubp.get_backend("gpu:0").index == 0
