"""Loss functions in NumPy: the readable specification of `kernels/losses.cuh`.

Each is called ``loss(y, expected, dy, total, scratch)`` with y and dy of shape (batch, outputs),
y being the logits where the name ends in cross_entropy; it writes the gradient of every row's loss
into dy and the sum of the losses of all rows into `total`, shape (). The backend divides by the
batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpubp.backends._numpy_functions import sigmoid
from gpubp.backends.protocol import Array, Scratch

Loss = Callable[[Array, Array, Array, Array, Scratch], None]


def squared_error(y: Array, expected: Array, dy: Array, total: Array, scratch: Scratch) -> None:
    """1/2 (y - expected)^2, with gradient y - expected."""
    terms = scratch("loss terms", y.shape, y.dtype)
    np.subtract(y, expected, out=dy)
    np.multiply(dy, dy, out=terms)
    terms *= 0.5
    np.sum(terms, out=total)


def absolute_error(y: Array, expected: Array, dy: Array, total: Array, scratch: Scratch) -> None:
    """|y - expected|, with gradient sign(y - expected)."""
    terms = scratch("loss terms", y.shape, y.dtype)
    np.subtract(y, expected, out=dy)
    np.abs(dy, out=terms)
    np.sum(terms, out=total)
    np.sign(dy, out=dy)


def huber(y: Array, expected: Array, dy: Array, total: Array, scratch: Scratch) -> None:
    """1/2 d^2 where |d| <= 1, else |d| - 1/2; with c = d held to +-1 that is c (d - c / 2)."""
    difference = scratch("loss terms", y.shape, y.dtype)
    product = scratch("loss product", y.shape, y.dtype)
    np.subtract(y, expected, out=difference)
    np.clip(difference, -1, 1, out=dy)
    np.multiply(dy, 0.5, out=product)
    difference -= product
    difference *= dy
    np.sum(difference, out=total)


def binary_cross_entropy(
    z: Array, expected: Array, dz: Array, total: Array, scratch: Scratch
) -> None:
    """max(z, 0) - z t + log(1 + exp(-|z|)) on logits, with gradient sigmoid(z) - t."""
    terms = scratch("loss terms", z.shape, z.dtype)
    product = scratch("loss product", z.shape, z.dtype)
    np.abs(z, out=terms)
    np.negative(terms, out=terms)
    np.exp(terms, out=terms)
    np.log1p(terms, out=terms)
    np.maximum(z, 0, out=product)
    terms += product
    np.multiply(z, expected, out=product)
    terms -= product
    np.sum(terms, out=total)
    sigmoid(z, dz, lambda _: product)
    dz -= expected


def cross_entropy(z: Array, expected: Array, dz: Array, total: Array, scratch: Scratch) -> None:
    """-sum(t log softmax(z)) on logits against probabilities t, with gradient softmax(z) - t."""
    terms = scratch("loss terms", z.shape, z.dtype)
    _log_softmax(z, dz, terms, scratch)
    np.multiply(dz, expected, out=terms)
    np.sum(terms, out=total)
    np.negative(total, out=total)
    np.exp(dz, out=dz)
    dz -= expected


def class_cross_entropy(
    z: Array, expected: Array, dz: Array, total: Array, scratch: Scratch
) -> None:
    """-log softmax(z)[expected] on logits against class indices, shape (batch,)."""
    rows, columns = z.shape
    terms = scratch("loss terms", z.shape, z.dtype)
    _log_softmax(z, dz, terms, scratch)
    at = scratch("loss index", (rows,), np.dtype(np.intp))
    np.multiply(scratch.arange(rows), columns, out=at)
    at += expected
    picked = scratch("loss row", (rows,), z.dtype)
    flat = dz.reshape(-1)
    np.take(flat, at, out=picked, mode="clip")
    np.sum(picked, out=total)
    np.negative(total, out=total)
    np.exp(dz, out=dz)
    np.take(flat, at, out=picked, mode="clip")
    picked -= 1
    np.put(flat, at, picked, mode="clip")


def _log_softmax(z: Array, out: Array, terms: Array, scratch: Scratch) -> None:
    row = scratch("softmax row", (len(z), 1), z.dtype)
    np.max(z, axis=1, keepdims=True, out=row)
    np.subtract(z, row, out=out)
    np.exp(out, out=terms)
    np.sum(terms, axis=1, keepdims=True, out=row)
    np.log(row, out=row)
    out -= row


LOSSES: dict[str, Loss] = {
    "squared_error": squared_error,
    "absolute_error": absolute_error,
    "huber": huber,
    "binary_cross_entropy": binary_cross_entropy,
    "cross_entropy": cross_entropy,
    "class_cross_entropy": class_cross_entropy,
}
