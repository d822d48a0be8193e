"""Losses and their gradients, on every backend, against formulas in extended precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gpubp.backends import Backend, Scratch
from gpubp.backends.formulas.losses import CLASS_LOSSES
from gpubp.backends.gpu.loss_kernels import LOSS, WEIGHTED_LOSS
from tolerances import assert_close

Rows = np.ndarray  # (batch, outputs)


def log_softmax(z: Rows) -> Rows:
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def _huber(y: Rows, t: Rows, delta: float) -> Rows:
    d = abs(y - t)
    return np.where(d <= delta, d**2 / 2, delta * (d - np.longdouble(delta) / 2))


def _quantile(y: Rows, t: Rows, q: float) -> Rows:
    return np.maximum(q * (t - y), (q - np.longdouble(1)) * (t - y))


def _poisson(z: Rows, t: Rows) -> Rows:
    t = t.astype(np.longdouble)
    return np.exp(z) - t + t * (np.log(np.where(t > 0, t, 1)) - z)


def _binary_focal(z: Rows, t: Rows, gamma: float) -> Rows:
    log_p, log_q = -np.logaddexp(0, -z), -np.logaddexp(0, z)
    return -t * np.exp(gamma * log_q) * log_p - (1 - t) * np.exp(gamma * log_p) * log_q


def _focal(log_p: Rows, gamma: float) -> Rows:
    return -((-np.expm1(log_p)) ** np.longdouble(gamma)) * log_p


def _smooth(t: Rows, smoothing: float, classes: int) -> Rows:
    return (1 - np.longdouble(smoothing)) * t + np.longdouble(smoothing) / classes


def _one_hot(z: Rows, t: np.ndarray) -> Rows:
    return np.where(t[:, None] == np.arange(z.shape[1]), np.longdouble(1), 0)


# The loss of every output, or of every row, before it is summed.
TRUTH: dict[str, Callable[..., Rows]] = {
    "squared_error": lambda y, t: (y - t) ** 2 / 2,
    "absolute_error": lambda y, t: abs(y - t),
    "huber": _huber,
    "quantile": _quantile,
    "poisson": _poisson,
    "binary_cross_entropy": lambda z, t: np.logaddexp(0, z) - z * t,
    "binary_focal": _binary_focal,
    "cross_entropy": lambda z, t: -t * log_softmax(z),
    "focal": lambda z, t, gamma: t * _focal(log_softmax(z), gamma),
    "class_cross_entropy": lambda z, t: -log_softmax(z)[np.arange(len(z)), t],
    "smoothed_binary_cross_entropy": lambda z, t, s: np.logaddexp(0, z) - z * _smooth(t, s, 2),
    "smoothed_cross_entropy": lambda z, t, s: -_smooth(t, s, z.shape[1]) * log_softmax(z),
    "class_smoothed_cross_entropy": lambda z, t, s: (
        -_smooth(_one_hot(z, t), s, z.shape[1]) * log_softmax(z)
    ),
    "class_focal": lambda z, t, gamma: _focal(log_softmax(z)[np.arange(len(z)), t], gamma),
}
# Their own settings, exact in float32.
PARAMETERS = {
    "huber": (1.0, 0.5),
    "quantile": (0.75, 0.125),
    "binary_focal": (2.0, 0.0, 1.5),
    "focal": (2.0, 0.0, 0.5),
    "class_focal": (2.0, 0.0, 0.5),
    "smoothed_binary_cross_entropy": (0.125, 0.0),
    "smoothed_cross_entropy": (0.125, 0.0),
    "class_smoothed_cross_entropy": (0.125, 0.0),
}
names = pytest.mark.parametrize(
    ("name", "parameter"),
    [(name, value) for name in TRUTH for value in PARAMETERS.get(name, (None,))],
)
SHAPES = [(1, 1), (3, 2), (64, 10), (257, 5)]


def row_losses(name: str, y: Rows, expected: np.ndarray, parameter: float | None) -> Rows:
    own = () if parameter is None else (parameter,)
    return TRUTH[name](y, expected, *own)


def mean_loss(
    name: str, y: Rows, expected: np.ndarray, parameter: float | None = None
) -> np.longdouble:
    return row_losses(name, y, expected, parameter).sum() / np.longdouble(len(y))


def gradient(name: str, y: Rows, expected: np.ndarray, parameter: float | None) -> Rows:
    """Differentiate the true mean loss by central differences in extended precision."""
    step = np.longdouble(1e-6)
    result = np.empty_like(y)
    for column in range(y.shape[1]):
        change = np.zeros_like(y)
        change[:, column] = step
        high, low = (row_losses(name, y + sign * change, expected, parameter) for sign in (1, -1))
        # every loss is a sum over rows, so one change in all rows gives each row's derivative
        slope = (high - low) / (2 * step)
        result[:, column] = slope if slope.ndim == 1 else slope.sum(axis=1)
    return result / len(y)


def sample(
    name: str, shape: tuple[int, int], dtype: np.dtype, kink: float = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Draw outputs and expected values, away from the kinks of the losses."""
    rng = np.random.default_rng(3)
    y = (3 * rng.standard_normal(shape)).astype(dtype)
    if name.startswith("class_"):
        return y, rng.integers(0, shape[1], shape[0])
    expected = rng.random(shape)
    if name in ("cross_entropy", "smoothed_cross_entropy", "focal"):
        expected /= expected.sum(axis=1, keepdims=True)
    expected = expected.astype(dtype)
    size = abs(y - expected)
    y[(size < 0.01) | (abs(size - kink) < 0.01)] += dtype.type(0.05)
    return y, expected


