"""Loss functions in NumPy: the readable specification of `kernels/losses.cuh`, and their table.

`LossFunction` in entries.py says what each function is given. The backend weighs the rows and
divides by the batch.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gpubp.backends.formulas.entries import LossFunction
from gpubp.backends.formulas.rectifiers import softplus
from gpubp.backends.formulas.sigmoids import sigmoid
from gpubp.backends.formulas.softmax_losses import (
    class_cross_entropy,
    class_focal,
    class_smoothed_cross_entropy,
    cross_entropy,
    focal,
    smoothed_cross_entropy,
)

if TYPE_CHECKING:
    from gpubp.backends.scratch import Array, Scratch


def squared_error(
    y: Array, expected: Array, dy: Array, rows: Array, parameter: float, scratch: Scratch
) -> None:
    """1/2 (y - expected)^2, with gradient y - expected."""
    terms = scratch("loss terms", y.shape, y.dtype)
    np.subtract(y, expected, out=dy)
    np.multiply(dy, dy, out=terms)
    terms *= 0.5
    np.sum(terms, axis=1, out=rows)


def absolute_error(
    y: Array, expected: Array, dy: Array, rows: Array, parameter: float, scratch: Scratch
) -> None:
    """|y - expected|, with gradient sign(y - expected)."""
    terms = scratch("loss terms", y.shape, y.dtype)
    np.subtract(y, expected, out=dy)
    np.abs(dy, out=terms)
    np.sum(terms, axis=1, out=rows)
    np.sign(dy, out=dy)


def huber(
    y: Array, expected: Array, dy: Array, rows: Array, delta: float, scratch: Scratch
) -> None:
    """1/2 d^2 where |d| <= delta, else delta (|d| - delta / 2); with c = d held, c (d - c / 2)."""
    difference = scratch("loss terms", y.shape, y.dtype)
    product = scratch("loss product", y.shape, y.dtype)
    np.subtract(y, expected, out=difference)
    np.clip(difference, -delta, delta, out=dy)
    np.multiply(dy, 0.5, out=product)
    difference -= product
    difference *= dy
    np.sum(difference, axis=1, out=rows)


def quantile(y: Array, expected: Array, dy: Array, rows: Array, q: float, scratch: Scratch) -> None:
    """s d, the slope s being 1 - q above the expected value and -q below it."""
    difference = scratch("loss terms", y.shape, y.dtype)
    np.subtract(y, expected, out=difference)
    np.sign(difference, out=dy)  # (sign + |sign|) / 2 - q |sign|, with NaN kept
    size = scratch("loss product", y.shape, y.dtype)
    np.abs(dy, out=size)
    dy *= 0.5
    size *= 0.5 - q
    dy += size
    difference *= dy
    np.sum(difference, axis=1, out=rows)


def poisson(
    z: Array, expected: Array, dz: Array, rows: Array, parameter: float, scratch: Scratch
) -> None:
    """Half the Poisson deviance on logits, exp(z) - t + t (log(t) - z), gradient exp(z) - t."""
    terms = scratch("loss terms", z.shape, z.dtype)
    np.maximum(expected, np.finfo(z.dtype).tiny, out=terms)  # t log(t) is 0 for t = 0
    np.log(terms, out=terms)
    terms -= z
    terms *= expected
    np.exp(z, out=dz)
    dz -= expected
    terms += dz
    np.sum(terms, axis=1, out=rows)


def binary_cross_entropy(
    z: Array, expected: Array, dz: Array, rows: Array, parameter: float, scratch: Scratch
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
    np.sum(terms, axis=1, out=rows)
    sigmoid(z, dz, lambda _: product)
    dz -= expected


def smoothed_binary_cross_entropy(
    z: Array, expected: Array, dz: Array, rows: Array, smoothing: float, scratch: Scratch
) -> None:
    """Binary cross-entropy against (1 - s) t + s / 2."""
    targets = scratch("loss targets", z.shape, z.dtype)
    np.multiply(expected, 1 - smoothing, out=targets)
    targets += smoothing / 2
    binary_cross_entropy(z, targets, dz, rows, 0.0, scratch)


def binary_focal(
    z: Array, expected: Array, dz: Array, rows: Array, gamma: float, scratch: Scratch
) -> None:
    """-t (1 - p)^gamma log(p) - (1 - t) p^gamma log(1 - p) on logits, with p = sigmoid(z)."""
    names = ("p", "log p", "other", "power", "share", "terms", "temporary")
    p, log_p, other, power, share, terms, temporary = (
        scratch(f"loss {name}", z.shape, z.dtype) for name in names
    )

    def room(number: int) -> Array:
        return power

    dz.fill(0)
    terms.fill(0)
    for sign in (1, -1):  # t and p, then 1 - t and 1 - p
        np.multiply(z, sign, out=temporary)
        sigmoid(temporary, p, room)
        np.negative(temporary, out=temporary)
        sigmoid(temporary, other, room)
        softplus(temporary, log_p, room)
        np.negative(log_p, out=log_p)
        np.power(other, gamma, out=power)
        share[...] = expected
        if sign < 0:
            np.subtract(1, share, out=share)
        power *= share
        np.multiply(power, log_p, out=temporary)
        terms -= temporary
        log_p *= p
        log_p *= gamma
        log_p -= other
        log_p *= power
        log_p *= sign
        dz += log_p
    np.sum(terms, axis=1, out=rows)


TABLE = (
    LossFunction("squared_error", squared_error),
    LossFunction("absolute_error", absolute_error),
    LossFunction("huber", huber, parameter=1.0),
    LossFunction("quantile", quantile, parameter=0.5),
    LossFunction("poisson", poisson, logits_of="exp"),
    LossFunction(
        "binary_cross_entropy",
        binary_cross_entropy,
        logits_of="sigmoid",
        blind=lambda outputs: outputs * math.log(2),
    ),
    LossFunction(
        "smoothed_binary_cross_entropy",
        smoothed_binary_cross_entropy,
        logits_of="sigmoid",
        parameter=0.1,
        blind=lambda outputs: outputs * math.log(2),
        plain="binary_cross_entropy",
    ),
    LossFunction("binary_focal", binary_focal, logits_of="sigmoid", parameter=2.0),
    LossFunction(
        "cross_entropy",
        cross_entropy,
        of_classes=class_cross_entropy,
        logits_of="softmax",
        blind=math.log,
    ),
    LossFunction(
        "smoothed_cross_entropy",
        smoothed_cross_entropy,
        of_classes=class_smoothed_cross_entropy,
        logits_of="softmax",
        parameter=0.1,
        blind=math.log,
        plain="cross_entropy",
    ),
    LossFunction("focal", focal, of_classes=class_focal, logits_of="softmax", parameter=2.0),
)
LOSSES: dict[str, LossFunction] = {loss.name: loss for loss in TABLE}
# By the names of the kernels: against class indices, and all.
CLASS_LOSSES: dict[str, LossFunction] = {
    f"class_{loss.name}": replace(loss, function=loss.of_classes, of_classes=None)
    for loss in TABLE
    if loss.of_classes is not None
}
KERNELS: dict[str, LossFunction] = LOSSES | CLASS_LOSSES
