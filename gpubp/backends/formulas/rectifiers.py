"""Activation functions with one flat end, and none on the other side.

`Activation` in entries.py says what each function is given.
"""

from __future__ import annotations

import numpy as np

from gpubp.backends.formulas.entries import Activation, Floats, Temporaries

LEAKY_SLOPE = 0.01
SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


def relu(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """y = max(x, 0)."""
    np.maximum(x, 0, out=y)


def relu_derivative(y: Floats, slope: Floats, scratch: Temporaries) -> None:
    """f' = sign(y), as y is never negative."""
    np.sign(y, out=slope)


def leaky_relu(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """y = max(x, 0.01 x)."""
    small = scratch(0)
    np.multiply(x, LEAKY_SLOPE, out=small)
    np.maximum(x, small, out=y)


def leaky_relu_derivative(y: Floats, slope: Floats, scratch: Temporaries) -> None:
    """f' = 1 where y > 0, else 0.01."""
    rest = scratch(0)
    np.heaviside(y, 0, out=slope)
    np.subtract(1, slope, out=rest)
    rest *= LEAKY_SLOPE
    slope += rest


def elu(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """y = max(x, 0) + exp(min(x, 0)) - 1."""
    negative = scratch(0)
    np.minimum(x, 0, out=negative)
    np.expm1(negative, out=negative)
    np.maximum(x, 0, out=y)
    y += negative


def elu_derivative(y: Floats, slope: Floats, scratch: Temporaries) -> None:
    """f' = min(y, 0) + 1."""
    np.minimum(y, 0, out=slope)
    slope += 1


def selu(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """y = scale (max(x, 0) + alpha (exp(min(x, 0)) - 1))."""
    negative = scratch(0)
    np.minimum(x, 0, out=negative)
    np.expm1(negative, out=negative)
    negative *= SELU_ALPHA
    np.maximum(x, 0, out=y)
    y += negative
    y *= SELU_SCALE


def selu_derivative(y: Floats, slope: Floats, scratch: Temporaries) -> None:
    """f' = scale where y > 0, else y + scale alpha."""
    positive = scratch(0)
    np.heaviside(y, 0, out=positive)
    positive *= SELU_SCALE * (1 - SELU_ALPHA)
    np.minimum(y, 0, out=slope)
    slope += SELU_SCALE * SELU_ALPHA
    slope += positive


def softplus(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """y = max(x, 0) + log(1 + exp(-|x|))."""
    rest = scratch(0)
    np.abs(x, out=rest)
    np.negative(rest, out=rest)
    np.exp(rest, out=rest)
    np.log1p(rest, out=rest)
    np.maximum(x, 0, out=y)
    y += rest


def softplus_derivative(y: Floats, slope: Floats, scratch: Temporaries) -> None:
    """f' = 1 - exp(-y)."""
    np.negative(y, out=slope)
    np.expm1(slope, out=slope)
    np.negative(slope, out=slope)


def squareplus(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """y = (x + sqrt(x^2 + 4)) / 2, as max(x, 0) + 1 / (h + sqrt(h^2 + 1)) with h = |x| / 2."""
    h, root = scratch(0), scratch(1)
    np.abs(x, out=h)
    h *= 0.5
    np.hypot(h, 1, out=root)
    root += h
    np.divide(1, root, out=root)
    np.maximum(x, 0, out=y)
    y += root


def squareplus_derivative(y: Floats, slope: Floats, scratch: Temporaries) -> None:
    """f' = y / (y + 1 / y)."""
    np.divide(1, y, out=slope)
    slope += y
    np.divide(y, slope, out=slope)


RECTIFIERS = (
    Activation(
        "relu",
        relu,
        relu_derivative,
        keeps="y",
        initializer="he_uniform",
        onnx=(("Relu", ("x",), {}),),
        pytorch="ReLU",
        kinks=(0.0,),
    ),
    Activation(
        "leaky_relu",
        leaky_relu,
        leaky_relu_derivative,
        keeps="y",
        initializer="he_uniform",
        onnx=(("LeakyRelu", ("x",), {"alpha": LEAKY_SLOPE}),),
        pytorch="LeakyReLU",
        pytorch_settings={"negative_slope": LEAKY_SLOPE},
        kinks=(0.0,),
    ),
    Activation(
        "elu",
        elu,
        elu_derivative,
        keeps="y",
        initializer="he_uniform",
        onnx=(("Elu", ("x",), {"alpha": 1.0}),),
        pytorch="ELU",
        pytorch_settings={"alpha": 1.0},
    ),
    Activation(
        "selu",
        selu,
        selu_derivative,
        keeps="y",
        initializer="lecun_normal",
        onnx=(("Selu", ("x",), {"alpha": SELU_ALPHA, "gamma": SELU_SCALE}),),
        pytorch="SELU",
        kinks=(0.0,),
    ),
    Activation(
        "softplus",
        softplus,
        softplus_derivative,
        keeps="y",
        initializer="he_uniform",
        onnx=(("Softplus", ("x",), {}),),
        pytorch="Softplus",
        pytorch_settings={"beta": 1, "threshold": 20},  # beyond 20 both are x, to rounding
    ),
    Activation(
        "squareplus",
        squareplus,
        squareplus_derivative,
        keeps="y",
        initializer="he_uniform",
        onnx=(
            ("Abs", ("x",), {}),
            ("Mul", (0, 0.5), {}),  # h
            ("Mul", (1, 1), {}),
            ("Add", (2, 1.0), {}),
            ("Sqrt", (3,), {}),
            ("Add", (1, 4), {}),
            ("Reciprocal", (5,), {}),
            ("Relu", ("x",), {}),
            ("Add", (7, 6), {}),
        ),
    ),
)
