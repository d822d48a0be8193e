"""Activation functions and their derivatives in extended precision, and where to compare them.

The formulas are the textbook ones, written without regard for speed. They are computed in
`numpy.longdouble`, which on x86 has eleven bits more than float64; where it has none more, only
float32 can be judged by them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mpmath
import numpy as np

Wide = np.ndarray  # of numpy.longdouble

EXTENDED = np.finfo(np.longdouble).nmant > np.finfo(np.float64).nmant
PI = np.longdouble("3.14159265358979323846264338327950288")
SELU_SCALE = np.longdouble("1.05070098735548049341933498529460")
SELU_ALPHA = np.longdouble("1.67326324235437728481704296540046")
GELU_FACTOR = np.sqrt(2 / PI)
GELU_CUBIC = np.longdouble("0.044715")
SLOPE = np.longdouble("0.01")


def sigmoid(x: Wide) -> Wide:
    return 1 / (1 + np.exp(-x))


def softplus(x: Wide) -> Wide:
    return np.log1p(np.exp(-abs(x))) + np.maximum(x, 0)


def normal_cdf(x: Wide) -> Wide:
    """P(X <= x), by mpmath with 25 digits; zero below -150, where it is under 1e-4900."""

    def one(value: float) -> np.longdouble:
        if not -150 <= value <= 10:
            return np.longdouble(value > 0)
        with mpmath.workdps(25):
            return np.longdouble(mpmath.nstr(mpmath.ncdf(value), 25))

    distinct, where = np.unique(x.astype(np.float64), return_inverse=True)
    return np.array([one(value) for value in distinct.tolist()])[where]


def normal_density(x: Wide) -> Wide:
    return np.exp(-x * x / 2) / np.sqrt(2 * PI)


def gelu_gate(x: Wide) -> Wide:
    """2 u, so that (1 + tanh(u)) / 2 = sigmoid(2 u)."""
    return 2 * GELU_FACTOR * (x + GELU_CUBIC * x**3)


def gelu_tanh_derivative(x: Wide) -> Wide:
    near = np.clip(x, -200, 200)  # beyond, the derivative is 0 or 1; x**3 would overflow
    slope = 2 * GELU_FACTOR * (1 + 3 * GELU_CUBIC * near**2)
    gate = gelu_gate(near)
    return sigmoid(gate) * (1 + near * slope * sigmoid(-gate))


def mish_derivative(x: Wide) -> Wide:
    soft = softplus(x)
    return np.tanh(soft) + np.clip(x, -1e4, 1e4) * sigmoid(x) / np.cosh(np.minimum(soft, 1e4)) ** 2


@dataclass(frozen=True)
class Truth:
    """A function of x, and its derivative as a function of what is kept: y, or x."""

    forward: Callable[[Wide], Wide]
    derivative: Callable[[Wide], Wide]
    keeps: str = "y"


TRUTHS: dict[str, Truth] = {
    "identity": Truth(lambda x: x, np.ones_like),
    "sigmoid": Truth(sigmoid, lambda y: y * (1 - y)),
    "tanh": Truth(np.tanh, lambda y: (1 - y) * (1 + y)),
    "exp": Truth(np.exp, lambda y: y),
    "relu": Truth(lambda x: np.maximum(x, 0), lambda y: np.where(y > 0, 1, np.longdouble(0))),
    "leaky_relu": Truth(lambda x: np.maximum(x, SLOPE * x), lambda y: np.where(y > 0, 1, SLOPE)),
    "elu": Truth(lambda x: np.where(x > 0, x, np.expm1(x)), lambda y: np.where(y > 0, 1, y + 1)),
    "selu": Truth(
        lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(x)),
        lambda y: np.where(y > 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA),
    ),
    "softplus": Truth(softplus, lambda y: -np.expm1(-y)),
    "squareplus": Truth(
        lambda x: np.maximum(x, 0) + 2 / (abs(x) + np.sqrt(x * x + 4)), lambda y: y**2 / (y**2 + 1)
    ),
    "silu": Truth(
        lambda x: x * sigmoid(x),
        lambda x: sigmoid(x) * (1 + np.clip(x, -1e4, 1e4) * sigmoid(-x)),
        keeps="x",
    ),
    "gelu": Truth(
        lambda x: x * normal_cdf(x),
        lambda x: normal_cdf(x) + x * normal_density(np.clip(x, -200, 200)),
        keeps="x",
    ),
    "gelu_tanh": Truth(
        lambda x: x * sigmoid(gelu_gate(np.clip(x, -200, 200))), gelu_tanh_derivative, keeps="x"
    ),
    "softsign": Truth(lambda x: x / (1 + abs(x)), lambda y: (1 - abs(y)) ** 2),
    "hard_sigmoid": Truth(
        lambda x: np.clip(x / 6 + np.longdouble(0.5), 0, 1),
        lambda y: np.where((y > 0) & (y < 1), 1 / np.longdouble(6), 0),
    ),
    "mish": Truth(lambda x: x * np.tanh(softplus(x)), mish_derivative, keeps="x"),
}
FORWARD = {name: truth.forward for name, truth in TRUTHS.items()}
DERIVATIVE = {name: truth.derivative for name, truth in TRUTHS.items()}
KEEPS_INPUT = tuple(name for name, truth in TRUTHS.items() if truth.keeps == "x")


def points(dtype: np.dtype, subnormal: bool = True) -> np.ndarray:
    """Return finite inputs: dense near zero, random, and every size from the smallest up."""
    limits = np.finfo(dtype)
    sizes = 2.0 ** np.arange(np.log2(float(limits.smallest_subnormal)), np.log2(limits.max))
    sizes = np.concatenate([[0, 1e4, limits.max, limits.tiny], sizes, 1.37 * sizes])
    rng = np.random.default_rng(0)
    values = [np.linspace(-20, 20, 2001), 5 * rng.standard_normal(1500), sizes, -sizes]
    values.append(np.linspace(-110, 110, 441))
    x = np.concatenate(values).astype(dtype)
    return x if subnormal else x[(x == 0) | (abs(x) >= limits.tiny)]


def kept_points(name: str, dtype: np.dtype, subnormal: bool = True) -> np.ndarray:
    """Return what a backward function may be given: inputs, or outputs rounded to the dtype."""
    x = points(dtype, subnormal)
    if name in KEEPS_INPUT:
        return x
    with np.errstate(all="ignore"):
        y = FORWARD[name](x.astype(np.longdouble)).astype(dtype)
    return y[np.isfinite(y) & (subnormal | (y == 0) | (abs(y) >= np.finfo(dtype).tiny))]


def units(result: np.ndarray, exact: Wide, floor: float) -> np.ndarray:
    """Return |result - exact| in units in the last place of max(|exact|, floor)."""
    _, exponent = np.frexp(np.maximum(abs(exact), floor))
    unit = np.ldexp(np.longdouble(1), exponent - 1 - np.finfo(result.dtype).nmant)
    return (abs(result - exact) / unit).astype(np.float64)
