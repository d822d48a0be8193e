"""Losses and their gradients, on every backend, against formulas in extended precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gpubp.backends import Backend, Scratch
from gpubp.backends.kernel_table import LOSS
from tolerances import assert_close

Rows = np.ndarray  # (batch, outputs)


def log_softmax(z: Rows) -> Rows:
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def _huber(y: Rows, t: Rows) -> Rows:
    d = abs(y - t)
    return np.where(d <= 1, d**2 / 2, d - 0.5)


# The loss of every output, or of every row, before it is summed.
TRUTH: dict[str, Callable[[Rows, Rows], Rows]] = {
    "squared_error": lambda y, t: (y - t) ** 2 / 2,
    "absolute_error": lambda y, t: abs(y - t),
    "huber": _huber,
    "binary_cross_entropy": lambda z, t: np.logaddexp(0, z) - z * t,
    "cross_entropy": lambda z, t: -t * log_softmax(z),
    "class_cross_entropy": lambda z, t: -log_softmax(z)[np.arange(len(z)), t],
}
names = pytest.mark.parametrize("name", TRUTH)
SHAPES = [(1, 1), (3, 2), (64, 10), (257, 5)]


def mean_loss(name: str, y: Rows, expected: np.ndarray) -> np.longdouble:
    return TRUTH[name](y, expected).sum() / np.longdouble(len(y))


def gradient(name: str, y: Rows, expected: np.ndarray) -> Rows:
    """Differentiate the true mean loss by central differences in extended precision."""
    step = np.longdouble(1e-6)
    result = np.empty_like(y)
    for column in range(y.shape[1]):
        change = np.zeros_like(y)
        change[:, column] = step
        high, low = (TRUTH[name](y + sign * change, expected) for sign in (1, -1))
        # every loss is a sum over rows, so one change in all rows gives each row's derivative
        slope = (high - low) / (2 * step)
        result[:, column] = slope if slope.ndim == 1 else slope.sum(axis=1)
    return result / len(y)


def sample(name: str, shape: tuple[int, int], dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Draw outputs and expected values, away from the kinks of the losses."""
    rng = np.random.default_rng(3)
    y = (3 * rng.standard_normal(shape)).astype(dtype)
    if name == "class_cross_entropy":
        return y, rng.integers(0, shape[1], shape[0])
    expected = rng.random(shape)
    if name == "cross_entropy":
        expected /= expected.sum(axis=1, keepdims=True)
    expected = expected.astype(dtype)
    size = abs(y - expected)
    y[(size < 0.01) | (abs(size - 1) < 0.01)] += dtype.type(0.05)
    return y, expected


def run(
    backend: Backend, scratch: Scratch, name: str, y: np.ndarray, expected: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean loss, shape (), and its gradient."""
    outputs, dy = backend.asarray(y), backend.xp.empty(y.shape, y.dtype)
    mean = backend.xp.empty((), y.dtype)
    backend.loss(name, outputs, backend.asarray(expected), dy, mean, scratch)
    np.testing.assert_array_equal(backend.to_numpy(outputs), y)
    return backend.to_numpy(mean), backend.to_numpy(dy)


def test_every_loss_is_tested() -> None:
    assert set(TRUTH) == set(LOSS)


@names
@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradient(
    backend: Backend, scratch: Scratch, dtype: np.dtype, name: str, shape: tuple[int, int]
) -> None:
    y, expected = sample(name, shape, dtype)
    mean, dy = run(backend, scratch, name, y, expected)
    wide = y.astype(np.longdouble)
    assert_close(mean, mean_loss(name, wide, expected), factor=4)
    exact = gradient(name, wide, expected)
    # central differences are good to about 1e-12 with a step of 1e-6
    allowed = max(8 * float(np.finfo(dtype).eps), 1e-10)
    np.testing.assert_allclose(dy, exact.astype(float), rtol=allowed, atol=allowed / shape[0])


@pytest.mark.parametrize("name", ["binary_cross_entropy", "cross_entropy", "class_cross_entropy"])
def test_extreme_logits_give_finite_losses_and_no_warning(
    backend: Backend, scratch: Scratch, dtype: np.dtype, name: str
) -> None:
    z = np.array([[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4], [-1e4, -1e4]], dtype)
    expected = np.array([0, 0, 1, 1])
    if name != "class_cross_entropy":
        expected = np.eye(2, dtype=dtype)[expected]
    mean, dz = run(backend, scratch, name, z, expected)
    assert_close(mean, mean_loss(name, z.astype(np.longdouble), expected))
    assert np.isfinite(dz).all()
    assert (abs(dz) <= 0.25).all()


@pytest.mark.parametrize("name", ["cross_entropy", "class_cross_entropy"])
def test_logits_far_from_zero_keep_their_differences(
    backend: Backend, scratch: Scratch, dtype: np.dtype, name: str
) -> None:
    """Adding a number to all logits changes neither loss nor gradient."""
    near = np.array([[0, 1, 2.5], [-3, 0.5, 0]])
    expected = np.array([1, 2])
    if name == "cross_entropy":
        expected = np.eye(3, dtype=dtype)[expected]
    z = (near + 8192).astype(dtype)  # exact in float32
    mean, dz = run(backend, scratch, name, z, expected)
    assert_close(mean, mean_loss(name, near.astype(np.longdouble), expected))
    one_hot = expected if name == "cross_entropy" else np.eye(3)[expected]
    assert_close(dz, (np.exp(log_softmax(near)) - one_hot) / 2)


@names
def test_nan_is_not_swallowed(
    backend: Backend, scratch: Scratch, dtype: np.dtype, name: str
) -> None:
    y, expected = sample(name, (3, 2), dtype)
    y[1, 1] = np.nan
    mean, dy = run(backend, scratch, name, y, expected)
    assert np.isnan(mean)
    assert np.isnan(dy[1, 1])
    assert np.isfinite(dy[[0, 2]]).all()


def test_exact_hits_of_the_absolute_error(
    backend: Backend, scratch: Scratch, dtype: np.dtype
) -> None:
    y = np.array([[1.0, 2.0, 3.0]], dtype)
    mean, dy = run(backend, scratch, "absolute_error", y, np.array([[1.0, 1.0, 4.0]], dtype))
    assert float(mean) == 2
    assert dy.tolist() == [[0, 1, -1]]
