"""Penalties, clipping and norms: each against NumPy in float64, and all of them in training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import gpubp
import simulated.cupy
from gpubp import Regularization, errors
from gpubp.backends.gpu import recording as _recorder
from gpubp.backends.gpu.tuning import Tuner
from kernel_compilation import host_compiler
from tolerances import RELATIVE

needs_compiler = pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)
SHAPES = [(1, 1), (5, 3), (70, 33), (3000, 2)]


def matrices(shape, dtype):
    random = np.random.default_rng(0)
    return [random.standard_normal(shape).astype(dtype) for _ in range(2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("l1", "l2"), [(0.3, 0.0), (0.0, 0.2), (0.3, 0.2)])
def test_penalties(backend, scratch, dtype, shape, l1, l2):
    weight, gradient = matrices(shape, dtype)
    weight[0, 0] = 0
    there = backend.asarray(gradient.copy())
    backend.penalize(backend.asarray(weight), there, l1, l2, scratch)
    wide = weight.astype(np.float64)
    exact = gradient + l1 * np.sign(wide) + l2 * wide
    np.testing.assert_allclose(
        backend.to_numpy(there),
        exact,
        rtol=RELATIVE[np.dtype(dtype)],
        atol=RELATIVE[np.dtype(dtype)],
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_clipping_by_value(backend, dtype, shape):
    _, gradient = matrices(shape, dtype)
    there = backend.asarray(gradient.copy().ravel())
    backend.clip(there, 0.5)
    np.testing.assert_array_equal(backend.to_numpy(there), np.clip(gradient, -0.5, 0.5).ravel())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.1, 10.0])
def test_clipping_by_norm(backend, scratch, dtype, shape, share):
    gradient = matrices(shape, dtype)[1].ravel()
    norm = float(np.linalg.norm(gradient.astype(np.float64)))
    there = backend.asarray(gradient.copy())
    backend.clip_norm(there, share * norm, scratch)
    exact = gradient.astype(np.float64) * min(1.0, share)
    np.testing.assert_allclose(backend.to_numpy(there), exact, rtol=RELATIVE[np.dtype(dtype)])
    if share > 1:
        np.testing.assert_array_equal(backend.to_numpy(there), gradient)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_largest_norm(backend, scratch, dtype, shape):
    weight, _ = matrices(shape, dtype)
    weight[:, 0] = 0  # a column without a direction
    norms = np.linalg.norm(weight.astype(np.float64), axis=0)
    limit = float(np.median(norms)) or 1.0
    there = backend.asarray(weight.copy())
    backend.limit_norms(there, limit, scratch)
    exact = weight * np.minimum(1, limit / np.maximum(norms, 1e-300))
    np.testing.assert_allclose(backend.to_numpy(there), exact, rtol=2 * RELATIVE[np.dtype(dtype)])


def test_what_is_not_a_number_stays_visible(backend, scratch):
    gradient = backend.asarray(np.array([1.0, np.nan, 9.0]))
    backend.clip(gradient, 2.0)
    found = backend.to_numpy(gradient)
    assert found[[0, 2]].tolist() == [1.0, 2.0]
    assert np.isnan(found[1])
    backend.clip_norm(gradient, 1.0, scratch)
    assert np.isnan(backend.to_numpy(gradient)).any()


ALL = Regularization(l1=1e-3, l2=1e-2, clip_value=0.05, clip_norm=0.1, max_norm=0.8)


def data(rows=60):
    random = np.random.default_rng(0)
    return random.standard_normal((rows, 5)), random.integers(0, 3, rows)


def network(backend, **settings):
    return gpubp.Network([5, 8, 3], "tanh", "softmax", backend, **{"dtype": "float64"} | settings)


def test_a_step_is_that_of_numpy(backend):
    """Forward, backward and every part of the regularization, written out for one layer."""
    x, y = data()
    net = gpubp.Network([5, 3], output="softmax", backend=backend, dtype="float64")
    weight = net.backend.to_numpy(net.layers[0].weight).copy()
    bias = net.backend.to_numpy(net.layers[0].bias).copy()
    z = x @ weight + bias
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    delta = (p - np.eye(3)[y]) / len(x)
    dweight, dbias = x.T @ delta, delta.sum(0)
    dweight += 1e-3 * np.sign(weight) + 1e-2 * weight
    dweight, dbias = np.clip(dweight, -0.05, 0.05), np.clip(dbias, -0.05, 0.05)
    norm = np.sqrt((dweight**2).sum() + (dbias**2).sum())
    assert norm > 0.1
    weight -= 0.5 * dweight * 0.1 / norm
    bias -= 0.5 * dbias * 0.1 / norm
    lengths = np.linalg.norm(weight, axis=0)
    assert lengths.max() > 1.2 > lengths.min()
    weight *= np.minimum(1, 1.2 / lengths)
    held = replace(ALL, max_norm=1.2)
    loss = net.train_step(x, y, gpubp.SGD(0.5), regularization=held)
    assert loss == pytest.approx(-np.log(p[np.arange(len(x)), y]).mean())
    np.testing.assert_allclose(net.backend.to_numpy(net.layers[0].weight), weight, rtol=1e-12)
    np.testing.assert_allclose(net.backend.to_numpy(net.layers[0].bias), bias, rtol=1e-12)


PARTS = [{"l1": 0.01}, {"l2": 0.1}, {"clip_value": 0.01}, {"clip_norm": 0.1}, {"max_norm": 0.5}]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: next(iter(part)))
def test_every_backend_trains_alike(backend, part):
    x, y = data()
    settings = {"epochs": 4, "batch_size": 16, "regularization": Regularization(**part)}
    net, reference, plain = network(backend), network("cpu"), network("cpu")
    net.fit(x, y, **settings)
    reference.fit(x, y, **settings)
    plain.fit(x, y, epochs=4, batch_size=16)
    found = net.backend.to_numpy(net.parameters)
    np.testing.assert_allclose(found, reference.parameters, rtol=1e-7, atol=1e-10)
    assert np.abs(found - plain.parameters).max() > 1e-4, "it was not used"


@needs_compiler
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_recorded_steps_do_it_too(monkeypatch, precision):
    x, y = data()
    found = []
    for warm_ups in (2, 10**9):
        simulated.cupy.install(monkeypatch)
        # each device would find its own ways to multiply
        monkeypatch.setattr(Tuner, "fastest", lambda tuner, key, names, times: names[-1])
        monkeypatch.setattr(_recorder, "WARM_UPS", warm_ups)
        net = network("gpu", dtype="float32", precision=precision)
        net.fit(x, y, epochs=5, batch_size=16, regularization=ALL)
        found.append(net.backend.to_numpy(net.parameters))
    np.testing.assert_array_equal(*found)
    exact = network("cpu")
    exact.fit(x, y, epochs=5, batch_size=16, regularization=ALL)
    np.testing.assert_allclose(found[0], exact.parameters, rtol=0.05, atol=5e-3)
    norms = [np.linalg.norm(net.backend.to_numpy(layer.weight), axis=0) for layer in net.layers]
    assert max(norm.max() for norm in norms) <= 0.8 * (1 + 1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"l1": -1}, "l1 is -1; a finite number from 0"),
        ({"l2": float("nan")}, "l2 is nan"),
        ({"clip_norm": 0}, "clip_norm is 0; a finite number above 0"),
        ({"max_norm": float("inf")}, "max_norm is inf"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        Regularization(**settings)


def test_nothing_asked_for_is_nothing_done():
    assert not Regularization()
    x, y = data()
    one, other = network("cpu"), network("cpu")
    one.fit(x, y, epochs=2, regularization=Regularization())
    other.fit(x, y, epochs=2)
    np.testing.assert_array_equal(one.parameters, other.parameters)


def test_a_checkpoint_of_another_regularization_is_refused(tmp_path):
    pytest.importorskip("safetensors")
    x, y = data()
    network("cpu").fit(x, y, epochs=1, checkpoint=tmp_path)
    with pytest.raises(errors.CheckpointError, match="another run: regularization is"):
        network("cpu").fit(x, y, checkpoint=tmp_path, resume=True, regularization=ALL)
