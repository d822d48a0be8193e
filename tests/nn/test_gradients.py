"""Every activation, loss and depth against central differences, on every backend."""

import numpy as np
import pytest

import gpubp
from gpubp.nn.activations import ACTIVATIONS

HIDDEN = [
    name for name in ACTIVATIONS if name not in ("softmax", "exp")
]  # exp in a chain overflows
OUTPUT_AND_LOSS = [
    ("softmax", "cross_entropy"),
    ("sigmoid", "binary_cross_entropy"),
    ("identity", "squared_error"),
    ("identity", "absolute_error"),
    ("identity", "huber"),
    ("sigmoid", "squared_error"),
    ("softmax", "squared_error"),
    ("tanh", "huber"),
    ("exp", "poisson"),
    ("exp", "squared_error"),
    ("identity", "quantile"),
]


@pytest.mark.parametrize(("output", "loss"), OUTPUT_AND_LOSS)
@pytest.mark.parametrize("activation", HIDDEN)
def test_gradients_of_every_activation_below_every_loss(backend, activation, output, loss):
    assert_gradients(backend, activation, output, loss, hidden=1)


@pytest.mark.parametrize(("output", "loss"), OUTPUT_AND_LOSS)
def test_gradients_of_every_loss_without_a_hidden_layer(backend, output, loss):
    assert_gradients(backend, "relu", output, loss, hidden=0)


@pytest.mark.parametrize("activation", HIDDEN)
def test_gradients_of_every_activation_through_three_layers(backend, activation):
    assert_gradients(backend, activation, "softmax", "cross_entropy", hidden=3)


def assert_gradients(backend, activation, output, loss, hidden):
    """Compare with central differences for classes and for shares of them."""
    random = np.random.default_rng(hidden)
    net = gpubp.Network([4, *[6] * hidden, 3], activation, output, backend, seed=hidden)
    x = random.standard_normal((11, 4))
    result = gpubp.gradient_check(net, x, random.integers(0, 3, 11), loss)
    assert result.passed, str(result)
    probabilities = random.dirichlet(np.ones(3), 11)
    result = gpubp.gradient_check(net, x, probabilities, loss)
    assert result.passed, str(result)


@pytest.mark.parametrize("rows", [1, 33, 200])
def test_gradients_of_any_batch(backend, rows):
    random = np.random.default_rng(rows)
    net = gpubp.Network([3, 5, 2], "selu", "identity", backend)
    x, y = random.standard_normal((rows, 3)), random.standard_normal((rows, 2))
    assert gpubp.gradient_check(net, x, y)


def test_the_result_prints_and_leaves_the_network_alone():
    net = gpubp.Network([2, 3, 1], backend="cpu")
    before = net.parameters.copy()
    result = gpubp.gradient_check(net, [[1.0, 2.0]], [[0.5]])
    assert str(result).startswith("gradients agree: relative error ")
    assert len(result.layers) == 2
    np.testing.assert_array_equal(net.parameters, before)
