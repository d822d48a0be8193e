"""The network against NumPy in float64, on every backend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpubp
from gpubp import errors
from tolerances import assert_close

FUNCTIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "identity": lambda z: z,
}


def random_data(rows, inputs, outputs, seed=0):
    random = np.random.default_rng(seed)
    return random.standard_normal((rows, inputs)), random.integers(0, outputs, rows)


def reference_forward(net, x):
    """Run the layers in float64 NumPy."""
    to_numpy = net.backend.to_numpy
    for layer in net.layers:
        z = x @ to_numpy(layer.weight).astype("f8") + to_numpy(layer.bias).astype("f8")
        if layer.activation.name == "softmax":
            e = np.exp(z - z.max(axis=1, keepdims=True))
            x = e / e.sum(axis=1, keepdims=True)
        else:
            x = FUNCTIONS[layer.activation.name](z)
    return x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity"])
@pytest.mark.parametrize("rows", [1, 7, 130])
def test_forward_equals_numpy(backend, dtype, activation, output, rows):
    net = gpubp.Network([5, 9, 4, 3], activation, output, backend, dtype)
    x, _ = random_data(rows, 5, 3)
    y = net.forward(x.astype(dtype))
    assert isinstance(y, np.ndarray)
    assert y.dtype == dtype
    assert_close(y, reference_forward(net, x), factor=3)
    np.testing.assert_array_equal(net.predict(x.astype(dtype)), y)


def test_backward_equals_finite_differences_by_inputs(backend):
    net = gpubp.Network([4, 6, 3], "tanh", "softmax", backend, "float64")
    x, _ = random_data(5, 4, 3)
    dy = np.random.default_rng(1).standard_normal((5, 3))
    net.forward(x)
    dx = net.backward(dy)
    h = 1e-6
    for column in range(4):
        up, down = x.copy(), x.copy()
        up[:, column] += h
        down[:, column] -= h
        numeric = ((net.forward(up) - net.forward(down)) * dy).sum(axis=1) / (2 * h)
        np.testing.assert_allclose(dx[:, column], numeric, rtol=1e-6, atol=1e-9)


def test_input_gradient_equals_finite_differences(backend):
    net = gpubp.Network([3, 8, 2], "gelu", "sigmoid", backend, "float64")
    x, _ = random_data(6, 3, 2)
    gradients = net.gradients.copy()
    jacobian = net.input_gradient(x)
    assert jacobian.shape == (6, 2, 3)
    h = 1e-6
    for column in range(3):
        up, down = x.copy(), x.copy()
        up[:, column] += h
        down[:, column] -= h
        numeric = (net.predict(up) - net.predict(down)) / (2 * h)
        np.testing.assert_allclose(jacobian[:, :, column], numeric, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(net.input_gradient(x, output=1), jacobian[:, 1])
    to_numpy = net.backend.to_numpy
    np.testing.assert_array_equal(to_numpy(net.gradients), to_numpy(gradients))


def test_layers_are_writable_views_of_the_flat_buffers(backend):
    net = gpubp.Network([2, 3, 1], backend=backend)
    assert net.layers[0].weight.shape == (2, 3)
    assert net.layers[1].bias.shape == (1,)
    assert net.parameters.shape == net.gradients.shape == (2 * 3 + 3 + 3 + 1,)
    net.layers[0].weight[...] = 2
    net.layers[1].bias[...] = 5
    flat = net.backend.to_numpy(net.parameters)
    np.testing.assert_array_equal(flat[:6], 2)
    assert flat[-1] == 5


def test_same_seed_same_weights_on_both_backends(backend):
    here = gpubp.Network([5, 7, 2], backend=backend, seed=42)
    there = gpubp.Network([5, 7, 2], backend="cpu", seed=42)
    np.testing.assert_array_equal(here.backend.to_numpy(here.parameters), there.parameters)
    other = gpubp.Network([5, 7, 2], backend="cpu", seed=43)
    assert (other.parameters != there.parameters).any()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_training_gives_the_same_network_on_both_backends(backend, dropout):
    x, y = random_data(300, 6, 3)
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
    nets = []
    for where in (backend, "cpu"):
        net = gpubp.Network([6, 16, 3], "tanh", "softmax", where, "float64", dropout=dropout)
        net.fit(x, y, optimizer=gpubp.Adam(0.01), epochs=3, batch_size=32)
        nets.append(net.backend.to_numpy(net.parameters))
    np.testing.assert_allclose(nets[0], nets[1], rtol=1e-9, atol=1e-11)


def test_two_runs_give_the_same_bits(backend):
    x, y = random_data(100, 4, 2)
    runs = []
    for _ in range(2):
        net = gpubp.Network([4, 8, 2], "gelu", "softmax", backend, dropout=0.2)
        net.fit(x, y, epochs=2, batch_size=16)
        runs.append(net.backend.to_numpy(net.parameters).tobytes())
    assert runs[0] == runs[1]


@given(
    rows=st.integers(1, 70),
    sizes=st.lists(st.integers(1, 17), min_size=2, max_size=4),
    dtype=st.sampled_from(["float32", "float64", "float16", "int32", "uint8", "bool"]),
    order=st.sampled_from(["C", "F", "strided"]),
)
def test_any_shape_dtype_and_order_of_input(rows, sizes, dtype, order):
    random = np.random.default_rng(rows)
    values = random.standard_normal((rows, sizes[0])) * 3
    x = (abs(values) if dtype == "uint8" else values).astype(dtype)
    if order == "F":
        given_x = np.asfortranarray(x)
    elif order == "strided":
        given_x = np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3]
    else:
        given_x = x
    net = gpubp.Network(sizes, "tanh", backend="cpu", dtype="float64")
    expected = reference_forward(net, x.astype("f8"))
    np.testing.assert_allclose(net.predict(given_x), expected, rtol=1e-12, atol=1e-12)
    assert gpubp.gradient_check(net, given_x, np.zeros((rows, sizes[-1])))


def test_results_come_back_in_the_kind_that_came_in(backend):
    net = gpubp.Network([2, 2], backend=backend)
    assert type(net.predict([[1, 2], [3, 4]])) is np.ndarray
    own = net.backend.asarray([[1, 2], [3, 4]])
    assert type(net.predict(own)) is type(own)

    class HasArray:
        def __array__(self, dtype=None, copy=None):
            return np.ones((3, 2), dtype)

    assert net.predict(HasArray()).shape == (3, 2)


class FromAnotherLibrary:
    """An array that offers DLPack alone, as a library without __array__ does."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __array_namespace__(self):
        class Namespace:
            from_dlpack = FromAnotherLibrary

        return Namespace


