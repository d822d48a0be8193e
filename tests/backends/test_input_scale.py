"""Inputs that are multiplied as they are read, and networks that say so."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp


@pytest.mark.parametrize("storage", ["uint8", "float16", "float32", "float64"])
def test_stored_inputs_with_a_scale_equal_scaled_inputs(backend, storage):
    random = np.random.default_rng(0)
    stored = random.integers(0, 256, (90, 7)).astype(storage)
    y = random.integers(0, 3, 90)

    def network(scale):
        return gpubp.Network([7, 9, 3], "tanh", "softmax", backend, "float64", input_scale=scale)

    scaled, plain = network(1 / 255), network(1.0)
    x = stored.astype(np.float64) * (1 / 255)
    for net, data in ((scaled, stored), (plain, x)):
        net.fit(data, y, epochs=2, batch_size=32)
        net.fit(data, y, epochs=1, batch_size=32, shuffle=False)
        net.train_step(data[:10], y[:10])

    def host(array):
        return backend.to_numpy(array)

    tolerance = {"rtol": 1e-12, "atol": 1e-13}
    np.testing.assert_allclose(host(scaled.parameters), host(plain.parameters), **tolerance)
    np.testing.assert_allclose(scaled.predict(stored), plain.predict(x), **tolerance)
    np.testing.assert_allclose(scaled.forward(stored), plain.forward(x), **tolerance)
    assert scaled.evaluate(stored, y) == pytest.approx(plain.evaluate(x, y))
    np.testing.assert_allclose(
        scaled.input_gradient(stored), plain.input_gradient(x) / 255, **tolerance
    )
    assert gpubp.gradient_check(scaled, stored, y)
    assert scaled.trace(stored[:2], y[:2]).loss == pytest.approx(plain.trace(x[:2], y[:2]).loss)


def test_input_scale_is_kept_in_the_model_file(tmp_path):
    pytest.importorskip("safetensors")
    net = gpubp.Network([3, 2], backend="cpu", input_scale=0.25)
    net.save(tmp_path / "m.safetensors")
    assert gpubp.Network.load(tmp_path / "m.safetensors", "cpu").input_scale == 0.25


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_input_scale_out_of_range(scale):
    with pytest.raises(gpubp.errors.ConfigurationError, match="input_scale is"):
        gpubp.Network([3, 2], backend="cpu", input_scale=scale)


def test_backward_gradient_is_by_the_unscaled_inputs():
    net = gpubp.Network([3, 2], backend="cpu", dtype="float64", input_scale=0.5)
    net.forward(np.ones((1, 3)))
    dx = net.backward(np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(dx[0], net.layers[0].weight[:, 0] * 0.5)
