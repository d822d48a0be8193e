"""Layer and batch normalisation on a GPU: the kernels of `kernels/normalization.cuh`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpubp.backends.gpu import kernel_table as table
from gpubp.backends.gpu.elementwise import LANES
from gpubp.backends.layer_protocol import NORM_EPSILON
from gpubp.backends.scratch import Array, Scratch


class CupyNormalization:
    """What the CuPy backend does for normalisation."""

    _kernels: dict[str, Any]

    _sum_columns: Callable[[Array, Array, Scratch], None]

    def normalize_rows(self, n: Array, inverse: Array, scratch: Scratch) -> None:
        rows, columns = n.shape
        self._kernels[table.LAYER_NORM.name](NORM_EPSILON, columns, n, inverse, size=rows * LANES)

    def normalize_columns(self, n: Array, inverse: Array, moments: Array, scratch: Scratch) -> None:
        rows, columns = n.shape
        mean, variance = moments[0], moments[1]
        sums = scratch("norm sums", (columns,), inverse.dtype)
        self._sum_columns(n, sums, scratch)
        self._kernels[table.SHARE.name](sums, rows, mean)
        self._kernels[table.CENTER.name](n, mean, columns, n)
        self.sum_products(n, n, sums, scratch)
        self._kernels[table.BATCH_INVERSE.name](sums, rows, NORM_EPSILON, inverse)
        self._kernels[table.SHARE.name](sums, max(rows - 1, 1), variance)
        self._kernels[table.SCALE_COLUMNS.name](n, inverse, columns, n)

    def normalize_columns_by(self, n: Array, inverse: Array, moments: Array) -> None:
        columns = n.shape[1]
        self._kernels[table.CENTER.name](n, moments[0], columns, n)
        self._kernels[table.BATCH_INVERSE.name](moments[1], 1, NORM_EPSILON, inverse)
        self._kernels[table.SCALE_COLUMNS.name](n, inverse, columns, n)

    def scale_columns(self, n: Array, gamma: Array, z: Array) -> None:
        self._kernels[table.SCALE_COLUMNS.name](n, gamma, n.shape[1], z)

    def normalize_rows_backward(
        self,
        n: Array,
        inverse: Array,
        gamma: Array,
        delta: Array,
        dgamma: Array,
        scratch: Scratch,
    ) -> None:
        rows, columns = n.shape
        self.sum_products(delta, n, dgamma, scratch)
        self._kernels[table.LAYER_NORM_BACKWARD.name](
            n, gamma, inverse, columns, delta, size=rows * LANES
        )

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
        rows, columns = n.shape
        self.sum_products(delta, n, dgamma, scratch)
        if fixed:
            self._kernels[table.SCALE_COLUMNS.name](delta, gamma, columns, delta)
            self._kernels[table.SCALE_COLUMNS.name](delta, inverse, columns, delta)
        else:
            self._kernels[table.BATCH_NORM_BACKWARD.name](
                n, gamma, inverse, dbias, dgamma, rows, columns, delta
            )

    def sum_products(self, a: Array, b: Array, sums: Array, scratch: Scratch) -> None:
        product = scratch("norm product", a.shape, sums.dtype)
        self._kernels[table.PRODUCT.name](a, b, product)
        self._sum_columns(product, sums, scratch)