def run(
    backend: Backend,
    scratch: Scratch,
    name: str,
    y: np.ndarray,
    expected: np.ndarray,
    parameter: float | None = None,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean loss, shape (), and its gradient."""
    outputs, dy = backend.asarray(y), backend.xp.empty(y.shape, y.dtype)
    mean = backend.xp.empty((), y.dtype)
    weighting = None
    if weights is not None:
        weighting = backend.asarray(weights, y.dtype), backend.xp.empty((), y.dtype)
    arguments = (outputs, backend.asarray(expected), dy, mean, scratch, weighting)
    backend.loss(name, parameter or 0.0, *arguments)
    if weighting is not None:
        assert_close(backend.to_numpy(weighting[1]), weights.sum())
    np.testing.assert_array_equal(backend.to_numpy(outputs), y)
    return backend.to_numpy(mean), backend.to_numpy(dy)


def test_every_loss_is_tested() -> None:
    assert set(TRUTH) == set(LOSS) == set(WEIGHTED_LOSS)


@names
@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradient(
    backend: Backend,
    scratch: Scratch,
    dtype: np.dtype,
    name: str,
    parameter: float | None,
    shape: tuple[int, int],
) -> None:
    y, expected = sample(name, shape, dtype, parameter or 1)
    mean, dy = run(backend, scratch, name, y, expected, parameter)
    wide = y.astype(np.longdouble)
    assert_close(mean, mean_loss(name, wide, expected, parameter), factor=4)
    exact = gradient(name, wide, expected, parameter)
    # central differences are good to about 1e-12 with a step of 1e-6
    allowed = max(8 * float(np.finfo(dtype).eps), 1e-10)
    np.testing.assert_allclose(dy, exact.astype(float), rtol=allowed, atol=allowed / shape[0])


LOGITS = [name for name in TRUTH if name.endswith(("cross_entropy", "focal"))]


@pytest.mark.parametrize("name", LOGITS)
def test_extreme_logits_give_finite_losses_and_no_warning(
    backend: Backend, scratch: Scratch, dtype: np.dtype, name: str
) -> None:
    z = np.array([[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4], [-1e4, -1e4]], dtype)
    expected = np.array([0, 0, 1, 1])
    if not name.startswith("class_"):
        expected = np.eye(2, dtype=dtype)[expected]
    parameter = PARAMETERS.get(name, (None,))[0]
    mean, dz = run(backend, scratch, name, z, expected, parameter)
    assert_close(mean, mean_loss(name, z.astype(np.longdouble), expected, parameter))
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
def test_rows_weigh_what_they_are_given(
    backend: Backend, scratch: Scratch, dtype: np.dtype, name: str, parameter: float | None
) -> None:
    """Two rows of weight 1 are one of weight 2; rows of weight 0 are none."""
    y, expected = sample(name, (5, 3), dtype, parameter or 1)
    weights = np.array([1, 0, 2, 0.5, 1], dtype)
    mean, dy = run(backend, scratch, name, y, expected, parameter, weights)
    rows = row_losses(name, y.astype(np.longdouble), expected, parameter)
    rows = rows.reshape(5, -1).sum(axis=1)
    assert_close(mean, (rows * weights).sum() / np.longdouble(4.5), factor=4)
    _, alone = run(backend, scratch, name, y, expected, parameter)
    assert_close(dy, alone.astype(np.float64) * 5 * weights[:, None] / 4.5, factor=4)
    mean, dy = run(backend, scratch, name, y, expected, parameter, 0 * weights)
    assert mean == 0
    assert not dy.any()


@names
def test_nan_is_not_swallowed(
    backend: Backend, scratch: Scratch, dtype: np.dtype, name: str, parameter: float | None
) -> None:
    y, expected = sample(name, (3, 2), dtype)
    y[1, 1] = np.nan
    mean, dy = run(backend, scratch, name, y, expected, parameter)
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


@pytest.mark.parametrize("label", [-1, 3, 10**9, -(2**62)])
@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_a_label_that_is_no_class_gives_nan_and_is_not_followed(
    backend: Backend, scratch: Scratch, dtype: np.dtype, name: str, label: int
) -> None:
    y, expected = sample(name, (4, 3), dtype)
    right, alone = run(backend, scratch, name, y, expected, 2.0)
    expected[1] = label
    mean, dy = run(backend, scratch, name, y, expected, 2.0)
    assert np.isnan(mean)
    assert np.isfinite(right)
    np.testing.assert_array_equal(dy[[0, 2, 3]], alone[[0, 2, 3]])
