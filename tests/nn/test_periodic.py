"""Numbers embedded by waves, against the formulas of their inventors, number by number."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import gpubp
import simulated.cupy
from gpubp import errors
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from kernel_compilation import host_compiler
from tolerances import RELATIVE

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((60, 4))
X[:, 1] = RANDOM.integers(0, 3, 60)
Y = np.stack([np.sin(3 * X[:, 0]), X[:, 1] * X[:, 2]], axis=1)
PBLD = gpubp.Periodic(frequencies=5, sigma=0.7)
PLR = gpubp.Periodic("plr", frequencies=5, width=3, sigma=0.7)
KINDS = pytest.mark.parametrize("periodic", [PBLD, PLR], ids=["pbld", "plr"])
CODED = pytest.mark.parametrize("categories", [None, [0, 3, 0, 0]], ids=["numbers", "coded"])


def network(backend="cpu", periodic=PBLD, **settings):
    given = {"dtype": "float64", "category_width": 2} | settings
    return gpubp.Network([4, 8, 2], "tanh", backend=backend, periodic=periodic, **given)


def embedded(net, x):
    """The layer in float64, one number after the other."""
    layer, host = net.layers[0], net.backend.to_numpy
    plr = layer.settings.kind == "plr"
    frequency, weight, bias = (
        host(each).astype(float) for each in (layer.frequency, layer.weight, layer.bias)
    )
    maps, parts = np.split(weight, len(frequency)), []
    for f, w in enumerate(frequency):
        a = 2 * np.pi * np.outer(x[:, f], w)
        if plr:
            waves = np.concatenate([np.cos(a), np.sin(a)], axis=1)
            parts.append(np.maximum(waves @ maps[f] + bias[f], 0))
        else:
            a += host(layer.phase).astype(float)[f]
            parts += [x[:, f, None], np.cos(a) @ maps[f] + bias[f]]
    return np.concatenate(parts, axis=1)


@KINDS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_the_formula_of_the_papers(backend, periodic, dtype):
    net = network(backend, periodic, dtype=dtype)
    x = X.astype(dtype)
    net.forward(x)
    found = net.backend.to_numpy(net.stack.buffers(60).layers[0].y)
    allowed = 100 * RELATIVE[np.dtype(dtype)]
    np.testing.assert_allclose(found, embedded(net, x.astype(float)), rtol=allowed, atol=allowed)


def test_it_begins_as_the_papers_say():
    net = network(periodic=gpubp.Periodic(frequencies=4000, sigma=0.3))
    layer = net.layers[0]
    np.testing.assert_allclose(layer.frequency.std(), 0.3, rtol=0.05)
    assert abs(layer.frequency.mean()) < 0.02
    np.testing.assert_allclose(layer.phase.std(), 2 * np.pi / 12**0.5, rtol=0.05)
    assert np.abs(layer.phase).max() <= np.pi
    assert np.abs(layer.weight).max() <= 4000**-0.5
    assert (network(periodic=gpubp.Periodic()).layers[0].outputs, PLR.waves) == (16, 10)


@KINDS
@CODED
def test_gradients_are_those_of_finite_differences(backend, periodic, categories):
    net = network(backend, periodic, categories=categories)
    result = gpubp.gradient_check(net, X, Y)
    assert result.passed, str(result)
    assert len(result.layers) == 3 + (categories is not None)


@KINDS
@pytest.mark.parametrize("name", ["frequency", "weight", "bias"])
def test_each_parameter_has_the_gradient_of_finite_differences(backend, periodic, name):
    net, step = network(backend, periodic), 1e-6
    net.forward(X)
    net.backward(np.ones((60, 2)))
    layer = net.layers[0]
    found = net.backend.to_numpy(getattr(layer, f"d{name}")).copy()
    values = getattr(layer, name)
    for place in ((0, 0), (3, 1)):
        sums = []
        for sign in (1, -1):
            values[place] += sign * step
            sums.append(float(np.asarray(net.predict(X)).sum()))
            values[place] -= sign * step
        np.testing.assert_allclose(
            found[place], (sums[0] - sums[1]) / (2 * step), rtol=1e-4, atol=1e-7
        )


@KINDS
@CODED
def test_derivatives_by_the_inputs(backend, periodic, categories):
    net, step = network(backend, periodic, categories=categories), 1e-6
    found = np.asarray(net.input_gradient(X[:10]))
    for column in (0, 2, 3):
        moved = np.zeros(4)
        moved[column] = step
        numeric = (net.predict(X[:10] + moved) - net.predict(X[:10] - moved)) / (2 * step)
        np.testing.assert_allclose(found[:, :, column], numeric, rtol=1e-5, atol=1e-6)


@KINDS
@CODED
def test_every_backend_trains_to_the_same_numbers(backend, periodic, categories):
    losses = [
        network(each, periodic, categories=categories, input_factors=True)
        .fit(X, Y, optimizer=gpubp.Adam(0.01), epochs=6, batch_size=16)
        .loss
        for each in (backend, NumpyBackend())
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    assert losses[0][-1] < losses[0][0]


@KINDS
@CODED
@pytest.mark.skipif(host_compiler() is None, reason="the simulated GPU needs a C++ compiler")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision(monkeypatch, precision, periodic, categories):
    simulated.cupy.install(monkeypatch)
    settings = {"dtype": "float32", "categories": categories, "input_factors": True}
    nets = [network("gpu", periodic, precision=each, **settings) for each in (precision, None)]
    for net in nets:
        net.fit(X, Y, epochs=2, batch_size=16)
    halves, whole = (np.asarray(net.history.loss) for net in nets)
    np.testing.assert_allclose(halves, whole, rtol=0.03)


@KINDS
def test_it_is_saved_loaded_copied_and_pickled(tmp_path, periodic):
    net = network(periodic=periodic)
    net.fit(X, Y, epochs=2, batch_size=16)
    net.save(tmp_path / "net.safetensors")
    others = [gpubp.Network.load(tmp_path / "net.safetensors", "cpu"), net.copy()]
    others.append(pickle.loads(pickle.dumps(net)))
    for other in others:
        assert other.spec.to_dict() == net.spec.to_dict()
        np.testing.assert_array_equal(other.predict(X), net.predict(X))
    assert "periodic" not in network(periodic=None).spec.to_dict()


def test_a_checkpoint_goes_on_to_the_same_bits(tmp_path):
    whole, cut = network(), network()
    whole.fit(X, Y, epochs=4, batch_size=16)
    cut.fit(X, Y, epochs=2, batch_size=16, checkpoint=tmp_path)
    again = network()
    again.fit(X, Y, epochs=4, batch_size=16, checkpoint=tmp_path, resume=True)
    np.testing.assert_array_equal(again.parameters, whole.parameters)


def test_a_trace_shows_frequencies_and_phases_and_the_reports_know_them():
    net = network()
    trace = net.trace(X[:20], Y[:20], learning_rate=0.01)
    first = trace.layers[0]
    for name in ("frequency", "phase", "weight", "bias"):
        before, gradient, after = (
            getattr(first, f"{name}_{what}") for what in ("before", "gradient", "after")
        )
        np.testing.assert_allclose(after, before - 0.01 * gradient, rtol=1e-12, atol=1e-15)
    assert trace.loss_after < trace.loss
    assert "periodic embedding of numbers: 4 inputs, 16 neurons" in str(trace)
    assert "frequency 3 -> 4" in trace.table(max_rows=200)
    assert len(net.health(X, Y).layers) == 3
    assert net.memory_plan(10).weights == net.parameters.nbytes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "plb"}, "unknown kind of periodic embedding 'plb'"),
        ({"frequencies": 0}, "frequencies is 0; a whole number above 0"),
        ({"width": 1}, "width is 1; 2 or more are needed for 'pbld'"),
        ({"width": 0, "kind": "plr"}, "width is 0; a whole number above 0"),
        ({"sigma": 0.0}, "sigma is 0.0; a finite number above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        gpubp.Periodic(**settings)


def test_what_contradicts_it_is_refused():
    with pytest.raises(errors.ConfigurationError, match="bins and periodic are both given"):
        network(bins=[[0.0, 1.0], [], [], []])
    with pytest.raises(errors.ConfigurationError, match="all inputs are categories"):
        network(categories=[2, 2, 2, 2])


@KINDS
@CODED
def test_it_is_exported(tmp_path, periodic, categories):
    onnxruntime = pytest.importorskip("onnxruntime")
    net = network(periodic=periodic, dtype="float32", categories=categories, input_factors=True)
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
