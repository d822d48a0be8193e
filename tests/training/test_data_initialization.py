"""First weights and biases from the data, against what is asked of them, in float64."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
from conftest import simulated_gpu
from gpubp import errors
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from gpubp.training import data_initialization

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((300, 6)) * [1, 30, 0.01, 1, 5, 1] + [0, 100, 0, 2, 0, 0]
Y = np.stack([np.sin(X[:, 0]), X[:, 5]], axis=1)
FORMS = {
    "standard": {},
    "ntk": {"weights": "ntk"},
    "mixing, residual": {"mixing": True, "residual": True},
    "bins": {"bins": [[-1.0, 0.0, 1.0], *[[]] * 5], "embedding": 4},
}
forms = pytest.mark.parametrize("form", FORMS)


def network(backend="cpu", **settings):
    settings = {"dtype": "float64", "seed": 5} | settings
    return gpubp.Network([6, 12, 12, 2], "tanh", backend=backend, **settings)


def sums(net, x=X):
    """The weighted sums of the dense layers without their biases, (rows, neurons) each, and these.

    From what each layer read, by the formula written out.
    """
    net.forward(x)
    host, found = net.backend.to_numpy, []
    for layer, arrays in zip(net.layers, net._last.layers, strict=True):
        if type(layer).__name__ == "Dense":
            z = host(arrays.x).astype(float) @ host(layer.weight).astype(float)
            z /= np.sqrt(layer.inputs) if net.spec.weights == "ntk" else 1
            found.append((z, host(layer.bias).astype(float)))
    return found


@forms
def test_sums_have_variance_1_and_biases_lie_among_them(backend, form):
    net = network(backend, **FORMS[form])
    net.initialize_from(X)
    for z, bias in sums(net):
        np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-9)
        assert (z.min(axis=0) < -bias).all()
        assert (-bias < z.max(axis=0)).all()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_convex_combination_is_as_likely(count):
    """Shares from the flat Dirichlet distribution: their squares add up to 2 / (count + 1)."""
    net = gpubp.Network([6, 4000], backend="cpu", dtype="float64")
    net.initialize_from(X, biases=count)
    ((z, bias),) = sums(net)
    centred = bias + z.mean(axis=0)
    assert abs(centred.mean()) < 0.1
    np.testing.assert_allclose(centred.var(), 2 / (count + 1), rtol=0.1)


def test_a_bias_of_one_row_is_minus_one_of_its_sums(backend):
    net = network(backend)
    net.initialize_from(X, biases=1)
    for z, bias in sums(net):
        assert (abs(z + bias).min(axis=0) < 1e-9).all()
        assert len({int(row) for row in abs(z + bias).argmin(axis=0)}) > 1


@forms
def test_every_backend_begins_alike(backend, form):
    nets = [network(each, **FORMS[form]) for each in (backend, NumpyBackend())]
    for net in nets:
        net.initialize_from(X)
    found, exact = (net.backend.to_numpy(net.parameters) for net in nets)
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-12)
    assert abs(exact - network(**FORMS[form]).parameters).max() > 0.1


def test_directions_are_those_of_the_first_draw():
    net, drawn = network(), network()
    net.initialize_from(X)
    for layer, first in zip(net.layers, drawn.layers, strict=True):
        ratio = layer.weight / first.weight
        np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape), rtol=1e-12)
        assert (ratio > 0).all()


def test_each_part_is_done_alone():
    scaled, moved, plain = network(), network(), network()
    scaled.initialize_from(X, biases=0)
    moved.initialize_from(X, weights=False)
    for layer, other, first in zip(scaled.layers, moved.layers, plain.layers, strict=True):
        assert not layer.bias.any()
        assert (layer.weight != first.weight).any()
        assert other.bias.all()
        np.testing.assert_array_equal(other.weight, first.weight)


@pytest.mark.parametrize("kind", ["layer", "batch"])
def test_normalised_sums_keep_their_weights(kind):
    net, plain = network(normalization=kind), network(normalization=kind)
    net.initialize_from(X)
    np.testing.assert_array_equal(net.layers[0].weight, plain.layers[0].weight)
    assert abs(net.layers[0].bias).max() < 4
    assert net.layers[0].bias.all()
    if kind == "batch":
        np.testing.assert_array_equal(net.layers[0].running, plain.layers[0].running)


@pytest.mark.parametrize("x", [np.zeros((5, 6)), np.full((300, 6), 1e5), X[:1]])
def test_sums_that_do_not_vary_keep_their_weights(x):
    net, plain = network(dtype="float32"), network(dtype="float32")
    net.initialize_from(x)
    np.testing.assert_array_equal(net.layers[0].weight, plain.layers[0].weight)
    assert np.isfinite(net.parameters).all()


def test_of_many_rows_some_are_drawn(monkeypatch):
    monkeypatch.setattr(data_initialization, "ROWS", 200)
    nets = [network(), network()]
    for net in nets:
        net.initialize_from(X)
    np.testing.assert_array_equal(*(net.parameters for net in nets))
    deviations = sums(nets[0])[0][0].std(axis=0)
    assert 0 < abs(deviations - 1).max() < 0.3


def test_inputs_are_scaled_as_they_are_read_and_may_be_sparse():
    sparse = pytest.importorskip("scipy.sparse")
    x = np.where(np.arange(300)[:, None] % 6 == np.arange(6), X, 0)
    nets = [network(input_scale=0.5) for _ in range(2)]
    nets[0].initialize_from(x)
    nets[1].initialize_from(sparse.csr_matrix(x))
    np.testing.assert_array_equal(*(net.parameters for net in nets))
    np.testing.assert_allclose(sums(nets[0], x)[0][0].std(axis=0), 1, rtol=1e-9)


def test_half_precision_begins_as_full_precision(monkeypatch):
    gpu = simulated_gpu(monkeypatch)
    half = network(gpu, dtype="float32", precision="bfloat16")
    plain = network(dtype="float32")
    for net in (half, plain):
        net.initialize_from(X)
    found = half.backend.to_numpy(half.parameters)
    np.testing.assert_allclose(found, plain.parameters, rtol=1e-4, atol=1e-5)


def test_training_goes_on_from_there():
    net = network()
    net.initialize_from(X)
    history = net.fit(X, Y, epochs=20, optimizer=gpubp.Adam(0.01))
    assert history.loss[-1] < history.loss[0] / 2
    with pytest.raises(errors.ConfigurationError, match="initialize_from after 60 steps of"):
        net.initialize_from(X)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": X, "biases": -1}, "biases is -1; a whole number from 0 to 4096 is needed"),
        ({"x": X, "biases": 2.5}, "biases is 2.5; a whole number"),
        ({"x": X[:0]}, r"x has shape \(0, 6\); one row or more is needed"),
        ({"x": X[:, :3]}, r"x has shape \(300, 3\)"),
    ],
)
def test_what_cannot_be_is_refused(given, message):
    with pytest.raises((errors.ConfigurationError, errors.ShapeError), match=message):
        network().initialize_from(**given)
