"""Activation functions in NumPy: the readable specification of `kernels/activations.cuh`.

A forward function is called ``f(x, y, scratch)`` and writes y = f(x), where y may be x for every
function whose backward reads y. A backward function is called ``f(kept, dy, dx, scratch)``, where
`kept` is x or y as `gpubp.nn.activations` says, and writes dx = f'(kept) * dy, where dx may be dy.
``scratch(i)`` is the i-th temporary array of the same length; nothing else is allocated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends.cpu.normal_cdf import normal_cdf

Floats = NDArray[np.floating[Any]]
Temporaries = Callable[[int], Floats]
Forward = Callable[[Floats, Floats, Temporaries], None]
BackwardFunction = Callable[[Floats, Floats, Floats, Temporaries], None]

LEAKY_SLOPE = 0.01
SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772
GELU_FACTOR = 1.5957691216057308  # 2 sqrt(2 / pi)
GELU_CUBIC = 0.044715
SQRT_HALF_PI_INVERSE = 0.3989422804014327  # 1 / sqrt(2 pi)


def identity(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """Y = x."""
    if y is not x:
        np.copyto(y, x)


def identity_backward(y: Floats, dy: Floats, dx: Floats, scratch: Temporaries) -> None:
    """F' = 1."""
    if dx is not dy:
        np.copyto(dx, dy)


