"""Layer and batch normalisation: against formulas in float64, finite differences, every backend."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
import simulated.cupy
from gpubp import errors
from gpubp.backends.gpu import recording as _recorder
from gpubp.backends.layer_protocol import NORM_EPSILON
from kernel_compilation import host_compiler
from tolerances import RELATIVE

needs_compiler = pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)
kinds = pytest.mark.parametrize("kind", ["layer", "batch"])
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((60, 5))
Y = RANDOM.integers(0, 3, 60)


def network(backend="cpu", kind="batch", **settings):
    settings = {"dtype": "float64", "normalization": kind} | settings
    return gpubp.Network([5, 8, 7, 3], "tanh", "softmax", backend, **settings)


def host(net, array):
    return net.backend.to_numpy(array)


def standardized(x, axis):
    mean, variance = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    return (x - mean) / np.sqrt(variance + NORM_EPSILON)


@kinds
@pytest.mark.parametrize("shape", [(1, 4), (7, 1), (65, 33), (300, 5)])
def test_values_are_standardized(backend, scratch, dtype, kind, shape):
    x = (3 + 2 * RANDOM.standard_normal(shape)).astype(dtype)
    there = backend.asarray(x.copy())
    if kind == "layer":
        backend.normalize_rows(there, backend.xp.empty(shape[0], dtype), scratch)
    else:
        moments = backend.xp.empty((2, shape[1]), dtype)
        backend.normalize_columns(there, backend.xp.empty(shape[1], dtype), moments, scratch)
        mean, variance = backend.to_numpy(moments)
        wide = x.astype(np.float64)
        np.testing.assert_allclose(mean, wide.mean(0), rtol=10 * RELATIVE[np.dtype(dtype)])
        unbiased = wide.var(0) * shape[0] / max(shape[0] - 1, 1)
        np.testing.assert_allclose(variance, unbiased, rtol=1e-4 if dtype == "float32" else 1e-12)
    exact = standardized(x.astype(np.float64), 1 if kind == "layer" else 0)
    allowed = 40 * RELATIVE[np.dtype(dtype)]
    np.testing.assert_allclose(backend.to_numpy(there), exact, rtol=allowed, atol=allowed)


@kinds
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_gradients_are_those_of_finite_differences(backend, kind, activation):
    net = gpubp.Network([5, 8, 7, 3], activation, "softmax", backend, normalization=["layer", kind])
    net.fit(X, Y, epochs=2, batch_size=20)  # so that gamma is not 1 and the bias not 0
    result = gpubp.gradient_check(net, X, Y)
    assert result.passed, str(result)


def test_a_wrong_derivative_is_found(monkeypatch):
    from gpubp.backends.formulas.normalization import ArrayNormalization

    def scale_alone(self, n, inverse, gamma, delta, dbias, dgamma, fixed, scratch):
        np.sum(delta * n, axis=0, out=dgamma)
        delta *= gamma * inverse

    monkeypatch.setattr(ArrayNormalization, "normalize_columns_backward", scale_alone)
    assert not gpubp.gradient_check(network(), X, Y)


@kinds
def test_a_step_is_that_of_numpy(backend, kind):
    """Forward, backward, update and running moments of one hidden layer, written out."""
    net = gpubp.Network([5, 6, 2], "identity", backend=backend, dtype="float64", normalization=kind)
    first, last = net.layers
    w1, w2, b2 = (host(net, a).copy() for a in (first.weight, last.weight, last.bias))
    y = X[:, :2] ** 2
    sums = X @ w1
    n = standardized(sums, 1 if kind == "layer" else 0)
    out = n @ w2 + b2
    delta = (out - y) / len(X)
    loss = ((out - y) ** 2).sum() / 2 / len(X)
    dz = delta @ w2.T
    assert net.train_step(X, y, gpubp.SGD(0.1)) == pytest.approx(loss, rel=1e-12)
    found = [host(net, a) for a in (first.gamma, first.bias, last.weight)]
    exact = 1 - 0.1 * (dz * n).sum(0), -0.1 * dz.sum(0), w2 - 0.1 * n.T @ delta
    for one, other in zip(found, exact, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11)
    if kind == "batch":
        mean, variance = host(net, first.running)
        np.testing.assert_allclose(mean, 0.1 * sums.mean(0), rtol=1e-11)
        np.testing.assert_allclose(variance, 0.9 + 0.1 * sums.var(0, ddof=1), rtol=1e-11)
        exact = (X @ host(net, first.weight) - mean) / np.sqrt(variance + NORM_EPSILON)
        exact = exact * host(net, first.gamma) + host(net, first.bias)
        exact = exact @ host(net, last.weight) + host(net, last.bias)
        np.testing.assert_allclose(net.predict(X), exact, rtol=1e-10)


@kinds
def test_every_backend_trains_alike(backend, kind):
    nets = [network(each, kind, dropout=0.1) for each in (backend, "cpu")]
    for net in nets:
        net.fit(X, Y, epochs=5, batch_size=16)
    found, exact = (host(net, net.parameters) for net in nets)
    np.testing.assert_allclose(found, exact, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(nets[0].predict(X), nets[1].predict(X), rtol=1e-7)


@kinds
def test_derivatives_by_the_inputs_are_those_of_what_is_predicted(backend, kind):
    net = network(backend, kind)
    net.fit(X, Y, epochs=3, batch_size=20)
    found = net.input_gradient(X[:3])
    for column in range(5):
        step = np.zeros(5)
        step[column] = 1e-6
        exact = (net.predict(X[:3] + step) - net.predict(X[:3] - step)) / 2e-6
        np.testing.assert_allclose(found[:, :, column], exact, atol=1e-8)


@needs_compiler
@kinds
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_recorded_steps_do_it_too(monkeypatch, precision, kind):
    found = []
    for warm_ups in (2, 10**9):
        simulated.cupy.install(monkeypatch)
        monkeypatch.setattr(_recorder, "WARM_UPS", warm_ups)
        net = network("gpu", kind, dtype="float32", precision=precision)
        net.fit(X, Y, epochs=5, batch_size=16)
        found.append(host(net, net.parameters))
    np.testing.assert_array_equal(*found)
    exact = network("cpu", kind)
    exact.fit(X, Y, epochs=5, batch_size=16)
    np.testing.assert_allclose(found[0], exact.parameters, rtol=0.1, atol=0.02)


def test_running_moments_are_kept_with_the_network(tmp_path):
    pytest.importorskip("safetensors")
    net = network()
    net.fit(X, Y, epochs=3, batch_size=20)
    assert net.parameters.size == net.gradients.size + 2 * (8 + 7)
    expected = net.predict(X)
    net.save(tmp_path / "net.safetensors")
    again = gpubp.Network.load(tmp_path / "net.safetensors", "cpu")
    np.testing.assert_array_equal(again.predict(X), expected)
    np.testing.assert_array_equal(net.copy().predict(X), expected)
    for each in (net, again):
        each.reset_optimizer()
        each._state = type(net._state)()
        each.fit(X, Y, epochs=1, batch_size=20)
    np.testing.assert_array_equal(again.parameters, net.parameters)


def test_a_step_that_diverged_leaves_the_running_moments(backend):
    net = gpubp.Network([5, 4, 1], "identity", backend=backend, normalization="batch")
    before = host(net, net.parameters).copy()
    with pytest.raises(errors.DivergenceError):
        net.train_step(np.full((4, 5), 1e30), np.full((4, 1), 1e30))
    np.testing.assert_array_equal(host(net, net.parameters), before)


def test_decay_leaves_the_running_moments_alone():
    net = gpubp.Network([5, 4, 3], "relu", "softmax", "cpu", normalization="batch")
    running = net.layers[0].running.copy()
    net.backend.update_now(
        "adam",
        net.gradients,
        net.stack.trained,
        tuple(np.zeros((2, net.gradients.size), np.float32)),
        gpubp.AdamW(0.1, weight_decay=0.5).scalars(1),
        net.stack.scratch,
    )
    np.testing.assert_array_equal(net.layers[0].running, running)


def test_what_cannot_be_is_refused():
    with pytest.raises(errors.ConfigurationError, match="normalization is 'group'; 'layer'"):
        network(kind="group")
    with pytest.raises(errors.ShapeError, match="normalization has 1 entries"):
        network(kind=["layer"])
    with pytest.raises(errors.ConfigurationError, match="trace of a network with normalization"):
        network().trace(X[:1], Y[:1])


def test_a_batch_of_one_row_is_refused(backend):
    """Its normalised sums are all 0, whatever the row holds."""
    x, y = np.arange(18.0).reshape(9, 2), np.arange(9) % 2
    net = gpubp.Network([2, 4, 2], output="softmax", backend=backend, normalization="batch")
    before = np.array(net.backend.to_numpy(net.parameters))
    for train in (
        lambda: net.fit(x, y, batch_size=4),
        lambda: net.fit(x, y, batch_size=1),
        lambda: net.train_step(x[:1], y[:1]),
    ):
        with pytest.raises(errors.ConfigurationError, match=r"a batch has 1 row .* batch_size"):
            train()
    np.testing.assert_array_equal(net.backend.to_numpy(net.parameters), before)
    net.fit(x, y, batch_size=3, epochs=1)
    assert net.predict(x[:1]).shape == (1, 2)
