"""The trace against worked examples published in texts on backpropagation."""

import json

import numpy as np
import pytest

import gpubp


@pytest.fixture
def mazur(backend):
    """Network of Matt Mazur, "A Step by Step Backpropagation Example" (2015)."""
    net = gpubp.Network([2, 2, 2], "sigmoid", "sigmoid", backend, "float64")
    for layer, weight, bias in (
        (0, [[0.15, 0.25], [0.20, 0.30]], 0.35),
        (1, [[0.40, 0.50], [0.45, 0.55]], 0.60),
    ):
        net.layers[layer].weight[...] = net.backend.asarray(weight)
        net.layers[layer].bias[...] = bias
    return net


def test_mazurs_worked_example_digit_for_digit(mazur):
    trace = mazur.trace([[0.05, 0.10]], [[0.01, 0.99]], 0.5, loss="squared_error")
    hidden, output = trace.layers
    # the digits as the text prints them
    assert f"{hidden.weighted_sum[0, 0]:.4f}" == "0.3775"
    assert f"{hidden.output[0, 0]:.9f}" == "0.593269992"
    assert f"{hidden.output[0, 1]:.9f}" == "0.596884378"
    assert f"{output.weighted_sum[0, 0]:.9f}" == "1.105905967"
    assert f"{output.output[0, 0]:.8f}" == "0.75136507"
    assert f"{output.output[0, 1]:.9f}" == "0.772928465"
    assert f"{trace.loss:.9f}" == "0.298371109"
    assert f"{output.slope[0, 0]:.9f}" == "0.186815602"
    assert f"{-output.error[0, 0]:.9f}" == "0.138498562"
    assert f"{output.weight_gradient[0, 0]:.9f}" == "0.082167041"
    after = output.weight_after
    assert f"{after[0, 0]:.8f}" == "0.35891648"
    assert f"{after[1, 0]:.9f}" == "0.408666186"
    assert f"{after[0, 1]:.9f}" == "0.511301270"
    assert f"{after[1, 1]:.9f}" == "0.561370121"
    assert f"{hidden.slope[0, 0]:.9f}" == "0.241300709"
    assert f"{hidden.weight_gradient[0, 0]:.9f}" == "0.000438568"
    after = hidden.weight_after
    assert f"{after[0, 0]:.9f}" == "0.149780716"
    assert f"{after[1, 0]:.8f}" == "0.19956143"
    assert f"{after[0, 1]:.8f}" == "0.24975114"
    assert f"{after[1, 1]:.8f}" == "0.29950229"


def test_the_text_formulas_of_error_and_update(backend):
    """error = (expected - actual) * slope; weight += rate * mean of x.T @ error."""
    random = np.random.default_rng(3)
    net = gpubp.Network([3, 4, 2], "tanh", "sigmoid", backend, "float64")
    x, expected = random.standard_normal((5, 3)), random.uniform(0, 1, (5, 2))
    trace = net.trace(x, expected, 0.3, loss="squared_error")
    hidden, output = trace.layers
    error = (expected - output.output) * output.output * (1 - output.output)
    np.testing.assert_allclose(output.error, error, rtol=1e-12)
    weighted = error @ output.weight_before.T
    np.testing.assert_allclose(hidden.error, weighted * (1 - hidden.output**2), rtol=1e-11)
    for layer, inputs in ((hidden, x), (output, hidden.output)):
        update = 0.3 * inputs.T @ layer.error / 5
        np.testing.assert_allclose(
            layer.weight_after, layer.weight_before + update, rtol=1e-12, atol=1e-15
        )
        np.testing.assert_allclose(
            layer.bias_after, layer.bias_before + 0.3 * layer.error.mean(axis=0), rtol=1e-12
        )


def test_a_train_step_does_what_the_trace_says(mazur):
    trace = mazur.trace([[0.05, 0.10]], [[0.01, 0.99]], 0.5, loss="squared_error")
    loss = mazur.train_step(
        [[0.05, 0.10]], [[0.01, 0.99]], optimizer=gpubp.SGD(0.5), loss="squared_error"
    )
    assert loss == pytest.approx(trace.loss, rel=1e-15)
    for layer, traced in zip(mazur.layers, trace.layers, strict=True):
        weight = mazur.backend.to_numpy(layer.weight)
        np.testing.assert_allclose(weight, traced.weight_after, rtol=1e-15)


def test_the_network_changes_only_when_asked(mazur):
    to_numpy = mazur.backend.to_numpy
    before = to_numpy(mazur.parameters).copy()
    trace = mazur.trace([[0.05, 0.10]], [[0.01, 0.99]], loss="squared_error")
    np.testing.assert_array_equal(to_numpy(mazur.parameters), before)
    mazur.trace([[0.05, 0.10]], [[0.01, 0.99]], loss="squared_error", apply=True)
    changed = to_numpy(mazur.layers[1].weight)
    np.testing.assert_array_equal(changed, trace.layers[1].weight_after)


def test_slope_of_every_activation(backend):
    from gpubp.nn.activations import ACTIVATIONS

    h = 1e-6
    for name in ACTIVATIONS:
        net = gpubp.Network([3, 3, 1], name, "identity", backend, "float64")
        net.layers[0].weight[...] = net.backend.asarray(np.eye(3))
        x = np.array([[-0.7, 0.4, 1.3]])
        layer = net.trace(x, [[0.0]]).layers[0]
        numeric = []
        for column in range(3):
            step = np.zeros((1, 3))
            step[0, column] = h
            up = net.trace(x + step, [[0.0]]).layers[0].output[0, column]
            down = net.trace(x - step, [[0.0]]).layers[0].output[0, column]
            numeric.append((up - down) / (2 * h))
        np.testing.assert_allclose(layer.slope[0], numeric, rtol=1e-7, atol=1e-9, err_msg=name)


def test_json_holds_every_number(mazur):
    trace = mazur.trace([[0.05, 0.10]], [[0.01, 0.99]], loss="squared_error")
    loaded = json.loads(trace.to_json())
    assert loaded["layers"][1]["output"][0][0] == trace.layers[1].output[0, 0]
    kept = {name for name, value in vars(trace.layers[0]).items() if value is not None}
    assert set(loaded["layers"][0]) == kept


def test_the_table_is_for_people(mazur):
    text = str(mazur.trace([[0.05, 0.10]], [[0.01, 0.99]], loss="squared_error"))
    for words in ("weighted sum", "output", "slope", "error", "expected", "before", "after"):
        assert words in text
    assert "0.75136507" in text
    assert "0.35891648" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_wide_layer_is_cut_short():
    net = gpubp.Network([30, 50, 10], output="softmax", backend="cpu")
    text = net.trace(np.ones((2, 30)), [3, 4]).table(max_rows=8, row=1)
    assert "... 42 more neurons ..." in text
    assert "means over 2 rows; neurons are shown for row 1" in text
    assert max(map(len, text.splitlines())) <= 80


def test_softmax_error_is_expected_minus_actual(backend):
    net = gpubp.Network([2, 3], output="softmax", backend=backend, dtype="float64")
    layer = net.trace([[1.0, 2.0]], [1]).layers[0]
    np.testing.assert_allclose(layer.error, [[0, 1, 0]] - layer.output, rtol=1e-12)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_bad_learning_rate(rate):
    net = gpubp.Network([2, 1], backend="cpu")
    with pytest.raises(gpubp.errors.ConfigurationError, match="learning_rate"):
        net.trace([[1, 2]], [[1]], learning_rate=rate)
