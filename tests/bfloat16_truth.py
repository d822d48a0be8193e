"""Products of bfloat16, by NumPy, to the last bit as instructions sum them; and of three a number.

A product of two bfloat16 is exact in float32, so adding it rounds once, as a fused multiply-add
does. Numbers below the smallest normal one are zero (Intel, Instruction Set Extensions Programming
Reference: VDPBF16PS, TDPBF16PS).
"""

from __future__ import annotations

from typing import Any

import numpy as np

NORMAL = np.finfo(np.float32).tiny
Array = np.ndarray[Any, np.dtype[np.float32]]


def flushed(values: Array) -> Array:
    """Return the values, those below the smallest normal number as zero."""
    return np.where(np.abs(values) < NORMAL, np.copysign(np.float32(0), values), values)


def rounded(values: Array) -> Array:
    """Round to the nearest bfloat16, ties to even: of the two neighbours, by distance."""
    values = flushed(values)
    with np.errstate(invalid="ignore"):
        low = (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)  # nearer to zero
        high = (low.view(np.uint32) + np.uint32(0x10000)).view(np.float32)
        ahead = np.abs(values.astype(np.float64) - low), np.abs(high.astype(np.float64) - values)
        odd = (low.view(np.uint32) >> 16) % 2 == 1
        up = (ahead[0] > ahead[1]) | ((ahead[0] == ahead[1]) & odd)
    return np.where(up & np.isfinite(values), high, np.where(np.isfinite(values), low, values))


def _padded(a: Array, b: Array, multiple: int) -> tuple[Array, Array]:
    """Return both rounded, the inner dimension filled up with zeros."""
    more = -a.shape[1] % multiple
    return np.pad(rounded(a), ((0, 0), (0, more))), np.pad(rounded(b), ((0, more), (0, 0)))


def pair_sums(a: Array, b: Array, scale: float = 1.0) -> Array:
    """Return scale a b as VDPBF16PS sums: pair by pair, the second of a pair first."""
    a, b = _padded(a, b, 2)
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for pair in range(0, a.shape[1], 2):
        for k in (pair + 1, pair):
            total = flushed(total + a[:, k, None] * b[k])
    return total * np.float32(scale)


def square_sums(a: Array, b: Array, scale: float = 1.0) -> Array:
    """Return scale a b as TDPBF16PS sums: of each 16 pairs the first ones and the second ones."""
    a, b = _padded(a, b, 32)
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for square in range(0, a.shape[1], 32):
        halves = [np.zeros_like(total), np.zeros_like(total)]
        for k in range(square, square + 32):
            halves[k % 2] = flushed(halves[k % 2] + a[:, k, None] * b[k])
        total = flushed(total + flushed(halves[0] + halves[1]))
    return total * np.float32(scale)


def parts(values: Array) -> list[Array]:
    """Return three bfloat16, each the nearest to what the ones before leave; ties from zero."""
    found = []
    for _ in range(3):
        bits = (values.view(np.uint32) + np.uint32(0x8000)) & np.uint32(0xFFFF0000)
        with np.errstate(invalid="ignore"):
            values = values - bits.view(np.float32)
        found.append(flushed(bits.view(np.float32)))
    return found


# the parts of a and of b that are multiplied, in this order: the smallest products first
SPLIT_PRODUCTS = ((2, 0), (1, 0), (1, 1), (0, 1), (0, 2), (0, 0))


def split_sums(a: Array, b: Array, scale: float = 1.0) -> Array:
    """Return scale a b as sums of products of parts, 32 of the inner dimension at a time.

    Of each 32 the first 16 have a sum of their own, and the others, as TDPBF16PS has it.
    """
    more = -a.shape[1] % 32
    of_a = parts(np.pad(a, ((0, 0), (0, more))))
    of_b = parts(np.pad(b, ((0, more), (0, 0))))
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for begin in range(0, a.shape[1], 32):
        for left, right in SPLIT_PRODUCTS:
            halves = []
            for half in (begin, begin + 16):
                sums = np.zeros_like(total)
                for k in range(half, half + 16):
                    sums = flushed(sums + of_a[left][:, k, None] * of_b[right][k])
                halves.append(sums)
            total = flushed(total + flushed(halves[0] + halves[1]))
    return total * np.float32(scale)
