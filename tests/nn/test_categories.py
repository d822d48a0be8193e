"""Categories embedded by tables, against the same network with one-hot inputs."""

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
ROWS, COUNTS, WIDTH = 70, [0, 5, 0, 3], 2
X = RANDOM.standard_normal((ROWS, 4))
X[:, 1], X[:, 3] = RANDOM.integers(0, 5, ROWS), RANDOM.integers(0, 3, ROWS)
X[:3, 1], X[3:6, 3] = (-1, 5, 1.5), (3, -0.5, 99)  # which are no codes
Y = np.stack([np.sin(3 * X[:, 0]) + (X[:, 1] == 2), X[:, 2] * (X[:, 3] == 1)], axis=1)
BINS = [[-1.0, 0.0, 1.5], [], [], []]


def network(backend="cpu", **settings):
    return gpubp.Network(
        [4, 8, 2],
        "tanh",
        backend=backend,
        **{"dtype": "float64", "categories": COUNTS, "category_width": WIDTH} | settings,
    )


def one_hot(x):
    """The codes as columns of 0 and 1, (rows, categories of all inputs); all 0 for no code."""
    return np.concatenate(
        [(x[:, column, None] == np.arange(COUNTS[column])) for column in (1, 3)], axis=1
    ).astype(float)


def table(net):
    return net.backend.to_numpy(net.layers[0].weight).astype(float)


