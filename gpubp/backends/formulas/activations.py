"""The table of activation functions, and those of them that are made for outputs.

`Activation` in entries.py says what each function is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpubp.backends.formulas.entries import Activation, Floats, Temporaries
from gpubp.backends.formulas.gates import GATES
from gpubp.backends.formulas.rectifiers import RECTIFIERS
from gpubp.backends.formulas.sigmoids import SIGMOIDS

if TYPE_CHECKING:
    from gpubp.backends.scratch import Array, Scratch


def identity(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """y = x."""
    if y is not x:
        np.copyto(y, x)


def identity_derivative(y: Floats, slope: Floats, scratch: Temporaries) -> None:
    """f' = 1."""
    slope.fill(1)


def exp(x: Floats, y: Floats, scratch: Temporaries) -> None:
    """y = exp(x)."""
    np.exp(x, out=y)


def exp_derivative(y: Floats, slope: Floats, scratch: Temporaries) -> None:
    """f' = y."""
    np.copyto(slope, y)


def softmax(z: Array, y: Array, scratch: Scratch) -> None:
    """y = exp(z - max(z)) / sum(exp(z - max(z))) over each row."""
    row = scratch("softmax row", (len(z), 1), z.dtype)
    np.max(z, axis=1, keepdims=True, out=row)
    np.subtract(z, row, out=y)
    np.exp(y, out=y)
    np.sum(y, axis=1, keepdims=True, out=row)
    y /= row


def softmax_backward(y: Array, dy: Array, dz: Array, scratch: Scratch) -> None:
    """dz = y (dy - sum(dy y))."""
    row = scratch("softmax row", (len(y), 1), y.dtype)
    product = scratch("softmax product", y.shape, y.dtype)
    np.multiply(dy, y, out=product)
    np.sum(product, axis=1, keepdims=True, out=row)
    np.subtract(dy, row, out=dz)
    dz *= y


OUTPUTS = (
    Activation(
        "identity",
        identity,
        identity_derivative,
        keeps="y",
        initializer="glorot_uniform",
        onnx=(),
        pytorch="Identity",
    ),
    Activation(
        "exp",
        exp,
        exp_derivative,
        keeps="y",
        initializer="glorot_uniform",
        onnx=(("Exp", ("x",), {}),),
    ),
    Activation(
        "softmax",
        softmax,
        softmax_backward,
        keeps="y",
        initializer="glorot_uniform",
        onnx=(("Softmax", ("x",), {"axis": 1}),),
        pytorch="Softmax",
        pytorch_settings={"dim": (1, -1)},
        whole_rows=True,
    ),
)
ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation for activation in (*OUTPUTS, *SIGMOIDS, *RECTIFIERS, *GATES)
}
