"""Activation functions, derivatives and whole-layer passes, on every backend, against the truth."""

from __future__ import annotations

import numpy as np
import pytest

import activation_truth as truth
from gpubp.backends import Backend, Scratch
from gpubp.backends.gpu.kernel_table import ACTIVATE, ACTIVATE_IN_PLACE, BACKWARD
from gpubp.nn import activations
from tolerances import ACTIVATIONS, assert_close, note_error, stated_bounds

NAMES = tuple(ACTIVATIONS)
names = pytest.mark.parametrize("name", NAMES)
# a derivative that reads neither x nor y cannot pass a NaN on
CONSTANT = ("identity",)


def forward(backend: Backend, scratch: Scratch, name: str, x: np.ndarray) -> np.ndarray:
    """Run one activation on a row of inputs."""
    z = backend.asarray(x.reshape(1, -1).copy())
    y = backend.xp.empty_like(z)
    backend.activate(name, z, backend.xp.zeros(x.size, x.dtype), y, scratch)
    np.testing.assert_array_equal(backend.to_numpy(z)[0], x)
    return backend.to_numpy(y)[0]


def backward(backend: Backend, scratch: Scratch, name: str, kept: np.ndarray) -> np.ndarray:
    """Run one derivative on a row of kept values, for an incoming gradient of one."""
    xp = backend.xp
    row = backend.asarray(kept.reshape(1, -1))
    dz = xp.empty_like(row)
    dbias = xp.empty(kept.size, kept.dtype)
    backend.activate_backward(name, row, xp.ones_like(row), dz, dbias, scratch)
    np.testing.assert_array_equal(backend.to_numpy(dz)[0], backend.to_numpy(dbias))
    return backend.to_numpy(dz)[0]


def test_every_table_has_the_same_functions() -> None:
    known = {name for name, one in activations.ACTIVATIONS.items() if not one.whole_rows}
    assert set(NAMES) == known == set(truth.TRUTHS) == set(ACTIVATE) == set(BACKWARD)
    keeps = {name: activations.ACTIVATIONS[name].keeps for name in NAMES}
    assert keeps == {name: one.keeps for name, one in truth.TRUTHS.items()}
    assert set(ACTIVATE_IN_PLACE) == {name for name in NAMES if keeps[name] == "y"}
    stated = {name: kept for name, (kept, _) in stated_bounds().items()}
    assert stated == keeps | dict.fromkeys(CONSTANT, "-")


@names
def test_activation_is_within_its_bound(
    backend: Backend, scratch: Scratch, dtype: np.dtype, name: str
) -> None:
    subnormal = _subnormal(backend)
    x, exact = _representable(truth.FORWARD[name], truth.points(dtype, subnormal), subnormal)
    bound = ACTIVATIONS[name]
    with np.errstate(all="ignore"):
        y = forward(backend, scratch, name, x)
    _assert_within(x, y, exact, bound.forward, bound.forward_floor)


def test_the_slope_of_silu_keeps_its_digits_where_sigmoid_is_all_but_one(
    backend: Backend, scratch: Scratch, dtype: np.dtype
) -> None:
    """s (1 + x (1 - s)) cancels in 1 - s around 36.7, in float32 around 16.6."""
    x = np.linspace(12, 40, 20_001).astype(dtype)
    wide = x.astype(np.longdouble)
    s = 1 / (1 + np.exp(-wide))
    exact = s * (1 + wide / (1 + np.exp(wide)))
    found = backward(backend, scratch, "silu", x)
    off = np.abs(found - exact) / np.spacing(exact.astype(dtype))
    assert off.max() < 4


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh"])
def test_gelu_keeps_its_bound_where_its_gate_is_small(
    backend: Backend, scratch: Scratch, dtype: np.dtype, name: str
) -> None:
    """The gate is exp of a rounded number there, and counts that number's error 5 to 15 times."""
    x = np.linspace(-3.6, -2.2, 20_001).astype(dtype)
    exact = truth.FORWARD[name](x.astype(np.longdouble))
    y = forward(backend, scratch, name, x)
    bound = ACTIVATIONS[name]
    _assert_within(x, y, exact, bound.forward, bound.forward_floor)