def embedded(x, weight):
    """The layer in float64, as products with one-hot columns."""
    ones = one_hot(x)
    return np.concatenate([ones[:, :5] @ weight[:5], ones[:, 5:] @ weight[5:], x[:, [0, 2]]], 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_code_selects_its_row(backend, dtype):
    net = network(backend, dtype=dtype)
    x = X.astype(dtype)
    net.forward(x)
    found = net.backend.to_numpy(net.stack.buffers(ROWS).layers[0].y)
    np.testing.assert_array_equal(found, embedded(x, table(net)).astype(dtype))


def test_gradients_are_sums_over_the_rows_of_a_code(backend):
    net = network(backend)
    net.forward(X)
    net.backward(np.ones((ROWS, 2)))
    first = net.stack.buffers(ROWS).layers[0]
    delta = net.backend.to_numpy(first.delta)
    ones = one_hot(X)
    exact = [ones[:, :5].T @ delta[:, :WIDTH], ones[:, 5:].T @ delta[:, WIDTH : 2 * WIDTH]]
    found = net.backend.to_numpy(net.layers[0].dweight)
    np.testing.assert_allclose(found, np.concatenate(exact), rtol=1e-12, atol=1e-14)
    assert np.abs(found).min() > 0


@pytest.mark.parametrize("bins", [None, BINS])
def test_gradients_are_those_of_finite_differences(backend, bins):
    net = network(backend, bins=bins)
    result = gpubp.gradient_check(net, X, Y)
    assert result.passed, str(result)
    assert len(result.layers) == 3 + (bins is not None)


@pytest.mark.parametrize("bins", [None, BINS])
def test_derivatives_by_the_inputs(backend, bins):
    net, step = network(backend, bins=bins), 1e-6
    x = X[:10]
    found = np.asarray(net.input_gradient(x))
    assert not found[:, :, [1, 3]].any()
    for column in (0, 2):
        moved = np.zeros(4)
        moved[column] = step
        numeric = (net.predict(x + moved) - net.predict(x - moved)) / (2 * step)
        np.testing.assert_allclose(found[:, :, column], numeric, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bins", [None, BINS])
def test_every_backend_trains_to_the_same_numbers(backend, bins):
    losses = [
        network(each, bins=bins, embedding=3)
        .fit(X, Y, optimizer=gpubp.Adam(0.01), epochs=6, batch_size=16)
        .loss
        for each in (backend, NumpyBackend())
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    assert losses[0][-1] < losses[0][0]


def test_a_table_learns_what_each_category_is_worth():
    codes = RANDOM.integers(0, 6, (200, 1)).astype(float)
    worth = np.array([3.0, -1, 4, 1, -5, 9])
    y = worth[codes[:, 0].astype(int), None]
    net = gpubp.Network([1, 1], backend="cpu", dtype="float64", categories=[6], category_width=4)
    net.fit(codes, y, optimizer=gpubp.Adam(0.05), epochs=150, batch_size=20)
    np.testing.assert_allclose(net.predict(np.arange(6.0)[:, None])[:, 0], worth, atol=0.05)


@pytest.mark.skipif(host_compiler() is None, reason="the simulated GPU needs a C++ compiler")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_reads_codes_exactly(monkeypatch, precision):
    simulated.cupy.install(monkeypatch)
    settings = {"dtype": "float32", "bins": BINS, "embedding": 3}
    nets = [network("gpu", precision=each, **settings) for each in (precision, None)]
    for net in nets:
        net.fit(X, Y, epochs=2, batch_size=16)
    halves, whole = (np.asarray(net.history.loss) for net in nets)
    np.testing.assert_allclose(halves, whole, rtol=0.02)
    with pytest.raises(errors.ConfigurationError, match="codes are exact in"):
        network(categories=[0, 4000, 0, 3], dtype="float32", precision=precision)


def test_it_is_saved_loaded_copied_and_pickled(tmp_path):
    net = network(bins=BINS)
    net.fit(X, Y, epochs=2, batch_size=16)
    net.save(tmp_path / "net.safetensors")
    others = [gpubp.Network.load(tmp_path / "net.safetensors", "cpu"), net.copy()]
    others.append(pickle.loads(pickle.dumps(net)))
    for other in others:
        assert other.spec == net.spec
        np.testing.assert_array_equal(other.predict(X), net.predict(X))


def test_a_checkpoint_goes_on_to_the_same_bits(tmp_path):
    whole, cut = network(), network()
    whole.fit(X, Y, epochs=4, batch_size=16)
    cut.fit(X, Y, epochs=2, batch_size=16, checkpoint=tmp_path)
    again = network()
    again.fit(X, Y, epochs=4, batch_size=16, checkpoint=tmp_path, resume=True)
    np.testing.assert_array_equal(again.parameters, whole.parameters)


def test_a_trace_shows_the_table():
    net = network(bins=BINS)
    trace = net.trace(X[:20], Y[:20], learning_rate=0.1)
    first = trace.layers[0]
    step = first.weight_before - 0.1 * first.weight_gradient
    np.testing.assert_allclose(first.weight_after, step, rtol=1e-12, atol=1e-15)
    assert trace.loss_after < trace.loss
    assert "embedding of categories: 4 inputs, 6 neurons" in str(trace)
    assert "embedding of numbers: 6 inputs" in str(trace)
    assert "weight 7 -> 1" in trace.table(max_rows=200)


def test_health_and_memory_know_it():
    net = network()
    report = net.health(X, Y)
    assert [layer.activation for layer in report.layers] == ["identity", "tanh", "identity"]
    assert net.memory_plan(10).weights == net.parameters.nbytes


def test_columns_of_codes_have_no_bins():
    found = gpubp.quantile_bins(X, 4, categories=COUNTS)
    assert [len(edges) for edges in found] == [5, 0, 5, 0]
    with pytest.raises(errors.ShapeError, match="categories has 1 entries; one for each of the 4"):
        gpubp.quantile_bins(X, 4, categories=[3])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"categories": [2]}, "categories has 1 entries; one for each of the 4 inputs"),
        ({"categories": [0, -1, 0, 0]}, "categories of input 1 are -1; a whole number from 0"),
        ({"categories": [0, 0, 2.5, 0]}, "categories of input 2 are 2.5"),
        ({"bins": [[], [0.0, 1.0], [], []]}, "input 1 has bins and 5 categories"),
        ({"input_scale": 0.5}, "input_scale is 0.5 and some inputs are categories; 1 is needed"),
        ({"category_width": 0}, "category_width is 0; a whole number above 0"),
    ],
)
def test_categories_that_cannot_be_are_refused(settings, message):
    with pytest.raises((errors.ConfigurationError, errors.ShapeError), match=message):
        network(**settings)


def test_without_categories_nothing_is_embedded():
    net = gpubp.Network([2, 1], categories=[0, 0], backend="cpu")
    assert len(net.layers) == 1
    assert "categories" not in net.spec.to_dict()


@pytest.mark.parametrize("bins", [None, BINS])
@pytest.mark.parametrize("categories", [COUNTS, [4, 5, 3, 3]])
def test_it_is_exported(tmp_path, bins, categories):
    onnxruntime = pytest.importorskip("onnxruntime")
    if bins and categories[0]:
        pytest.skip("an input is one or the other")
    net = network(dtype="float32", bins=bins, categories=categories)
    x = X.astype(np.float32)
    gpubp.exchange.write_onnx(net, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (found,) = session.run(None, {"X": x})
    allowed = 100 * RELATIVE[np.dtype("float32")]
    np.testing.assert_allclose(found, net.predict(x), rtol=allowed, atol=allowed)
    gpubp.exchange.write_numpy_predictor(net, tmp_path / "net.py")
    space: dict = {"__name__": "predictor"}
    exec((tmp_path / "net.py").read_text(), space)
    np.testing.assert_allclose(space["predict"](x), net.predict(x), rtol=allowed, atol=allowed)
