"""Forms of the hidden layers, against their formulas in float64 written out, on every backend."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import gpubp
import simulated.cupy
from gpubp import errors
from gpubp.backends import Scratch
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from gpubp.backends.formulas.activations import ACTIVATIONS
from gpubp.backends.gpu import recording
from kernel_compilation import host_compiler
from thread_ranks import run_ranks
from tolerances import RELATIVE, assert_close

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((70, 5))
Y = np.stack([np.sin(2 * X[:, 0]), X[:, 1] * X[:, 2]], axis=1)
# name: settings of the network
FORMS = {
    "residual": {"residual": True},
    "residual, dropout": {"residual": True, "dropout": 0.3},
    "residual, layer norm": {"residual": True, "normalization": "layer"},
    "mixing": {"mixing": True},
    "ntk": {"weights": "ntk"},
    "ntk, layer norm": {"weights": "ntk", "normalization": "layer"},
    "ntk, mixing, residual": {"weights": "ntk", "mixing": True, "residual": True},
    "mixing, residual, batch norm": {
        **{"mixing": (True, False), "residual": True},
        "normalization": "batch",
    },
}
forms = pytest.mark.parametrize("form", FORMS)


def network(backend="cpu", activation=("tanh", "gelu"), seed=3, **settings):
    """A network whose parameters are no special numbers: no zeros, no ones."""
    settings = {"dtype": "float64"} | settings
    net = gpubp.Network([5, 5, 5, 2], activation, backend=backend, seed=seed, **settings)
    moved = np.random.default_rng(seed).normal(0, 0.2, net.parameters.shape)
    net.parameters[...] += net.backend.asarray(moved, net.dtype)
    return net


def host(net, array):
    return np.asarray(net.backend.to_numpy(array), np.float64)


def parameters(net):
    """Weight, bias and mixing factor of every layer, in float64."""
    return [
        {name: host(net, getattr(layer, name)) for name in layer.parameter_shapes()}
        for layer in net.layers
    ]


def formula(net, x):
    """The outputs for x, layer by layer, by the formulas as they are written."""
    functions = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0), "identity": lambda z: z}
    spec = net.spec
    names, residual = (*spec.activation, spec.output), (*spec.residual, False)
    # a layer without mixing factors is as one whose factors are 1
    for values, name, adds in zip(parameters(net), names, residual, strict=True):
        products = x @ values["weight"]
        z = products / np.sqrt(x.shape[1]) if spec.weights == "ntk" else products
        z += values["bias"]
        y = z + values.get("mix", 1.0) * (functions[name](z) - z)
        x = y + x if adds else y
    return x


@pytest.mark.parametrize("form", ["residual", "mixing", "ntk", "ntk, mixing, residual"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", [("tanh", "relu"), ("relu", "tanh")])
def test_outputs_are_those_of_the_formula(backend, form, dtype, activation):
    net = network(backend, activation, dtype=dtype, **FORMS[form])
    exact = formula(net, X.astype(dtype).astype(float))
    allowed = 20 * RELATIVE[np.dtype(dtype)]
    np.testing.assert_allclose(host(net, net.forward(X)), exact, rtol=allowed, atol=allowed)
    np.testing.assert_allclose(net.predict(X), host(net, net.forward(X)), rtol=allowed)


@forms
@pytest.mark.parametrize("activation", [("tanh", "gelu"), ("relu", "softplus")])
def test_gradients_are_those_of_finite_differences(backend, form, activation):
    result = gpubp.gradient_check(network(backend, activation, **FORMS[form]), X, Y)
    assert result.passed, str(result)


@forms
def test_derivatives_by_the_inputs(backend, form):
    net, step, x = network(backend, **FORMS[form]), 1e-6, X[:10]
    found = np.asarray(net.input_gradient(x))
    for column in range(5):
        moved = np.zeros(5)
        moved[column] = step
        numeric = (net.predict(x + moved) - net.predict(x - moved)) / (2 * step)
        np.testing.assert_allclose(found[:, :, column], numeric, rtol=1e-5, atol=1e-7)


@forms
def test_every_backend_trains_to_the_same_numbers(backend, form):
    losses = [
        network(each, **FORMS[form])
        .fit(X, Y, optimizer=gpubp.Adam(0.01), epochs=6, batch_size=16)
        .loss
        for each in (backend, NumpyBackend())
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    assert losses[0][-1] < losses[0][0]


@forms
@pytest.mark.skipif(host_compiler() is None, reason="the simulated GPU needs a C++ compiler")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_recorded_steps_do_it_too(monkeypatch, precision, form):
    simulated.cupy.install(monkeypatch)
    found = {}
    for threshold in (0, 1 << 60):
        monkeypatch.setattr(recording, "SMALL_STEP", threshold)
        net = network("gpu", dtype="float32", precision=precision, **FORMS[form])
        outputs = net.predict(X)
        net.fit(X, Y, optimizer=gpubp.Adam(0.01), epochs=4, batch_size=16)
        found[threshold] = net.history.loss
    np.testing.assert_array_equal(*found.values())
    plain = network("cpu", dtype="float32", **FORMS[form])
    allowed = {"float32": 1e-5, "float16": 0.01, "bfloat16": 0.05}[precision]
    np.testing.assert_allclose(outputs, plain.predict(X), rtol=allowed, atol=allowed)
    plain.fit(X, Y, optimizer=gpubp.Adam(0.01), epochs=4, batch_size=16)
    assert found[0][-1] < found[0][0]
    if precision != "float16":  # whose steps that overflow are left out
        np.testing.assert_allclose(found[0], plain.history.loss, rtol=2 * allowed)


@forms
def test_it_is_saved_loaded_copied_and_pickled(tmp_path, form):
    net = network(**FORMS[form])
    net.fit(X, Y, epochs=2, batch_size=16)
    net.save(tmp_path / "net.safetensors")
    others = [gpubp.Network.load(tmp_path / "net.safetensors", "cpu"), net.copy()]
    others.append(pickle.loads(pickle.dumps(net)))
    for other in others:
        assert other.spec == net.spec
        np.testing.assert_array_equal(other.predict(X), net.predict(X))


@forms
def test_a_checkpoint_goes_on_to_the_same_bits(tmp_path, form):
    whole, cut, again = (network(**FORMS[form]) for _ in range(3))
    whole.fit(X, Y, epochs=4, batch_size=16)
    cut.fit(X, Y, epochs=2, batch_size=16, checkpoint=tmp_path)
    again.fit(X, Y, epochs=4, batch_size=16, checkpoint=tmp_path, resume=True)
    np.testing.assert_array_equal(again.parameters, whole.parameters)


@forms
def test_it_is_exported(tmp_path, form):
    onnxruntime = pytest.importorskip("onnxruntime")
    net, x = network(dtype="float32", **FORMS[form]), X.astype(np.float32)
    net.fit(x, Y, epochs=1)
    gpubp.exchange.write_onnx(net, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (found,) = session.run(None, {"X": x})
    np.testing.assert_allclose(found, net.predict(x), rtol=1e-4, atol=1e-5)
    gpubp.exchange.write_numpy_predictor(net, tmp_path / "net.py")
    space: dict = {"__name__": "predictor"}
    exec((tmp_path / "net.py").read_text(), space)
    np.testing.assert_allclose(space["predict"](x), net.predict(x), rtol=1e-4, atol=1e-5)


@forms
def test_health_and_memory_know_it(form):
    net = network(**FORMS[form])
    report = net.health(X, Y)
    assert [layer.activation for layer in report.layers] == ["tanh", "gelu", "identity"]
    plan, plain = (each.memory_plan(10) for each in (net, network()))
    assert plan.weights == net.stack.trained.nbytes
    assert plan.activations >= plain.activations


def test_without_forms_nothing_is_described():
    net = gpubp.Network([5, 4, 2], backend="cpu", residual=True)
    assert net.spec == gpubp.Network([5, 4, 2], backend="cpu").spec
    assert not {"residual", "mixing", "weights"} & set(net.spec.to_dict())


def test_residual_layers_are_those_with_as_many_inputs_as_outputs():
    def chosen(sizes, residual=True, **settings):
        return gpubp.Network(sizes, backend="cpu", residual=residual, **settings).spec.residual

    assert chosen([3, 8, 8, 2]) == (False, True)
    assert chosen([8, 8, 8, 2], (False, True)) == (False, True)
    assert chosen([2, 7, 2], bins=[[0.0, 1.0], []], embedding=6) == (True,)
    assert chosen([8, 8]) == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"residual": (True, False)},
            "residual of hidden layer 1 is True, with 3 inputs and 8 outputs; as many of both, or",
        ),
        ({"residual": (True,)}, "residual has 1 entries; one, or one for each of the 2 hidden"),
        ({"residual": "yes"}, "residual is 'yes'; True or False is needed"),
        (
            {"mixing": (False, True), "activation": ["relu", "softmax"]},
            "mixing of hidden layer 2 is True, with activation 'softmax'; False, or a function of",
        ),
        ({"weights": "mup"}, "weights is 'mup'; 'standard' or 'ntk' is needed"),
        ({"mixing": 1}, "mixing is 1; True or False is needed"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises((errors.ConfigurationError, errors.ShapeError), match=message):
        gpubp.Network([3, 8, 8, 2], backend="cpu", **settings)


def test_a_trace_shows_what_a_residual_layer_passes_on():
    net = network(activation="tanh", residual=(True, False))
    first, second, _ = net.trace(X[:2], Y[:2], learning_rate=0.1).layers
    np.testing.assert_allclose(first.output, np.tanh(first.weighted_sum) + X[:2], rtol=1e-12)
    np.testing.assert_allclose(second.inputs, first.output, rtol=0)
    passed_back = second.error @ second.weight_before.T
    np.testing.assert_allclose(first.error, passed_back * first.slope, rtol=1e-9)


@pytest.mark.parametrize("form", ["residual", "residual, layer norm", "mixing", "ntk"])
def test_ranks_train_it_as_one_process(form):
    def trained(**given):
        net = network(**FORMS[form])
        net.fit(X, Y, epochs=2, batch_size=16, **given)
        return net.parameters

    for found in run_ranks(3, lambda talk: trained(distributed=talk)):
        np.testing.assert_allclose(found, trained(), rtol=1e-9, atol=1e-12)


def test_factors_begin_at_1_where_nothing_is_mixed(backend):
    mixed, plain = (
        gpubp.Network([5, 9, 2], "tanh", backend=backend, dtype="float64", mixing=mixing)
        for mixing in (True, False)
    )
    np.testing.assert_array_equal(host(mixed, mixed.layers[0].mix), np.ones(9))
    np.testing.assert_allclose(mixed.predict(X), plain.predict(X), rtol=1e-13, atol=1e-14)


def test_a_trace_shows_the_factors():
    net = network(activation="tanh", mixing=True)
    first = net.trace(X[:2], Y[:2], learning_rate=0.1).layers[0]
    z, a = first.weighted_sum, first.mix_before
    np.testing.assert_allclose(first.output, z + a * (np.tanh(z) - z), rtol=1e-12)
    np.testing.assert_allclose(first.slope, 1 + a * (1 / np.cosh(z) ** 2 - 1), rtol=1e-12)
    np.testing.assert_allclose(first.mix_after, a - 0.1 * first.mix_gradient, rtol=1e-12)
    assert "mix 0" in net.trace(X[:2], Y[:2]).table(max_rows=200)


@pytest.mark.parametrize("name", [name for name, f in ACTIVATIONS.items() if not f.whole_rows])
def test_every_function_is_mixed_by_its_formula(backend, dtype, name):
    """Against the backend's own f and f', which are held to the exact ones elsewhere."""
    rows, columns, scratch = 70, 9, Scratch(backend.xp)
    draw = np.random.default_rng(1)
    z, dy = (draw.normal(size=(rows, columns)).astype(dtype) for _ in range(2))
    bias, a = (draw.normal(size=columns).astype(dtype) for _ in range(2))
    there = [backend.asarray(array.copy()) for array in (z, bias, a, dy)]
    y, f, slope = (backend.empty((rows, columns), dtype) for _ in range(3))
    dbias, da = (backend.empty((columns,), dtype) for _ in range(2))
    backend.mix(name, there[0], there[1], there[2], y, scratch)
    sums = there[0].copy()
    backend.activate(name, sums, backend.asarray(np.zeros(columns, dtype)), f, scratch)
    kept = sums if ACTIVATIONS[name].keeps == "x" else f
    slope.fill(1)
    backend.activate_backward(name, kept, slope, slope, dbias, scratch)
    backend.mix_backward(name, there[0], there[2], there[3], there[3], dbias, da, scratch)
    z, f, slope = (backend.to_numpy(array).astype(float) for array in (sums, f, slope))
    a, dy = a.astype(float), dy.astype(float)
    dz = dy * (1 + a * (slope - 1))
    exact = (z + a * (f - z), dz, dz.sum(0), (dy * (f - z)).sum(0))
    for found, truth in zip((y, there[3], dbias, da), exact, strict=True):
        assert_close(backend.to_numpy(found), truth, 20)


def test_weights_of_the_ntk_form_are_standard_normal():
    net = gpubp.Network([40, 200, 100], "relu", backend="cpu", weights="ntk", dtype="float64")
    for layer in net.layers:
        weight = layer.weight
        assert abs(weight.mean()) < 4 / np.sqrt(weight.size)
        assert abs(weight.std() - 1) < 4 / np.sqrt(2 * weight.size)
        assert abs((weight**4).mean() - 3) < 4 * np.sqrt(96 / weight.size)


def test_the_ntk_form_begins_as_the_standard_form_of_the_same_initializer():
    ntk, plain = (
        gpubp.Network([5, 9, 2], backend="cpu", weights=form, initializer="he_normal")
        for form in ("ntk", "standard")
    )
    np.testing.assert_allclose(ntk.predict(X), plain.predict(X), rtol=1e-5, atol=1e-6)


def test_a_step_of_the_ntk_form_is_a_step_of_the_standard_form_at_another_rate():
    """With W' = W / sqrt(n), a step at rate r in W is one at rate r / n in W'."""
    net, rate = network(weights="ntk"), 0.1
    first = net.trace(X, Y, learning_rate=rate).layers[0]
    standard = X.T @ -first.error / len(X)  # the gradient by W'
    moved = (first.weight_after - first.weight_before) / np.sqrt(5)
    np.testing.assert_allclose(moved, -rate / 5 * standard, rtol=1e-9, atol=1e-15)
    exact = X @ first.weight_before / np.sqrt(5) + first.bias_before
    np.testing.assert_allclose(first.weighted_sum, exact, rtol=1e-12, atol=1e-14)