@names
def test_derivative_is_within_its_bound(
    backend: Backend, scratch: Scratch, dtype: np.dtype, name: str
) -> None:
    subnormal = _subnormal(backend)
    points = truth.kept_points(name, dtype, subnormal)
    kept, exact = _representable(truth.DERIVATIVE[name], points, subnormal)
    bound = ACTIVATIONS[name]
    with np.errstate(all="ignore"):
        slope = backward(backend, scratch, name, kept)
    _assert_within(kept, slope, exact, bound.backward, bound.backward_floor)


@names
def test_derivative_is_that_of_the_activation(name: str) -> None:
    """The truths agree with each other: central differences in extended precision."""
    x = np.linspace(-6.02, 6.03, 241).astype(np.longdouble)
    step = np.longdouble(1e-5)
    f = truth.FORWARD[name]
    kept = x if name in truth.KEEPS_INPUT else f(x)
    # mpmath's argument is a float64, so the rounding of x +- step must not enter the difference
    low, high = (x - step).astype(np.float64), (x + step).astype(np.float64)
    slope = (f(high.astype(np.longdouble)) - f(low.astype(np.longdouble))) / (high - low)
    np.testing.assert_allclose(
        truth.DERIVATIVE[name](kept).astype(float), slope.astype(float), rtol=0, atol=1e-8
    )


@pytest.mark.parametrize("name", [name for name in NAMES if name != "exp"])
def test_large_inputs_give_no_warning_and_nothing_that_is_not_finite(
    backend: Backend, scratch: Scratch, dtype: np.dtype, name: str
) -> None:
    x = np.array([-1e4, -1e3, -100, -30, 30, 100, 1e3, 1e4], dtype)
    y = forward(backend, scratch, name, x)
    assert np.isfinite(y).all()
    kept = x if name in truth.KEEPS_INPUT else y
    assert np.isfinite(backward(backend, scratch, name, kept)).all()


@names
def test_nan_gives_nan(backend: Backend, scratch: Scratch, dtype: np.dtype, name: str) -> None:
    x = np.array([np.nan, 1.0], dtype)
    with np.errstate(all="ignore"):
        y = forward(backend, scratch, name, x)
        slope = backward(backend, scratch, name, x)
    assert np.isnan(y).tolist() == [True, False]
    assert np.isnan(slope).tolist() == [name not in CONSTANT, False]


@names
def test_infinity_gives_the_limit_or_nan(
    backend: Backend, scratch: Scratch, dtype: np.dtype, name: str
) -> None:
    x = np.array([-np.inf, np.inf], dtype)
    limits = _limits(truth.FORWARD[name])
    with np.errstate(all="ignore"):
        y = forward(backend, scratch, name, x)
        _assert_limit_or_nan(y, limits, dtype)
        if name not in CONSTANT and np.isinf(limits).any():
            kept = x if name in truth.KEEPS_INPUT else limits.astype(dtype)
            slopes = _limits(lambda x: _slope(name, x))
            _assert_limit_or_nan(backward(backend, scratch, name, kept), slopes, dtype)


def _subnormal(backend: Backend) -> bool:
    """Whether numbers below the smallest normal one count: CuPy compiles with -ftz=true."""
    return backend.name == "cpu"