def sigmoid(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """Y = 1 / (1 + exp(-x)), as exp(min(x, 0)) / (1 + exp(-|x|)): nothing overflows."""
    bottom = scratch(0)
    np.abs(x, out=bottom)
    np.negative(bottom, out=bottom)
    np.exp(bottom, out=bottom)
    bottom += 1
    np.minimum(x, 0, out=y)
    np.exp(y, out=y)
    y /= bottom


def sigmoid_backward(y: Floats, dy: Floats, dx: Floats, scratch: Temporaries) -> None:
    """F' = y (1 - y)."""
    slope = scratch(0)
    np.subtract(1, y, out=slope)
    slope *= y
    np.multiply(dy, slope, out=dx)


def tanh(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """Y = tanh(x)."""
    np.tanh(x, out=y)


def tanh_backward(y: Floats, dy: Floats, dx: Floats, scratch: Temporaries) -> None:
    """F' = (1 - y) (1 + y)."""
    slope, other = scratch(0), scratch(1)
    np.subtract(1, y, out=slope)
    np.add(1, y, out=other)
    slope *= other
    np.multiply(dy, slope, out=dx)


def exp(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """Y = exp(x)."""
    np.exp(x, out=y)


def exp_backward(y: Floats, dy: Floats, dx: Floats, scratch: Temporaries) -> None:
    """F' = y."""
    np.multiply(dy, y, out=dx)


def relu(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """Y = max(x, 0)."""
    np.maximum(x, 0, out=y)


def relu_backward(y: Floats, dy: Floats, dx: Floats, scratch: Temporaries) -> None:
    """F' = sign(y), as y is never negative."""
    slope = scratch(0)
    np.sign(y, out=slope)
    np.multiply(dy, slope, out=dx)


def leaky_relu(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """Y = max(x, 0.01 x)."""
    small = scratch(0)
    np.multiply(x, LEAKY_SLOPE, out=small)
    np.maximum(x, small, out=y)


def leaky_relu_backward(y: Floats, dy: Floats, dx: Floats, scratch: Temporaries) -> None:
    """F' = 1 where y > 0, else 0.01."""
    slope, rest = scratch(0), scratch(1)
    np.heaviside(y, 0, out=slope)
    np.subtract(1, slope, out=rest)
    rest *= LEAKY_SLOPE
    slope += rest
    np.multiply(dy, slope, out=dx)


def elu(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """Y = max(x, 0) + exp(min(x, 0)) - 1."""
    negative = scratch(0)
    np.minimum(x, 0, out=negative)
    np.expm1(negative, out=negative)
    np.maximum(x, 0, out=y)
    y += negative


def elu_backward(y: Floats, dy: Floats, dx: Floats, scratch: Temporaries) -> None:
    """F' = min(y, 0) + 1."""
    slope = scratch(0)
    np.minimum(y, 0, out=slope)
    slope += 1
    np.multiply(dy, slope, out=dx)


def selu(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """Y = scale (max(x, 0) + alpha (exp(min(x, 0)) - 1))."""
    negative = scratch(0)
    np.minimum(x, 0, out=negative)
    np.expm1(negative, out=negative)
    negative *= SELU_ALPHA
    np.maximum(x, 0, out=y)
    y += negative
    y *= SELU_SCALE


def selu_backward(y: Floats, dy: Floats, dx: Floats, scratch: Temporaries) -> None:
    """F' = scale where y > 0, else y + scale alpha."""
    slope, positive = scratch(0), scratch(1)
    np.heaviside(y, 0, out=positive)
    positive *= SELU_SCALE * (1 - SELU_ALPHA)
    np.minimum(y, 0, out=slope)
    slope += SELU_SCALE * SELU_ALPHA
    slope += positive
    np.multiply(dy, slope, out=dx)


def softplus(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """Y = max(x, 0) + log(1 + exp(-|x|))."""
    rest = scratch(0)
    np.abs(x, out=rest)
    np.negative(rest, out=rest)
    np.exp(rest, out=rest)
    np.log1p(rest, out=rest)
    np.maximum(x, 0, out=y)
    y += rest


def softplus_backward(y: Floats, dy: Floats, dx: Floats, scratch: Temporaries) -> None:
    """F' = 1 - exp(-y)."""
    slope = scratch(0)
    np.negative(y, out=slope)
    np.expm1(slope, out=slope)
    np.negative(slope, out=slope)
    np.multiply(dy, slope, out=dx)


def silu(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """Y = x sigmoid(x)."""
    sigmoid(x, y, scratch)
    y *= x


def silu_backward(x: Floats, dy: Floats, dx: Floats, scratch: Temporaries) -> None:
    """F' = s (1 + x (1 - s)) with s = sigmoid(x)."""
    slope, s = scratch(1), scratch(2)
    sigmoid(x, s, scratch)
    np.subtract(1, s, out=slope)
    slope *= x
    slope += 1
    slope *= s
    np.multiply(dy, slope, out=dx)


def gelu(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """Y = x P(X <= x) for a standard normal X."""
    normal_cdf(x, y, scratch)
    y *= x


def gelu_backward(x: Floats, dy: Floats, dx: Floats, scratch: Temporaries) -> None:
    """F' = P(X <= x) + x exp(-x^2 / 2) / sqrt(2 pi)."""
    slope, density = scratch(3), scratch(0)
    normal_cdf(x, slope, scratch)
    np.clip(x, -40, 40, out=density)
    density *= density
    density *= -0.5
    np.exp(density, out=density)
    density *= SQRT_HALF_PI_INVERSE
    density *= x
    slope += density
    np.multiply(dy, slope, out=dx)


def gelu_tanh(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """Y = x sigmoid(u) with u = 2 sqrt(2 / pi) (x + 0.044715 x^3), x held to +-30 in u."""
    gate = scratch(1)
    _gelu_gate(x, gate, scratch(2))
    sigmoid(gate, gate, scratch)
    np.multiply(x, gate, out=y)


def gelu_tanh_backward(x: Floats, dy: Floats, dx: Floats, scratch: Temporaries) -> None:
    """F' = s (1 + x u' (1 - s)) with s = sigmoid(u) and 1 - s = sigmoid(-u)."""
    gate, clipped, slope = scratch(1), scratch(2), scratch(3)
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
    np.multiply(dy, slope, out=dx)


def _gelu_gate(x: Floats, gate: Floats, clipped: Floats) -> None:
    np.clip(x, -30, 30, out=clipped)
    np.multiply(clipped, clipped, out=gate)
    gate *= GELU_CUBIC
    gate += 1
    gate *= clipped
    gate *= GELU_FACTOR


def softsign(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """Y = x / (1 + |x|)."""
    bottom = scratch(0)
    np.abs(x, out=bottom)
    bottom += 1
    np.divide(x, bottom, out=y)


def softsign_backward(y: Floats, dy: Floats, dx: Floats, scratch: Temporaries) -> None:
    """F' = (1 - |y|)^2."""
    slope = scratch(0)
    np.abs(y, out=slope)
    np.subtract(1, slope, out=slope)
    slope *= slope
    np.multiply(dy, slope, out=dx)


def hard_sigmoid(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """Y = min(max((x + 3) / 6, 0), 1)."""
    np.add(x, 3, out=y)
    y /= 6
    np.clip(y, 0, 1, out=y)


def hard_sigmoid_backward(y: Floats, dy: Floats, dx: Floats, scratch: Temporaries) -> None:
    """F' = 1 / 6 where 0 < y < 1, else 0."""
    slope, above = scratch(0), scratch(1)
    np.subtract(1, y, out=above)
    np.heaviside(above, 0, out=above)
    np.heaviside(y, 0, out=slope)
    slope *= above
    slope /= 6
    np.multiply(dy, slope, out=dx)


def mish(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """Y = x n / (n + r) with n = m^2 + 2 m p, r = 2 p^2, m = exp(min(x,0)), p = exp(-max(x,0))."""
    n, r = scratch(0), scratch(1)
    _mish_parts(x, n, r, scratch(2), scratch(3))
    r += n
    n /= r
    np.multiply(x, n, out=y)


def mish_backward(x: Floats, dy: Floats, dx: Floats, scratch: Temporaries) -> None:
    """F' = t + x (1 - t) (1 + t) sigmoid(x) with t = n / (n + r) and sigmoid(x) = m / (m + p)."""
    n, r, m, p = scratch(0), scratch(1), scratch(2), scratch(3)
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
    np.multiply(dy, n, out=dx)


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


FORWARD: dict[str, Forward] = {
    function.__name__: function
    for function in (
        identity,
        sigmoid,
        tanh,
        exp,
        relu,
        leaky_relu,
        elu,
        selu,
        softplus,
        silu,
        gelu,
        gelu_tanh,
        softsign,
        hard_sigmoid,
        mish,
    )
}
BACKWARD: dict[str, BackwardFunction] = {name: globals()[f"{name}_backward"] for name in FORWARD}