def test_dlpack_in_dlpack_out():
    net = gpubp.Network([2, 3], backend="cpu")
    x = np.ones((4, 2), "f4")
    y = net.predict(FromAnotherLibrary(x))
    assert type(y) is FromAnotherLibrary
    np.testing.assert_array_equal(y.array, net.predict(x))


def test_moving_to_a_backend_keeps_training_going(backend):
    x, y = random_data(60, 3, 2)
    stays = gpubp.Network([3, 5, 2], "tanh", "softmax", "cpu", "float64")
    moves = gpubp.Network([3, 5, 2], "tanh", "softmax", "cpu", "float64")
    for net in (stays, moves):
        net.fit(x, y, optimizer=gpubp.Adam(0.01), epochs=2, batch_size=20)
    moves.to(backend)
    for net in (stays, moves):
        net.fit(x, y, optimizer=gpubp.Adam(0.01), epochs=2, batch_size=20)
    moved = moves.to("cpu").parameters
    np.testing.assert_allclose(moved, stays.parameters, rtol=1e-9, atol=1e-11)


def test_backward_needs_forward(backend):
    net = gpubp.Network([2, 1], backend=backend)
    with pytest.raises(errors.ConfigurationError, match="call forward"):
        net.backward([[1.0]])
    net.forward(np.ones((3, 2)))
    with pytest.raises(errors.ShapeError, match=r"dy has shape \(2, 1\); \(3, 1\) is needed"):
        net.backward(np.ones((2, 1)))


def test_gradient_check_finds_a_wrong_gradient(backend, monkeypatch):
    net = gpubp.Network([3, 4, 2], "tanh", "softmax", backend)
    x, y = random_data(9, 3, 2)
    assert gpubp.gradient_check(net, x, y)
    kind = type(net.backend)
    right = kind.activate_backward

    def wrong(self, name, kept, dy, dz, dbias, scratch):
        right(self, name, kept, dy, dz, dbias, scratch)
        if name == "tanh":
            dz *= 1.001

    monkeypatch.setattr(kind, "activate_backward", wrong)
    assert not gpubp.gradient_check(net, x, y)


BAD_SETTINGS = [
    ({"sizes": [4]}, errors.ConfigurationError, "at least two whole numbers"),
    ({"sizes": [4, 0, 2]}, errors.ConfigurationError, "above 0"),
    ({"sizes": [4, 2.5]}, errors.ConfigurationError, "whole numbers"),
    ({"activation": "rleu"}, errors.UnknownNameError, "did you mean 'relu'"),
    ({"activation": ["relu", "tanh"]}, errors.ShapeError, "2 entries"),
    ({"output": "max"}, errors.UnknownNameError, "known: .*softmax"),
    ({"dtype": "float16"}, errors.ConfigurationError, "float32 or float64"),
    ({"dtype": "nonsense"}, errors.ConfigurationError, "float32 or float64"),
    ({"seed": -1}, errors.ConfigurationError, "from 0"),
    ({"dropout": 1.0}, errors.ConfigurationError, "below 1"),
    ({"initializer": "hee"}, errors.UnknownNameError, "he_normal"),
    ({"backend": "tpu"}, errors.UnknownNameError, "auto, cpu, gpu"),
]


@pytest.mark.parametrize(("setting", "kind", "message"), BAD_SETTINGS)
def test_bad_settings(setting, kind, message):
    with pytest.raises(kind, match=message) as caught:
        gpubp.Network(**({"sizes": [4, 3, 2]} | setting))
    assert "\n" not in str(caught.value)
