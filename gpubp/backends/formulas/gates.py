"""Activation functions that multiply x by a gate; their derivatives are computed from x.

`Activation` in entries.py says what each function is given.
"""

from __future__ import annotations

import numpy as np

from gpubp.backends.formulas.entries import Activation, Floats, Temporaries
from gpubp.backends.formulas.normal_cdf import normal_cdf
from gpubp.backends.formulas.sigmoids import sigmoid

GELU_FACTOR = 1.5957691216057308  # 2 sqrt(2 / pi)
GELU_CUBIC = 0.044715
SQRT_HALF_PI_INVERSE = 0.3989422804014327  # 1 / sqrt(2 pi)


def silu(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """y = x sigmoid(x)."""
    sigmoid(x, y, scratch)
    y *= x


def silu_derivative(x: Floats, slope: Floats, scratch: Temporaries) -> None:
    """f' = s (1 + x (1 - s)) with s = sigmoid(x) and 1 - s = sigmoid(-x)."""
    s = scratch(1)
    np.negative(x, out=s)
    sigmoid(s, slope, scratch)
    sigmoid(x, s, scratch)
    slope *= x
    slope += 1
    slope *= s


def gelu(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """y = x P(X <= x) for a standard normal X."""
    normal_cdf(x, y, scratch)
    y *= x


def gelu_derivative(x: Floats, slope: Floats, scratch: Temporaries) -> None:
    """f' = P(X <= x) + x exp(-x^2 / 2) / sqrt(2 pi)."""
    normal_cdf(x, slope, scratch)
    density = scratch(0)
    np.clip(x, -40, 40, out=density)
    density *= density
    density *= -0.5
    np.exp(density, out=density)
    density *= SQRT_HALF_PI_INVERSE
    density *= x
    slope += density


def gelu_tanh(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """y = x sigmoid(u) with u = 2 sqrt(2 / pi) (x + 0.044715 x^3), x held to +-30 in u."""
    gate = scratch(1)
    _gelu_gate(x, gate, scratch(2))
    sigmoid(gate, gate, scratch)
    np.multiply(x, gate, out=y)


def gelu_tanh_derivative(x: Floats, slope: Floats, scratch: Temporaries) -> None:
    """f' = s (1 + x u' (1 - s)) with s = sigmoid(u) and 1 - s = sigmoid(-u)."""
    gate, clipped = scratch(1), scratch(2)
    _gelu_gate(x, gate, clipped)
    np.multiply(clipped, clipped, out=slope)
    slope *= 3 * GELU_CUBIC
    slope += 1
    slope *= clipped
    slope *= GELU_FACTOR  # x u'
    s, rest = clipped, gate
    sigmoid(gate, s, scratch)
    np.negative(gate, out=rest)
    sigmoid(rest, rest, scratch)
    slope *= rest
    slope += 1
    slope *= s


def _gelu_gate(x: Floats, gate: Floats, clipped: Floats) -> None:
    np.clip(x, -30, 30, out=clipped)
    np.multiply(clipped, clipped, out=gate)
    gate *= GELU_FACTOR * GELU_CUBIC
    gate += GELU_FACTOR  # exp feels each rounding: three here
    gate *= clipped


def mish(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """y = x n / (n + r) with n = m^2 + 2 m p, r = 2 p^2, m = exp(min(x,0)), p = exp(-max(x,0))."""
    n, r, m = scratch(0), scratch(1), scratch(2)
    _mish_parts(x, n, r, m, y)
    r += n
    n /= r
    np.multiply(x, n, out=y)


def mish_derivative(x: Floats, slope: Floats, scratch: Temporaries) -> None:
    """f' = t + x (1 - t) (1 + t) sigmoid(x) with t = n / (n + r) and sigmoid(x) = m / (m + p)."""
    n, r, m, p = slope, scratch(0), scratch(1), scratch(2)
    _mish_parts(x, n, r, m, p)
    p += m
    m /= p  # sigmoid(x)
    np.add(n, r, out=p)
    n /= p  # t
    r /= p  # 1 - t
    r *= m
    r *= x
    np.add(n, 1, out=p)
    r *= p
    n += r


def _mish_parts(x: Floats, n: Floats, r: Floats, m: Floats, p: Floats) -> None:
    np.minimum(x, 0, out=m)
    np.exp(m, out=m)
    np.maximum(x, 0, out=p)
    np.negative(p, out=p)
    np.exp(p, out=p)
    np.multiply(p, 2, out=r)
    np.add(m, r, out=n)
    n *= m
    r *= p


GATES = (
    Activation(
        "silu",
        silu,
        silu_derivative,
        keeps="x",
        initializer="he_uniform",
        onnx=(("Sigmoid", ("x",), {}), ("Mul", ("x", 0), {})),
        pytorch="SiLU",
    ),
    Activation(
        "gelu",
        gelu,
        gelu_derivative,
        keeps="x",
        initializer="he_uniform",
        onnx=(
            ("Mul", ("x", 0.5**0.5), {}),
            ("Erf", (0,), {}),
            ("Add", (1, 1.0), {}),
            ("Mul", (2, 0.5), {}),
            ("Mul", ("x", 3), {}),
        ),
        pytorch="GELU",
        pytorch_settings={"approximate": "none"},
    ),
    Activation(
        "gelu_tanh",
        gelu_tanh,
        gelu_tanh_derivative,
        keeps="x",
        initializer="he_uniform",
        onnx=(  # x sigmoid(u)
            ("Mul", ("x", "x"), {}),
            ("Mul", (0, GELU_CUBIC), {}),
            ("Add", (1, 1.0), {}),
            ("Mul", ("x", 2), {}),
            ("Mul", (3, GELU_FACTOR), {}),
            ("Sigmoid", (4,), {}),
            ("Mul", ("x", 5), {}),
        ),
        pytorch="GELU",
        pytorch_settings={"approximate": "tanh"},
    ),
    Activation(
        "mish",
        mish,
        mish_derivative,
        keeps="x",
        initializer="he_uniform",
        onnx=(("Softplus", ("x",), {}), ("Tanh", (0,), {}), ("Mul", ("x", 1), {})),
        pytorch="Mish",
    ),
)
