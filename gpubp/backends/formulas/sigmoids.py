"""Activation functions with two flat ends.

`Activation` in entries.py says what each function is given.
"""

from __future__ import annotations

import numpy as np

from gpubp.backends.formulas.entries import Activation, Floats, Temporaries


def sigmoid(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """y = 1 / (1 + exp(-x)), as exp(min(x, 0)) / (1 + exp(-|x|)): nothing overflows."""
    bottom = scratch(0)
    np.abs(x, out=bottom)
    np.negative(bottom, out=bottom)
    np.exp(bottom, out=bottom)
    bottom += 1
    np.minimum(x, 0, out=y)
    np.exp(y, out=y)
    y /= bottom


def sigmoid_derivative(y: Floats, slope: Floats, scratch: Temporaries) -> None:
    """f' = y (1 - y)."""
    np.subtract(1, y, out=slope)
    slope *= y


def tanh(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """y = tanh(x)."""
    np.tanh(x, out=y)


def tanh_derivative(y: Floats, slope: Floats, scratch: Temporaries) -> None:
    """f' = (1 - y) (1 + y)."""
    other = scratch(0)
    np.subtract(1, y, out=slope)
    np.add(1, y, out=other)
    slope *= other


def softsign(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """y = x / (1 + |x|)."""
    bottom = scratch(0)
    np.abs(x, out=bottom)
    bottom += 1
    np.divide(x, bottom, out=y)


def softsign_derivative(y: Floats, slope: Floats, scratch: Temporaries) -> None:
    """f' = (1 - |y|)^2."""
    np.abs(y, out=slope)
    np.subtract(1, slope, out=slope)
    slope *= slope


def hard_sigmoid(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """y = min(max((x + 3) / 6, 0), 1)."""
    np.add(x, 3, out=y)
    y /= 6
    np.clip(y, 0, 1, out=y)


def hard_sigmoid_derivative(y: Floats, slope: Floats, scratch: Temporaries) -> None:
    """f' = 1 / 6 where 0 < y < 1, else 0."""
    above = scratch(0)
    np.subtract(1, y, out=above)
    np.heaviside(above, 0, out=above)
    np.heaviside(y, 0, out=slope)
    slope *= above
    slope /= 6


SIGMOIDS = (
    Activation(
        "sigmoid",
        sigmoid,
        sigmoid_derivative,
        keeps="y",
        initializer="glorot_uniform",
        onnx=(("Sigmoid", ("x",), {}),),
        pytorch="Sigmoid",
        peak_slope=0.25,
    ),
    Activation(
        "tanh",
        tanh,
        tanh_derivative,
        keeps="y",
        initializer="glorot_uniform",
        onnx=(("Tanh", ("x",), {}),),
        pytorch="Tanh",
        peak_slope=1.0,
    ),
    Activation(
        "softsign",
        softsign,
        softsign_derivative,
        keeps="y",
        initializer="glorot_uniform",
        onnx=(("Softsign", ("x",), {}),),
        pytorch="Softsign",
        peak_slope=1.0,
    ),
    Activation(
        "hard_sigmoid",
        hard_sigmoid,
        hard_sigmoid_derivative,
        keeps="y",
        initializer="glorot_uniform",
        onnx=(("HardSigmoid", ("x",), {"alpha": 1 / 6, "beta": 0.5}),),
        pytorch="Hardsigmoid",
        kinks=(-3.0, 3.0),
        peak_slope=1 / 6,
    ),
)
