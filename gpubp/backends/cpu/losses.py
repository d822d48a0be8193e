"""Loss functions in NumPy: the readable specification of `kernels/losses.cuh`.

Each is called ``loss(y, expected, dy, rows, parameter, scratch)`` with y and dy of shape (batch,
outputs), y being the logits where the loss acts on them; it writes the loss of every row into
`rows`, shape (batch,), and its gradient into dy. `parameter` is the loss's own setting, where it
has one. The backend weighs the rows and divides by the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpubp.backends.cpu.activations import sigmoid, softplus
from gpubp.backends.protocol import Array, Scratch

Loss = Callable[[Array, Array, Array, Array, float, Scratch], None]


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
    """Slope d, the slope being 1 - q above the expected value and -q below it."""
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


def cross_entropy(
    z: Array, expected: Array, dz: Array, rows: Array, parameter: float, scratch: Scratch
) -> None:
    """-sum(t log softmax(z)) on logits against probabilities t, with gradient softmax(z) - t."""
    terms = scratch("loss terms", z.shape, z.dtype)
    _log_softmax(z, dz, terms, scratch)
    np.multiply(dz, expected, out=terms)
    np.sum(terms, axis=1, out=rows)
    np.negative(rows, out=rows)
    np.exp(dz, out=dz)
    dz -= expected


def class_cross_entropy(
    z: Array, expected: Array, dz: Array, rows: Array, parameter: float, scratch: Scratch
) -> None:
    """-log softmax(z)[expected] on logits against class indices, shape (batch,)."""
    terms = scratch("loss terms", z.shape, z.dtype)
    _log_softmax(z, dz, terms, scratch)
    at = _places(z, expected, scratch)
    picked = scratch("loss row", rows.shape, z.dtype)
    flat = dz.reshape(-1)
    np.take(flat, at, out=rows, mode="clip")
    np.negative(rows, out=rows)
    np.exp(dz, out=dz)
    np.take(flat, at, out=picked, mode="clip")
    picked -= 1
    np.put(flat, at, picked, mode="clip")


def focal(
    z: Array, expected: Array, dz: Array, rows: Array, gamma: float, scratch: Scratch
) -> None:
    """-sum(t (1 - p)^gamma log(p)) on logits against probabilities t, with p = softmax(z)."""
    terms = scratch("loss terms", z.shape, z.dtype)
    slopes = scratch("loss slopes", z.shape, z.dtype)
    row = scratch("softmax row", (len(z), 1), z.dtype)
    _log_softmax(z, dz, terms, scratch)
    _focal(dz, gamma, terms, slopes, scratch)
    terms *= expected
    np.sum(terms, axis=1, out=rows)
    slopes *= expected
    np.sum(slopes, axis=1, keepdims=True, out=row)
    np.exp(dz, out=dz)
    dz *= row
    np.subtract(slopes, dz, out=dz)


def class_focal(
    z: Array, expected: Array, dz: Array, rows: Array, gamma: float, scratch: Scratch
) -> None:
    """-(1 - p)^gamma log(p) of the expected class on logits, with p = softmax(z)."""
    terms = scratch("loss terms", z.shape, z.dtype)
    _log_softmax(z, dz, terms, scratch)
    at = _places(z, expected, scratch)
    row = scratch("softmax row", (len(z), 1), z.dtype)
    log_p, slopes = scratch("loss row", rows.shape, z.dtype), row.reshape(-1)
    np.take(dz.reshape(-1), at, out=log_p, mode="clip")
    _focal(log_p, gamma, rows, slopes, scratch)
    np.exp(dz, out=dz)
    dz *= row
    np.negative(dz, out=dz)
    np.take(dz.reshape(-1), at, out=log_p, mode="clip")
    log_p += slopes
    np.put(dz.reshape(-1), at, log_p, mode="clip")


def _focal(log_p: Array, gamma: float, loss: Array, slope: Array, scratch: Scratch) -> None:
    """Write -(1 - p)^gamma log(p) and p times its derivative by p."""
    rest = scratch("focal rest", log_p.shape, log_p.dtype)
    ratio = scratch("focal ratio", log_p.shape, log_p.dtype)
    np.expm1(log_p, out=rest)
    np.negative(rest, out=rest)  # 1 - p
    np.maximum(rest, np.finfo(rest.dtype).tiny, out=ratio)
    np.divide(log_p, ratio, out=ratio)
    np.copyto(ratio, -1, where=rest == 0)  # its limit for p = 1
    np.subtract(1, rest, out=slope)
    slope *= ratio
    slope *= gamma
    slope -= 1
    np.power(rest, gamma, out=rest)
    slope *= rest
    np.multiply(log_p, rest, out=loss)
    np.negative(loss, out=loss)


def _places(z: Array, expected: Array, scratch: Scratch) -> Array:
    """Return where the expected class of every row lies in the flat array."""
    rows, columns = z.shape
    at = scratch("loss index", (rows,), np.dtype(np.intp))
    np.multiply(scratch.arange(rows), columns, out=at)
    at += expected
    return at


def _log_softmax(z: Array, out: Array, terms: Array, scratch: Scratch) -> None:
    row = scratch("softmax row", (len(z), 1), z.dtype)
    np.max(z, axis=1, keepdims=True, out=row)
    np.subtract(z, row, out=out)
    np.exp(out, out=terms)
    np.sum(terms, axis=1, keepdims=True, out=row)
    np.log(row, out=row)
    out -= row


LOSSES: dict[str, Loss] = {
    loss.__name__: loss
    for loss in (
        squared_error,
        absolute_error,
        huber,
        quantile,
        poisson,
        binary_cross_entropy,
        binary_focal,
        cross_entropy,
        class_cross_entropy,
        focal,
        class_focal,
    )
}
