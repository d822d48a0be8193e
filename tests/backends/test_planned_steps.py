"""Steps that the compiled kernels do in one call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gpubp
from conftest import compiled
from gpubp.backends import Scratch
from gpubp.backends.cpu import blas
from gpubp.backends.cpu import compiled_backend as _compiled
from gpubp.backends.cpu import threads as _threads
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from gpubp.backends.cpu.planned_steps import PlannedSteps

WHOLE = [
    ([784, 128, 10], 40, "relu", "softmax", "auto"),
    ([40, 300, 200, 7], 130, "gelu", "softmax", "auto"),
    ([3, 20, 20, 20, 1], 17, "tanh", "identity", "huber"),
    ([5, 6], 3, "relu", "sigmoid", "auto"),
    ([5, 33, 6], 64, "mish", "sigmoid", "squared_error"),
    ([900, 500, 900], 200, "silu", "tanh", "absolute_error"),
]


@pytest.mark.parametrize(("sizes", "rows", "activation", "output", "loss"), WHOLE)
@pytest.mark.parametrize("optimizer", [gpubp.SGD(0.1), gpubp.SGD(0.1, 0.9), gpubp.AdamW(1e-2)])
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_a_whole_step_is_the_same_step(
    monkeypatch, sizes, rows, activation, output, loss, optimizer, parts
):
    monkeypatch.setattr(_threads, "thread_count", lambda: parts)
    monkeypatch.setattr(_compiled, "PRODUCT_A_THREAD", 1)
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, sizes[0]))
    y = random.random((rows, sizes[-1]))
    if output == "softmax":
        y = random.integers(0, sizes[-1], rows)
    nets = [
        gpubp.Network(sizes, activation, output, backend, "float64")
        for backend in (compiled(), NumpyBackend())
    ]
    for _ in range(4):
        losses = [net.train_step(x, y, optimizer=optimizer, loss=loss) for net in nets]
        assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    assert planned(nets[0]), "the step was walked"
    # Adam divides small gradients by their size: a last bit of one becomes some of the parameter
    np.testing.assert_allclose(nets[0].gradients, nets[1].gradients, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, rtol=1e-9, atol=1e-9)


def planned(net):
    """Return the network's steps that are done in one call each."""
    prepared = [
        step._run
        for buffers in net.stack._buffers.values()
        for _, step in buffers.prepared.values()
    ]
    return [run for run in prepared if isinstance(run, PlannedSteps)]


def test_plans_follow_the_optimizer_and_the_batch():
    net = gpubp.Network([4, 5, 3], output="softmax", backend=compiled())
    twin = gpubp.Network([4, 5, 3], output="softmax", backend=NumpyBackend())
    random = np.random.default_rng(0)
    for rows in (8, 3, 8):
        for optimizer in ("sgd", "adam", "rmsprop", "adam"):
            x, y = random.standard_normal((rows, 4)), random.integers(0, 3, rows)
            net.train_step(x, y, optimizer=optimizer)
            twin.train_step(x, y, optimizer=optimizer)
    np.testing.assert_allclose(net.parameters, twin.parameters, rtol=1e-4, atol=1e-6)


def test_two_threads_train_to_the_same_bits_as_one(monkeypatch):
    monkeypatch.setattr(_threads, "thread_count", lambda: 3)
    monkeypatch.setattr(_compiled, "PRODUCT_A_THREAD", 1)
    random = np.random.default_rng(0)
    x, y = random.standard_normal((64, 50), dtype=np.float32), random.integers(0, 9, 64)
    backend = compiled()

    def bits(_):
        net = gpubp.Network([50, 100, 9], output="softmax", backend=backend)
        for _ in range(300):
            net.train_step(x, y, optimizer="adam")
        return net.parameters.tobytes()

    alone = bits(0)
    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(bits, range(4))) == {alone}


def test_a_loss_that_is_not_finite_leaves_a_planned_step_undone():
    net = gpubp.Network([2, 3, 1], "relu", backend=compiled())
    x, y = np.full((2, 2), 1e30, np.float32), np.full((2, 1), -1e30, np.float32)
    before = net.parameters.copy()
    with pytest.raises(gpubp.errors.DivergenceError, match="loss is inf"):
        net.train_step(x, y, optimizer="adam")
    assert planned(net)
    np.testing.assert_array_equal(net.parameters, before)
    assert net._state.step == net._state.updates == 0


def test_moments_too_small_to_matter_cost_nothing_and_stay_harmless():
    backend = compiled()
    g, p = np.zeros(100, np.float32), np.ones(100, np.float32)
    m, v = np.full((2, 100), 1e-39, np.float32)
    backend.update_now("adam", g, p, (m, v), gpubp.Adam().scalars(5), Scratch(np))
    assert (m == 0).all()
    assert (v == 0).all()
    assert (p == 1).all()
    assert np.float32(1e-39) * np.float32(0.5) > 0, "subnormal numbers are left off afterwards"


def test_small_steps_use_one_blas_thread_and_put_the_number_back():
    context = blas.threads_for(1000)
    assert blas.threads_for(blas.WORTH_THREADS) is not context
    if not hasattr(context, "_get"):
        pytest.skip("NumPy's BLAS is not OpenBLAS")
    before = context._get()
    context._set(2)
    try:
        with context, context:
            assert context._get() == 1
        assert context._get() == 2
        with pytest.raises(ZeroDivisionError), context:
            1 / 0  # noqa: B018
        assert context._get() == 2
    finally:
        context._set(before)
