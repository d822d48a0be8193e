"""Trained factors of the inputs, against the network whose first weights have them inside."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import gpubp
import simulated.cupy
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from kernel_compilation import host_compiler
from tolerances import RELATIVE

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((60, 4))
X[:, 3] = RANDOM.integers(0, 3, 60)
Y = np.stack([np.sin(3 * X[:, 0]), X[:, 1] * X[:, 2]], axis=1)
# what may stand before it
BEFORE = {
    "inputs": {},
    "categories": {"categories": [0, 0, 0, 3], "category_width": 2},
    "bins": {"bins": [[-1.0, 0.0, 1.0], [], [], []], "embedding": 3},
    "both": {
        "categories": [0, 0, 0, 3],
        "bins": [[-1.0, 0.0, 1.0], [], [], []],
        "embedding": 3,
    },
}


def network(backend="cpu", before="inputs", **settings):
    given = {"dtype": "float64", "input_factors": True} | BEFORE[before] | settings
    return gpubp.Network([4, 8, 2], "tanh", backend=backend, **given)


def scaled(net, seed=0):
    """Give the factors, which begin at 1, other numbers; return their layer and them."""
    layer = net.layers[-3]
    factors = np.random.default_rng(seed).uniform(-2, 2, layer.weight.shape)
    layer.weight[...] = net.backend.asarray(factors, net.dtype)
    return layer, factors


def test_it_is_part_of_the_weights_behind_it(backend):
    net = network(backend)
    plain = network(NumpyBackend(), input_factors=False)
    np.testing.assert_array_equal(net.backend.to_numpy(net.layers[0].weight), np.ones(4))
    layer, factors = scaled(net)
    plain.parameters[...] = net.backend.to_numpy(net.parameters)[4:]
    plain.layers[0].weight[...] *= factors[:, None]
    np.testing.assert_allclose(net.predict(X), plain.predict(X), rtol=1e-12)
    # ds = sum over the rows of x dy, where dy is by the product
    net.forward(X)
    dx = net.backend.to_numpy(net.backward(np.ones((60, 2))))
    exact = (X * dx / factors).sum(axis=0)
    np.testing.assert_allclose(net.backend.to_numpy(layer.dweight), exact, rtol=1e-10)


@pytest.mark.parametrize("before", BEFORE)
def test_gradients_are_those_of_finite_differences(backend, before):
    net = network(backend, before)
    scaled(net)
    result = gpubp.gradient_check(net, X, Y)
    assert result.passed, str(result)


def test_derivatives_by_the_inputs(backend):
    net, step = network(backend), 1e-6
    scaled(net)
    found = np.asarray(net.input_gradient(X[:10]))
    for column in range(4):
        moved = np.zeros(4)
        moved[column] = step
        numeric = (net.predict(X[:10] + moved) - net.predict(X[:10] - moved)) / (2 * step)
        np.testing.assert_allclose(found[:, :, column], numeric, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("before", BEFORE)
def test_every_backend_trains_to_the_same_numbers(backend, before):
    nets = [network(each, before) for each in (backend, NumpyBackend())]
    losses = [
        net.fit(X, Y, optimizer=gpubp.Adam(0.01), epochs=6, batch_size=16).loss for net in nets
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    assert losses[0][-1] < losses[0][0]
    assert abs(nets[1].layers[-3].weight - 1).min() > 1e-4


@pytest.mark.skipif(host_compiler() is None, reason="the simulated GPU needs a C++ compiler")
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision(monkeypatch, precision, before):
    simulated.cupy.install(monkeypatch)
    nets = [network("gpu", before, precision=each, dtype="float32") for each in (precision, None)]
    for net in nets:
        net.fit(X, Y, epochs=2, batch_size=16)
    halves, whole = (np.asarray(net.history.loss) for net in nets)
    np.testing.assert_allclose(halves, whole, rtol=0.02)
    slopes = [np.asarray(net.input_gradient(X.astype("float32"))) for net in nets]
    np.testing.assert_allclose(*slopes, atol=0.1)


def test_it_is_saved_loaded_copied_and_pickled(tmp_path):
    net = network(before="both")
    net.fit(X, Y, epochs=2, batch_size=16)
    net.save(tmp_path / "net.safetensors")
    others = [gpubp.Network.load(tmp_path / "net.safetensors", "cpu"), net.copy()]
    others.append(pickle.loads(pickle.dumps(net)))
    for other in others:
        assert other.spec == net.spec
        np.testing.assert_array_equal(other.predict(X), net.predict(X))
    assert "input_factors" not in network(input_factors=False).spec.to_dict()


def test_a_checkpoint_goes_on_to_the_same_bits(tmp_path):
    whole, cut = network(), network()
    whole.fit(X, Y, epochs=4, batch_size=16)
    cut.fit(X, Y, epochs=2, batch_size=16, checkpoint=tmp_path)
    again = network()
    again.fit(X, Y, epochs=4, batch_size=16, checkpoint=tmp_path, resume=True)
    np.testing.assert_array_equal(again.parameters, whole.parameters)


def test_a_trace_shows_the_factors_and_the_reports_know_them():
    net = network()
    trace = net.trace(X[:20], Y[:20], learning_rate=0.1)
    first = trace.layers[0]
    step = first.weight_before - 0.1 * first.weight_gradient
    np.testing.assert_allclose(first.weight_after, step, rtol=1e-12)
    assert "factors of inputs: 4 inputs, 4 neurons" in str(trace)
    assert "weight 0 -> 3" in str(trace)
    assert len(net.health(X, Y).layers) == 3
    assert net.memory_plan(10).weights == net.parameters.nbytes


def test_penalties_leave_the_factors_alone():
    net = network()
    held = gpubp.Regularization(l2=1.0)
    net.fit(X, 0 * Y, optimizer=gpubp.SGD(0.1), epochs=30, regularization=held)
    assert abs(net.layers[1].weight).max() < 0.05
    assert net.layers[0].weight.min() > 0.5


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("normalization", [None, "layer", "batch"])
def test_it_is_exported(tmp_path, before, normalization):
    onnxruntime = pytest.importorskip("onnxruntime")
    net = network(before=before, dtype="float32", normalization=normalization)
    scaled(net)
    x = X.astype(np.float32)
    gpubp.exchange.write_onnx(net, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (found,) = session.run(None, {"X": x})
    allowed = 300 * RELATIVE[np.dtype("float32")]
    np.testing.assert_allclose(found, net.predict(x), rtol=allowed, atol=allowed)
    gpubp.exchange.write_numpy_predictor(net, tmp_path / "net.py")
    space: dict = {"__name__": "predictor"}
    exec((tmp_path / "net.py").read_text(), space)
    np.testing.assert_allclose(space["predict"](x), net.predict(x), rtol=allowed, atol=allowed)
