"""`net.compiled()`: the outputs of `predict`, for a fixed number of rows, by one prepared pass."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
from conftest import compiled
from gpubp.backends.cpu.planned_steps import PlannedSteps

SETTINGS = {
    "plain": {},
    "scaled": {"input_scale": 0.5},
    "normalized": {"normalization": "layer"},
    "batch": {"normalization": "batch"},
    "categories": {"categories": [0, 7, 0, 3]},
    "bins": {"bins": [[-1.0, 0.0, 1.0], [], [], [0.0, 0.5]]},
    "residual": {"residual": True},
    "periodic": {"periodic": gpubp.Periodic()},
    "dropout": {"dropout": 0.5},
    "double": {"dtype": "float64"},
}


def rows_of(count, net, seed=0):
    x = np.random.default_rng(seed).standard_normal((count, 4)).astype(net.dtype)
    x[:, [1, 3]] = np.abs(x[:, [1, 3]]).astype(int) % 3  # codes, where there are categories
    return x


@pytest.mark.parametrize("rows", [1, 33])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_it_gives_what_predict_gives_before_and_after_training(backend, settings, rows):
    net = gpubp.Network([4, 16, 16, 3], "tanh", "softmax", backend=backend, seed=1, **settings)
    predictor = net.compiled(rows)
    for seed in range(3):
        x = rows_of(rows, net, seed)
        np.testing.assert_allclose(predictor(x), net.predict(x), rtol=1e-5, atol=1e-7)
        net.fit(rows_of(64, net), np.arange(64) % 3, epochs=1, batch_size=16)


def assert_alike(backend, found, expected):
    """A GPU may compute a product of other rows, or a recorded one, in another way."""
    rtol = 1e-6 if backend.name == "gpu" else 0
    np.testing.assert_allclose(found, expected, rtol=rtol)


def test_a_result_is_kept_when_the_next_is_made_and_others_predict_between(backend):
    net = gpubp.Network([4, 8, 2], backend=backend, seed=1)
    one, two = net.compiled(), net.compiled(2)
    x = rows_of(3, net)
    expected = net.predict(x)
    first, second = one(x[:1]), one(x[1:2])
    pair = two(x[1:])
    assert_alike(backend, np.concatenate([first, second]), expected[:2])
    np.testing.assert_allclose(pair, expected[1:], rtol=1e-6)


def test_inputs_of_another_kind_are_taken_as_predict_takes_them(backend):
    net = gpubp.Network([4, 8, 2], backend=backend, seed=1)
    predictor, x = net.compiled(), rows_of(4, net)
    for row in (x[:1].astype(np.float64), x[:1].tolist(), np.asfortranarray(x)[2:3], x[:1, ::-1]):
        assert_alike(backend, predictor(row), net.predict(row))


def test_what_predict_refuses_is_refused(backend):
    predictor = gpubp.Network([4, 8, 2], backend=backend, seed=1).compiled(2)
    with pytest.raises(gpubp.errors.ShapeError, match=r"x has 3 rows; compiled\(rows=2\) needs"):
        predictor(np.ones((3, 4), np.float32))
    with pytest.raises(gpubp.errors.ShapeError, match="has shape"):
        predictor(np.ones((2, 5), np.float32))
    bad = np.ones((2, 4), np.float32)
    bad[1, 2] = np.nan
    with pytest.raises(gpubp.errors.NonFiniteError, match=r"x\[1, 2\] is nan"):
        predictor(bad)
    with pytest.raises(gpubp.errors.ConfigurationError, match="rows is 0"):
        gpubp.Network([4, 2], backend=backend).compiled(0)


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {"batch", "dropout"}))
def test_it_is_one_call_of_compiled_code(name):
    net = gpubp.Network([4, 16, 3], backend=compiled(), **SETTINGS[name])
    assert isinstance(net.compiled()._pass.run, PlannedSteps)
