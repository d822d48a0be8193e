"""Layer and batch normalisation on a GPU: the kernels of `kernels/normalization.cuh`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpubp.backends.gpu.elementwise import LANES, Elementwise, row_kernel
from gpubp.backends.layer_protocol import NORM_EPSILON
from gpubp.backends.scratch import Array, Scratch

LAYER_NORM = row_kernel(
    "T epsilon",
    "raw S n, raw T inverse",
    "gpubp_layer_norm",
    "const T of_row = gpubp::layer_norm_row(&n[at], columns, epsilon, lanes);"
    " if (lanes.leads()) inverse[row] = of_row",
)
LAYER_NORM_BACKWARD = row_kernel(
    "raw S n, raw T gamma, raw T inverse",
    "raw S delta",
    "gpubp_layer_norm_backward",
    "gpubp::layer_norm_backward_row(&n[at], &gamma[0], inverse[row], &delta[at], columns, lanes)",
)
BATCH_NORM_BACKWARD = Elementwise(
    "gpubp_batch_norm_backward",
    "S n, raw T gamma, raw T inverse, raw T dbias, raw T dgamma, T rows, int64 columns",
    "S delta",
    "const gpubp::int64 j = i % columns;"
    " gpubp::narrow(gpubp::batch_norm_backward(gpubp::widen<T>(n), gamma[j], inverse[j],"
    " gpubp::widen<T>(delta), dbias[j], dgamma[j], rows), delta)",
)
BATCH_INVERSE = Elementwise(
    "gpubp_batch_inverse",
    "T squares, T rows, T epsilon",
    "T inverse",
    "inverse = T(1) / gpubp::math::sqrt(squares / rows + epsilon)",
)
SHARE = Elementwise("gpubp_share", "T sum, T count", "T share", "share = sum / count")
PRODUCT = Elementwise(
    "gpubp_product", "S a, S b", "T product", "product = gpubp::widen<T>(a) * gpubp::widen<T>(b)"
)
CENTER = Elementwise(
    "gpubp_center",
    "S x, raw T mean, int64 columns",
    "S y",
    "gpubp::narrow(gpubp::widen<T>(x) - mean[i % columns], y)",
)
SCALE_COLUMNS = Elementwise(
    "gpubp_scale_columns",
    "S x, raw T scale, int64 columns",
    "K y",
    "gpubp::narrow(gpubp::widen<T>(x) * scale[i % columns], y)",
)
KERNELS = (
    LAYER_NORM,
    LAYER_NORM_BACKWARD,
    BATCH_NORM_BACKWARD,
    BATCH_INVERSE,
    SHARE,
    PRODUCT,
    CENTER,
    SCALE_COLUMNS,
)


class CupyNormalization:
    """What the CuPy backend does for normalisation."""

    _kernels: dict[str, Any]

    _sum_columns: Callable[[Array, Array, Scratch], None]

    def normalize_rows(self, n: Array, inverse: Array, scratch: Scratch) -> None:
        rows, columns = n.shape
        self._kernels[LAYER_NORM.name](NORM_EPSILON, columns, n, inverse, size=rows * LANES)

    def normalize_columns(
        self, n: Array, inverse: Array, statistics: Array, scratch: Scratch
    ) -> None:
        rows, columns = n.shape
        mean, variance = statistics[0], statistics[1]
        sums = scratch("norm sums", (columns,), inverse.dtype)
        self._sum_columns(n, sums, scratch)
        self._kernels[SHARE.name](sums, rows, mean)
        self._kernels[CENTER.name](n, mean, columns, n)
        self.sum_products(n, n, sums, scratch)
        self._kernels[BATCH_INVERSE.name](sums, rows, NORM_EPSILON, inverse)
        self._kernels[SHARE.name](sums, max(rows - 1, 1), variance)
        self._kernels[SCALE_COLUMNS.name](n, inverse, columns, n)

    def normalize_columns_by(self, n: Array, inverse: Array, statistics: Array) -> None:
        columns = n.shape[1]
        self._kernels[CENTER.name](n, statistics[0], columns, n)
        self._kernels[BATCH_INVERSE.name](statistics[1], 1, NORM_EPSILON, inverse)
        self._kernels[SCALE_COLUMNS.name](n, inverse, columns, n)

    def scale_columns(self, n: Array, gamma: Array, z: Array) -> None:
        self._kernels[SCALE_COLUMNS.name](n, gamma, n.shape[1], z)

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
        self._kernels[LAYER_NORM_BACKWARD.name](
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
            self._kernels[SCALE_COLUMNS.name](delta, gamma, columns, delta)
            self._kernels[SCALE_COLUMNS.name](delta, inverse, columns, delta)
        else:
            self._kernels[BATCH_NORM_BACKWARD.name](
                n, gamma, inverse, dbias, dgamma, rows, columns, delta
            )

    def sum_products(self, a: Array, b: Array, sums: Array, scratch: Scratch) -> None:
        product = scratch("norm product", a.shape, sums.dtype)
        self._kernels[PRODUCT.name](a, b, product)
        self._sum_columns(product, sums, scratch)
