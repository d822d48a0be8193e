"""Numbers embedded by piecewise-linear bins, against the dense formula of their inventors."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpubp
from gpubp import errors
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from tolerances import RELATIVE

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((70, 4)) * [1, 10, 0.1, 1]
X[:, 2] = RANDOM.integers(0, 2, 70)
Y = np.stack([np.sin(3 * X[:, 0]), X[:, 1] * X[:, 2]], axis=1)
BINS = [[-1.0, -0.5, 0.1, 2.0], [-20.0, -3.0, 4.0], [], [0.0, 0.5]]


def network(backend="cpu", bins=BINS, **settings):
    return gpubp.Network(
        [4, 8, 2],
        "tanh",
        backend=backend,
        bins=bins,
        **{"dtype": "float64", "embedding": 3} | settings,
    )


def components(x, edges):
    """The components c_t of one column, (rows, bins), as the paper writes them."""
    edges = np.asarray(edges, float)
    found = (x[:, None] - edges[:-1]) / np.diff(edges)
    low, high = np.zeros(len(edges) - 1), np.ones(len(edges) - 1)
    low[0], high[-1] = -np.inf, np.inf
    return np.clip(found, low, high)


def embedded(x, bins, weight, bias, table):
    """The layer in float64, as a product with all components."""
    out, start, number = [], 0, 0
    for column, edges in enumerate(bins):
        if edges:
            stop = start + len(edges) - 1
            bent = components(x[:, column], edges) @ table[start:stop]
            out.append(x[:, column, None] * weight[number] + bias[number] + bent)
            start, number = stop, number + 1
    others = [column for column, edges in enumerate(bins) if not edges]
    return np.concatenate([*out, x[:, others]], axis=1)


def bend(net, seed=0):
    """Give the table, which begins at zero, numbers."""
    layer = net.layers[0]
    host = np.random.default_rng(seed).standard_normal(layer.table.shape)
    layer.table[...] = net.backend.asarray(host, net.dtype)
    host_of = net.backend.to_numpy
    return [host_of(each).astype(float) for each in (layer.weight, layer.bias, layer.table)]


def forward(net, x):
    """What the embedding makes of x."""
    net.forward(x)
    return net.backend.to_numpy(net.stack.buffers(len(x)).layers[0].y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_the_dense_formula(backend, dtype):
    net = network(backend, dtype=dtype)
    weight, bias, table = bend(net)
    x = np.concatenate([X, [[-1.0, -20.0, 0, 0.0], [2.0, 4.0, 1, 0.5], [-99, 99, 0, -99]]])
    exact = embedded(x.astype(dtype).astype(float), BINS, weight, bias, table)
    allowed = 200 * RELATIVE[np.dtype(dtype)]
    np.testing.assert_allclose(forward(net, x.astype(dtype)), exact, rtol=allowed, atol=allowed)


@given(
    edges=st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=9, unique=True),
    values=st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=8),
)
def test_any_bins_and_any_numbers(edges, values):
    edges = sorted(edges)
    if min(np.diff(edges)) < 1e-3:
        return
    net = gpubp.Network([1, 1], bins=[edges], dtype="float64", backend=NumpyBackend(), embedding=2)
    weight, bias, table = bend(net)
    x = np.array(values, float)[:, None]
    exact = embedded(x, [edges], weight, bias, table)
    np.testing.assert_allclose(forward(net, x), exact, rtol=1e-9, atol=1e-9 * np.abs(exact).max())


def test_a_network_begins_as_with_linear_embeddings(backend):
    net = network(backend)
    assert not net.backend.to_numpy(net.layers[0].table).any()
    assert net.backend.to_numpy(net.layers[0].weight).std() > 0.1


def test_gradients_are_those_of_finite_differences(backend):
    net = network(backend)
    bend(net)
    result = gpubp.gradient_check(net, X, Y)
    assert result.passed, str(result)
    assert len(result.layers) == 3


def test_derivatives_by_the_inputs(backend):
    net, step = network(backend), 1e-6
    bend(net)
    x = X[:10]
    found = np.asarray(net.input_gradient(x))
    for column in range(4):
        moved = np.zeros(4)
        moved[column] = step
        numeric = (net.predict(x + moved) - net.predict(x - moved)) / (2 * step)
        np.testing.assert_allclose(found[:, :, column], numeric, rtol=1e-5, atol=1e-6)


def test_every_backend_trains_to_the_same_numbers(backend):
    losses = [
        network(each).fit(X, Y, optimizer=gpubp.Adam(0.01), epochs=6, batch_size=16).loss
        for each in (backend, NumpyBackend())
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    assert losses[0][-1] < losses[0][0]


def test_it_bends_where_a_linear_embedding_cannot():
    x = RANDOM.uniform(-1, 1, (600, 1))
    y = np.sign(np.sin(9 * x))
    plain = gpubp.Network([1, 1], backend="cpu", dtype="float64")
    bent = gpubp.Network([1, 1], backend="cpu", dtype="float64", bins=gpubp.quantile_bins(x, 32))
    losses = [
        net.fit(x, y, optimizer=gpubp.Adam(0.02), epochs=80, batch_size=50).loss[-1]
        for net in (plain, bent)
    ]
    assert losses[1] < losses[0] / 3


def test_it_is_saved_loaded_copied_and_pickled(tmp_path):
    net = network()
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
    net = network()
    bend(net)
    trace = net.trace(X[:2], Y[:2], learning_rate=0.1)
    first = trace.layers[0]
    step = first.table_before - 0.1 * first.table_gradient
    np.testing.assert_allclose(first.table_after, step, rtol=1e-12, atol=1e-15)
    assert trace.loss_after < trace.loss
    assert "embedding of numbers: 4 inputs, 10 neurons" in str(trace)
    assert "table 0 -> 0" in trace.table(max_rows=200)
    assert (
        "table_before"
        not in gpubp.Network([2, 1], backend="cpu").trace([[1.0, 2.0]], [[0.5]]).to_json()
    )


def test_health_and_memory_know_it():
    net = network()
    report = net.health(X, Y)
    assert [layer.activation for layer in report.layers] == ["identity", "tanh", "identity"]
    assert net.memory_plan(10).weights == net.parameters.nbytes


def test_penalties_reach_the_table():
    held = gpubp.Regularization(l2=10.0)
    nets = [network(), network()]
    for net, regularization in zip(nets, (None, held), strict=True):
        bend(net)
        net.fit(X, Y, epochs=3, batch_size=16, regularization=regularization)
    free, kept = (np.abs(net.layers[0].table).sum() for net in nets)
    assert kept < free


def test_quantile_bins_hold_about_as_many_rows_each():
    x = np.stack([RANDOM.standard_normal(1000), RANDOM.integers(0, 3, 1000), np.ones(1000)], axis=1)
    wide, few, none = gpubp.quantile_bins(x, 10)
    counts = np.histogram(x[:, 0], wide)[0]
    assert counts.tolist() == [100] * 10
    assert few == [0.0, 1.0, 2.0]
    assert none == []


@pytest.mark.parametrize(
    ("bins", "message"),
    [
        ([[0.0, 1.0]], "bins has 1 entries; one for each of the 4 inputs"),
        ([[1.0, 0.0], [], [], []], r"bins of input 0 are \[1.0, 0.0\]; two or more finite"),
        ([[], [1.0], [], []], "bins of input 1 are"),
        ([[], [], [0.0, np.nan], []], "bins of input 2 are"),
        ([[], [], [], [0.0, 1.0, 1.0]], "bins of input 3 are"),
        ([[1e8, 1e8 + 1], [], [], []], "increase in float32"),
    ],
)
def test_bins_that_cannot_be_are_refused(bins, message):
    with pytest.raises((errors.ConfigurationError, errors.ShapeError), match=message):
        network(bins=bins, dtype="float32")
    with pytest.raises(errors.ConfigurationError, match="embedding is 0; a whole number above 0"):
        network(embedding=0)


def test_without_bins_nothing_is_embedded():
    net = gpubp.Network([2, 1], bins=[[], []], backend="cpu")
    assert len(net.layers) == 1
    assert "bins" not in net.spec.to_dict()


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_it_is_exported(tmp_path, scale):
    onnxruntime = pytest.importorskip("onnxruntime")
    net = network(dtype="float32", input_scale=scale)
    bend(net)
    x = np.concatenate([X, [[-1.0, -20.0, 0, 0.0], [2.0, 4.0, 1, 0.5], [-99, 99, 0, -99]]])
    x = x.astype(np.float32)
    gpubp.exchange.write_onnx(net, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (found,) = session.run(None, {"X": x})
    np.testing.assert_allclose(found, net.predict(x), rtol=2e-4, atol=2e-4)
    gpubp.exchange.write_numpy_predictor(net, tmp_path / "net.py")
    space: dict = {"__name__": "predictor"}
    exec((tmp_path / "net.py").read_text(), space)
    np.testing.assert_allclose(space["predict"](x), net.predict(x), rtol=2e-4, atol=2e-4)
