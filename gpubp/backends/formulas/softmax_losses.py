"""Losses on the logits of softmax, against probabilities and against the indices of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpubp.backends.formulas.gathering import take

if TYPE_CHECKING:
    from gpubp.backends.scratch import Array, Scratch


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
    take(flat, at, rows)
    np.negative(rows, out=rows)
    np.exp(dz, out=dz)
    take(flat, at, picked)
    picked -= 1
    np.put(flat, at, picked, mode="clip")
    _mark_no_class(expected, z.shape[1], rows, scratch)


def smoothed_cross_entropy(
    z: Array, expected: Array, dz: Array, rows: Array, smoothing: float, scratch: Scratch
) -> None:
    """Cross-entropy against (1 - s) t + s / k, k being the number of classes."""
    targets = scratch("loss targets", z.shape, z.dtype)
    np.multiply(expected, 1 - smoothing, out=targets)
    targets += smoothing / z.shape[1]
    cross_entropy(z, targets, dz, rows, 0.0, scratch)


def class_smoothed_cross_entropy(
    z: Array, expected: Array, dz: Array, rows: Array, smoothing: float, scratch: Scratch
) -> None:
    """Cross-entropy against 1 - s + s / k for the expected class and s / k for all others."""
    targets = scratch("loss targets", z.shape, z.dtype)
    chosen = scratch("loss row", rows.shape, z.dtype)
    targets.fill(smoothing / z.shape[1])
    chosen.fill(1 - smoothing + smoothing / z.shape[1])
    np.put(targets.reshape(-1), _places(z, expected, scratch), chosen, mode="clip")
    cross_entropy(z, targets, dz, rows, 0.0, scratch)
    _mark_no_class(expected, z.shape[1], rows, scratch)


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
    take(dz.reshape(-1), at, log_p)
    _focal(log_p, gamma, rows, slopes, scratch)
    np.exp(dz, out=dz)
    dz *= row
    np.negative(dz, out=dz)
    take(dz.reshape(-1), at, log_p)
    log_p += slopes
    np.put(dz.reshape(-1), at, log_p, mode="clip")
    _mark_no_class(expected, z.shape[1], rows, scratch)


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
    """Return where each row's class lies in the flat array; for one that is none, the nearest."""
    rows, columns = z.shape
    at = scratch("loss index", (rows,), np.dtype(np.intp))
    held = scratch("loss class", (rows,), np.dtype(np.intp))
    np.clip(expected, 0, columns - 1, out=held)
    np.multiply(scratch.arange(rows), columns, out=at)
    at += held
    return at


def _mark_no_class(expected: Array, columns: int, rows: Array, scratch: Scratch) -> None:
    """Make the loss of every row NaN whose label is no class."""
    held = scratch("loss class", expected.shape, np.dtype(np.intp))
    outside = scratch("loss outside", expected.shape, np.dtype(bool))
    np.clip(expected, 0, columns - 1, out=held)
    np.not_equal(held, expected, out=outside)
    np.copyto(rows, np.nan, where=outside)


def _log_softmax(z: Array, out: Array, terms: Array, scratch: Scratch) -> None:
    row = scratch("softmax row", (len(z), 1), z.dtype)
    np.max(z, axis=1, keepdims=True, out=row)
    np.subtract(z, row, out=out)
    np.exp(out, out=terms)
    np.sum(terms, axis=1, keepdims=True, out=row)
    np.log(row, out=row)
    out -= row
