"""Layer and batch normalisation: the specification of `kernels/normalization.cuh`."""

from __future__ import annotations

import numpy as np

from gpubp.backends.layer_protocol import NORM_EPSILON
from gpubp.backends.scratch import Array, Scratch


class ArrayNormalization:
    """See `gpubp.backends.protocol.Normalization`."""

    def normalize_rows(self, n: Array, inverse: Array, scratch: Scratch) -> None:
        mean = scratch("norm mean", (len(n), 1), n.dtype)
        np.mean(n, axis=1, keepdims=True, out=mean)
        n -= mean
        squares = scratch("norm product", n.shape, n.dtype)
        np.multiply(n, n, out=squares)
        np.mean(squares, axis=1, out=inverse)
        _inverse_root(inverse)
        n *= inverse[:, None]

    def normalize_columns(
        self, n: Array, inverse: Array, statistics: Array, scratch: Scratch
    ) -> None:
        mean, variance = statistics
        np.mean(n, axis=0, out=mean)
        n -= mean
        squares = scratch("norm product", n.shape, n.dtype)
        np.multiply(n, n, out=squares)
        np.mean(squares, axis=0, out=inverse)
        np.multiply(inverse, len(n) / max(len(n) - 1, 1), out=variance)
        _inverse_root(inverse)
        n *= inverse

    def normalize_columns_by(self, n: Array, inverse: Array, statistics: Array) -> None:
        mean, variance = statistics
        inverse[...] = variance
        _inverse_root(inverse)
        n -= mean
        n *= inverse

    def scale_columns(self, n: Array, gamma: Array, z: Array) -> None:
        np.multiply(n, gamma, out=z)

    def sum_products(self, a: Array, b: Array, sums: Array, scratch: Scratch) -> None:
        _sum_of_products(a, b, sums, scratch)

    def normalize_rows_backward(
        self,
        n: Array,
        inverse: Array,
        gamma: Array,
        delta: Array,
        dgamma: Array,
        scratch: Scratch,
    ) -> None:
        product = _sum_of_products(delta, n, dgamma, scratch)
        delta *= gamma
        row = scratch("norm mean", (len(n), 1), n.dtype)
        np.multiply(delta, n, out=product)
        np.mean(product, axis=1, keepdims=True, out=row)
        np.multiply(n, row, out=product)
        np.mean(delta, axis=1, keepdims=True, out=row)
        delta -= row
        delta -= product
        delta *= inverse[:, None]

    def normalize_columns_backward(
        self,
        n: Array,
        inverse: Array,
        gamma: Array,
        delta: Array,
        dbias: Array,
        dgamma: Array,
        fixed: bool,
        scratch: Scratch,
    ) -> None:
        product = _sum_of_products(delta, n, dgamma, scratch)
        if not fixed:
            np.multiply(n, dgamma, out=product)
            product += dbias
            product /= len(n)
            delta -= product
        delta *= gamma
        delta *= inverse


def _sum_of_products(delta: Array, n: Array, dgamma: Array, scratch: Scratch) -> Array:
    product = scratch("norm product", n.shape, n.dtype)
    np.multiply(delta, n, out=product)
    np.sum(product, axis=0, out=dgamma)
    return product


def _inverse_root(variance: Array) -> None:
    variance += NORM_EPSILON
    np.sqrt(variance, out=variance)
    np.reciprocal(variance, out=variance)
