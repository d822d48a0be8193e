"""Precisions: names, half formats against NumPy's, training in each, the scale of the loss."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
import simulated.cupy
from gpubp import errors, model_files
from gpubp.backends import get_backend
from gpubp.backends.precision import PRECISIONS, get_precision
from kernel_compilation import host_compiler

needs_compiler = pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)
HALVES = ("bfloat16", "float16")


@pytest.fixture
def cupy(monkeypatch):
    return simulated.cupy.install(monkeypatch)


def data(rows=256):
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, 6)).astype(np.float32)
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int64)


def test_a_precision_follows_the_dtype_and_decides_it():
    assert get_precision(None).name == "float32"
    assert get_precision(None, "float64").name == "float64"
    assert get_precision("float64").dtype == np.float64
    assert gpubp.Network([2, 1], precision="float64", backend="cpu").parameters.dtype == np.float64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "bf16"}, "unknown precision 'bf16'; did you mean 'bfloat16'"),
        ({"precision": "tf32", "dtype": "float64"}, "dtype is float64 and precision 'tf32'"),
        ({"dtype": "float16"}, "dtype is 'float16'; float32 or float64 is needed"),
        ({"dtype": "nonsense"}, "dtype is 'nonsense'; float32 or float64 is needed"),
        ({"dtype": "(2,)f4"}, r"dtype is '\(2,\)f4'; float32 or float64 is needed"),
        ({"dtype": np.float16}, "dtype is <class 'numpy.float16'>; float32 or float64 is needed"),
        ({"dtype": np.dtype("i4")}, r"dtype is dtype\('int32'\); float32 or float64 is needed"),
        ({"dtype": None}, "dtype is None; float32 or float64 is needed"),
        ({"dtype": {"names": ["a"], "formats": ["f4"]}}, "float32 or float64 is needed"),
    ],
)
def test_what_contradicts_is_refused(settings, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        gpubp.Network([2, 1], backend="cpu", **settings)


@pytest.mark.parametrize(
    "dtype",
    [
        *("float32", "f4", "f", "single", np.float32, np.dtype("float32"), np.dtype(">f4")),
        *("float64", "f8", "d", "double", "float", float, np.float64, np.dtype("float64")),
    ],
)
def test_a_dtype_is_given_as_to_numpy(dtype):
    net = gpubp.Network([2, 1], backend="cpu", dtype=dtype)
    assert net.parameters.dtype.name == net.dtype.name == np.dtype(dtype).name


@pytest.mark.parametrize("dtype", ["f4", None, 4, ["f4"]])
def test_a_file_names_a_dtype_in_full(tmp_path, dtype):
    net = gpubp.Network([2, 1], backend="cpu")
    described = net.spec.to_dict() | {"dtype": dtype}
    model_files.write(tmp_path / "net", [net.parameters], described)
    with pytest.raises(errors.ModelFileError, match="dtype"):
        gpubp.Network.load(tmp_path / "net", "cpu")


@pytest.mark.parametrize("name", PRECISIONS)
def test_a_cpu_takes_every_precision(name):
    x, y = data()
    net = gpubp.Network([6, 8, 2], output="softmax", backend="cpu", precision=name)
    twin = gpubp.Network(
        [6, 8, 2], output="softmax", backend="cpu", dtype=PRECISIONS[name].dtype.name
    )
    found, expected = (each.fit(x, y, epochs=2).loss for each in (net, twin))
    if name == "bfloat16" and not net.backend.notes:  # its products are in bfloat16
        np.testing.assert_allclose(found, expected, rtol=0.01)
        assert found != expected
    else:
        assert found == expected


def bfloat16(values):
    """Round float32 to bfloat16 by the definition: to nearest, ties to even."""
    bits = values.view(np.uint32).astype(np.uint64)
    low, high = bits & 0xFFFF, bits >> 16
    up = (low > 0x8000) | ((low == 0x8000) & (high % 2 == 1))
    return (high + up).astype(np.uint16)


@needs_compiler
def test_numbers_are_stored_as_numpy_stores_them(cupy):
    backend = get_backend("gpu")
    random = np.random.default_rng(0)
    values = (random.standard_normal(10000) * 10.0 ** random.integers(-9, 9, 10000)).astype("f4")
    ties = np.arange(0x3F800000, 0x3F900000, 0x8000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([values, ties, np.float32([0.0, -0.0, np.inf, -np.inf])])
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    for dtype, expected in ((np.uint16, bfloat16(values)), (np.float16, half)):
        stored = backend.empty(values.shape, np.dtype(dtype))
        backend.convert(backend.asarray(values), stored)
        np.testing.assert_array_equal(backend.to_numpy(stored), expected)
        back = backend.empty(values.shape, np.dtype(np.float32))
        backend.convert(stored, back)
        exact = expected.astype(np.float32)
        if dtype is np.uint16:
            exact = (expected.astype(np.uint32) << 16).view(np.float32)
        np.testing.assert_array_equal(backend.to_numpy(back), exact)
    nan = backend.empty((1,), np.dtype(np.uint16))
    backend.convert(backend.asarray(np.float32([np.nan])), nan)
    assert not backend.all_finite(nan)


@needs_compiler
@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity", "tanh"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("name", [*HALVES, "tf32"])
def test_training_in_a_precision_follows_training_in_float64(cupy, name, activation, output):
    """As near as its rounding: 8 bits in bfloat16, 11 in the others."""
    x, y = data()
    expected = y if output == "softmax" else y.reshape(-1, 1) * 0.5
    outputs = 2 if output == "softmax" else 1

    def losses(precision, backend):
        net = gpubp.Network(
            [6, 16, 16, outputs], activation, output, backend, precision=precision, dropout=0.1
        )
        assert net.backend.name == backend
        return net, net.fit(x, expected, epochs=6, batch_size=32).loss

    net, found = losses(name, "gpu")
    _, exact = losses("float64", "cpu")
    np.testing.assert_allclose(found, exact, rtol=0.03 if name == "bfloat16" else 0.005)
    assert not np.allclose(found, exact, rtol=1e-7), "it was not used"
    assert net.predict(x).dtype == np.float32
    assert net.parameters.dtype == np.float32


@needs_compiler
@pytest.mark.parametrize("name", HALVES)
def test_the_rest_of_a_network_works_in_half_precision(cupy, name, tmp_path):
    x, y = data(50)
    net = gpubp.Network([6, 16, 2], "tanh", "softmax", "gpu", precision=name)
    wide = gpubp.Network([6, 16, 2], "tanh", "softmax", "cpu", dtype="float64")
    tolerance = {"rtol": 0.05, "atol": 0.02}
    np.testing.assert_allclose(net.predict(x), wide.predict(x), **tolerance)
    np.testing.assert_allclose(net.input_gradient(x, 0), wide.input_gradient(x, 0), **tolerance)
    np.testing.assert_allclose(net.forward(x), wide.forward(x), **tolerance)
    dy = np.ones((50, 2)) * [1, -1]
    np.testing.assert_allclose(net.backward(dy), wide.backward(dy), **tolerance)
    np.testing.assert_allclose(net.evaluate(x, y)["loss"], wide.evaluate(x, y)["loss"], rtol=0.02)
    net.layers[0].weight[...] = 0  # the copy that products read has to follow
    np.testing.assert_allclose(net.predict(x)[0], net.predict(x)[1])
    with pytest.raises(errors.ConfigurationError, match=f"trace in precision '{name}'"):
        net.trace(x, y)
    net.save(tmp_path / "model")
    again = gpubp.Network.load(tmp_path / "model", backend="cpu")
    assert again.precision.name == name
    np.testing.assert_array_equal(again.parameters, net.backend.to_numpy(net.parameters))
    assert net.copy(dtype="float64").precision.name == "float64"
    assert net.copy().precision.name == name
    assert gpubp.gradient_check(net, x, y).passed


def scale(net):
    return float(net.backend.to_numpy(net._state.scaling)[0])


@needs_compiler
def test_small_gradients_survive_float16(cupy):
    """Gradients of 1e-8 are zero in float16 unless the loss is scaled."""
    x, _ = data(32)
    target = np.full((32, 1), 1e-6)
    net = gpubp.Network([6, 8, 1], "tanh", backend="gpu", precision="float16")
    net.layers[-1].weight[...] = 1e-4
    before = net.backend.to_numpy(net.layers[0].weight).copy()
    net.train_step(x, target, gpubp.SGD(1.0))
    assert scale(net) == 2.0**16
    wide = gpubp.Network([6, 8, 1], "tanh", backend="cpu", dtype="float64")
    wide.layers[-1].weight[...] = 1e-4
    start = wide.layers[0].weight.copy()
    wide.train_step(x, target, gpubp.SGD(1.0))
    moved = net.backend.to_numpy(net.layers[0].weight) - before
    assert np.abs(wide.layers[0].weight - start).max() < 1e-7
    np.testing.assert_allclose(
        net.backend.to_numpy(net.layers[0].dweight) / 2**16, wide.layers[0].dweight, rtol=0.02,
        atol=1e-11,
    )  # fmt: skip
    assert moved.shape == start.shape


@needs_compiler
def test_an_overflow_halves_the_scale_and_changes_nothing_else(cupy, monkeypatch):
    x, _ = data(32)
    net = gpubp.Network([6, 8, 1], "relu", backend="gpu", precision="float16")
    before = net.backend.to_numpy(net.parameters).copy()
    loss = net.train_step(x, np.full((32, 1), 1000.0), gpubp.Adam())
    assert np.isfinite(loss)
    assert scale(net) == 2.0**15
    np.testing.assert_array_equal(net.backend.to_numpy(net.parameters), before)
    for _ in range(20):
        net.train_step(x, np.full((32, 1), 1000.0), gpubp.Adam())
    assert scale(net) < 2.0**12
    assert (net.backend.to_numpy(net.parameters) != before).any()


@needs_compiler
def test_the_scale_grows_after_steps_without_overflow(cupy, monkeypatch):
    from gpubp.training import step as step_work

    monkeypatch.setattr(step_work, "GROWTH", 3)
    x, y = data(32)
    net = gpubp.Network([6, 8, 2], "relu", "softmax", backend="gpu", precision="float16")
    net.fit(x, y, epochs=7, batch_size=32)
    assert scale(net) == 2.0**18


@needs_compiler
def test_inputs_too_large_for_float16_are_named(cupy):
    x, y = data(32)
    x[3, 2] = 1e5
    net = gpubp.Network([6, 8, 2], output="softmax", backend="gpu", precision="float16")
    with pytest.raises(errors.NonFiniteError, match=r"x\[3, 2\] is inf in float16"):
        net.fit(x, y)