def _representable(function, points: np.ndarray, subnormal: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the points whose exact value the dtype can hold, and those values.

    Where float32 numbers below the smallest normal one do not count, those values are 0.
    """
    if points.dtype == np.float64 and not truth.EXTENDED:
        pytest.skip("this machine's longdouble has no more digits than float64")
    with np.errstate(all="ignore"):
        exact = function(points.astype(np.longdouble))
    if points.dtype == np.float32 and not subnormal:
        exact = np.where(abs(exact) < np.finfo(np.float32).tiny, 0, exact)
    fits = abs(exact) <= np.finfo(points.dtype).max / 2  # README: exp may be infinite beyond
    return points[fits], exact[fits]


def _assert_within(
    x: np.ndarray, result: np.ndarray, exact: np.ndarray, bound: float, floor: float
) -> None:
    assert np.isfinite(result).all(), f"not finite at {x[~np.isfinite(result)][:5]}"
    error = truth.units(result, exact, max(floor, float(np.finfo(result.dtype).tiny)))
    worst = int(np.argmax(error))
    note_error(error[worst])
    assert error[worst] <= bound, (
        f"{error[worst]:.2f} units at {x[worst]!r}: {result[worst]!r}, not {exact[worst]!r}"
    )


def _slope(name: str, x: np.ndarray) -> np.ndarray:
    return truth.DERIVATIVE[name](x if name in truth.KEEPS_INPUT else truth.FORWARD[name](x))


def _limits(function) -> np.ndarray:
    with np.errstate(all="ignore"):
        values = function(np.array([-1e30, 1e30], np.longdouble))
    values[abs(values) > 1e20] *= np.inf
    return values


def _assert_limit_or_nan(result: np.ndarray, limits: np.ndarray, dtype: np.dtype) -> None:
    near = np.isclose(
        result, limits.astype(dtype), rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps
    )
    assert (near | np.isnan(result)).all(), f"{result}, not {limits}"


@pytest.mark.parametrize("in_place", [False, True], ids=["apart", "in-place"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (32, 7), (33, 130), (100, 1), (400, 100)])
@pytest.mark.parametrize("name", ["tanh", "silu", "softmax"])
def test_backward_sums_the_bias_gradient(
    backend: Backend,
    scratch: Scratch,
    dtype: np.dtype,
    name: str,
    shape: tuple[int, int],
    in_place: bool,
) -> None:
    rng = np.random.default_rng(1)
    kept = np.tanh(rng.standard_normal(shape)).astype(dtype)
    if name == "softmax":
        kept = np.exp(kept) / np.exp(kept).sum(axis=1, keepdims=True)
    dy = rng.standard_normal(shape).astype(dtype)
    k, d = kept.astype(np.longdouble), dy.astype(np.longdouble)
    if name == "softmax":
        exact = k * (d - (d * k).sum(axis=1, keepdims=True))
    else:
        exact = truth.DERIVATIVE[name](k.reshape(-1)).reshape(shape) * d
    incoming = backend.asarray(dy)
    dz = incoming if in_place else backend.xp.empty_like(incoming)
    dbias = backend.xp.empty(shape[1], dtype)
    backend.activate_backward(name, backend.asarray(kept), incoming, dz, dbias, scratch)
    assert_close(backend.to_numpy(dz), exact)
    # sums of up to 400 numbers of either sign, rounded one by one
    allowed = 400 * np.finfo(dtype).eps * np.abs(exact).max(initial=0.1)
    np.testing.assert_allclose(
        backend.to_numpy(dbias), exact.sum(axis=0).astype(float), rtol=0, atol=float(allowed)
    )


@pytest.mark.parametrize("name", ["relu", "sigmoid", "gelu", "softmax"])
@pytest.mark.parametrize("in_place", [False, True], ids=["apart", "in-place"])
def test_activate_adds_the_bias(
    backend: Backend, scratch: Scratch, dtype: np.dtype, name: str, in_place: bool
) -> None:
    if in_place and name == "gelu":
        pytest.skip("its derivative needs z, so z and y are two arrays")
    rng = np.random.default_rng(2)
    z, bias = rng.standard_normal((37, 11)).astype(dtype), rng.standard_normal(11).astype(dtype)
    wide = z.astype(np.longdouble) + bias
    if name == "softmax":
        exact = np.exp(wide) / np.exp(wide).sum(axis=1, keepdims=True)
    else:
        exact = truth.FORWARD[name](wide.reshape(-1)).reshape(z.shape)
    logits = backend.asarray(z.copy())
    y = logits if in_place else backend.xp.empty_like(logits)
    backend.activate(name, logits, backend.asarray(bias), y, scratch)
    assert_close(backend.to_numpy(y), exact)
    if not in_place:
        np.testing.assert_array_equal(backend.to_numpy(logits), z + bias)


def test_softmax_of_large_logits(backend: Backend, scratch: Scratch, dtype: np.dtype) -> None:
    z = backend.asarray(np.array([[1e4, -1e4, 1e4], [-1e4, -1e4, -1e4]], dtype))
    y = backend.xp.empty_like(z)
    backend.activate("softmax", z, backend.xp.zeros(3, dtype), y, scratch)
    assert_close(backend.to_numpy(y), np.array([[0.5, 0, 0.5], [1 / 3, 1 / 3, 1 / 3]]))
