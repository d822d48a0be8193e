"""Numbers embedded by piecewise-linear bins on a GPU: the kernels of `kernels/embeddings.cuh`.

The layer's formulas, and what its `bins` hold, are in `gpubp.nn.layers.piecewise_linear`. Every sum
over rows is done by one thread, in the order of the rows, so that two runs give the same bits.
"""

from __future__ import annotations

from typing import Any

from gpubp.backends.gpu.elementwise import Elementwise
from gpubp.backends.scratch import Array, Scratch

FIND_BINS = Elementwise(
    "gpubp_find_bins",
    "raw S x, raw T edges, raw int64 starts, raw int64 columns, int64 inputs, int64 embedded",
    "raw int64 cell, raw T share",
    "const gpubp::int64 row = i / embedded, f = i % embedded;"
    " const T value = gpubp::widen<T>(x[row * inputs + columns[f]]);"
    " const T* own = &edges[starts[f] + f];"
    " cell[i] = gpubp::bin_of(own, gpubp::int64(starts[f + 1] - starts[f]), value);"
    " share[i] = gpubp::share_of_bin(own, gpubp::int64(cell[i]), value)",
)
SUM_BEFORE = Elementwise(
    "gpubp_sum_before",
    "raw T table, raw int64 starts, int64 width",
    "raw T before",
    "const gpubp::int64 f = i / width, j = i % width; gpubp::sum_before(&table[j], &before[j],"
    " gpubp::int64(starts[f]), gpubp::int64(starts[f + 1]), width)",
)
EMBED_NUMBERS = Elementwise(
    "gpubp_embed_numbers",
    "raw S x, raw int64 starts, raw int64 columns, raw int64 others, raw int64 cell, raw T share,"
    " raw T weight, raw T bias, raw T table, raw T before,"
    " int64 inputs, int64 embedded, int64 width, int64 outputs",
    "raw S y",
    "const gpubp::int64 row = i / outputs, at = i % outputs, f = at / width, j = at % width;"
    " if (f >= embedded) { y[i] = x[row * inputs + others[at - embedded * width]]; } else {"
    " const gpubp::int64 own = row * embedded + f, bin = (starts[f] + cell[own]) * width + j;"
    " const T value = gpubp::widen<T>(x[row * inputs + columns[f]]);"
    " gpubp::narrow(T(value * weight[f * width + j] + (bias[f * width + j] + before[bin])"
    " + share[own] * table[bin]), y[i]); }",
)
EMBED_LINEAR_BACKWARD = Elementwise(
    "gpubp_embed_linear_backward",
    "raw S x, raw int64 columns, raw S dy, int64 rows, int64 inputs, int64 width, int64 outputs",
    "raw T dweight, raw T dbias",
    "const gpubp::int64 f = i / width; T weight = T(0), bias = T(0);"
    " for (gpubp::int64 row = 0; row < rows; ++row) {"
    " const T d = gpubp::widen<T>(dy[row * outputs + i]); bias += d;"
    " weight += gpubp::widen<T>(x[row * inputs + columns[f]]) * d; }"
    " dweight[i] = weight; dbias[i] = bias",
)
EMBED_TABLE_BACKWARD = Elementwise(
    "gpubp_embed_table_backward",
    "raw int64 starts, raw int64 owner, raw int64 cell, raw T share, raw S dy,"
    " int64 rows, int64 embedded, int64 width, int64 outputs",
    "raw T dtable",
    "const gpubp::int64 bin = i / width, j = i % width, f = owner[bin];"
    " dtable[i] = gpubp::table_gradient(&cell[f], &share[f], &dy[f * width + j],"
    " gpubp::int64(bin - starts[f]), rows, embedded, outputs)",
)
EMBED_NUMBERS_SLOPE = Elementwise(
    "gpubp_embed_numbers_slope",
    "raw T edges, raw int64 starts, raw int64 place, raw int64 cell, raw S dy, raw T weight,"
    " raw T table, int64 inputs, int64 embedded, int64 width, int64 outputs",
    "raw T dx",
    "const gpubp::int64 row = i / inputs, f = place[i % inputs];"
    " const S* d = &dy[row * outputs]; T sum = T(0); if (f < 0) {"
    " sum = gpubp::widen<T>(d[embedded * width - 1 - f]); } else {"
    " const gpubp::int64 bin = starts[f] + cell[row * embedded + f];"
    " const T length = edges[bin + f + 1] - edges[bin + f];"
    " for (gpubp::int64 j = 0; j < width; ++j)"
    " sum += (weight[f * width + j] + table[bin * width + j] / length)"
    " * gpubp::widen<T>(d[f * width + j]); } dx[i] = sum",
)
KERNELS = (
    FIND_BINS,
    SUM_BEFORE,
    EMBED_NUMBERS,
    EMBED_LINEAR_BACKWARD,
    EMBED_TABLE_BACKWARD,
    EMBED_NUMBERS_SLOPE,
)


class CupyEmbeddings:
    """What the CuPy backend does for embeddings of numbers."""

    _kernels: dict[str, Any]

    def find_bins(self, x: Array, bins: Any, cell: Array, share: Array) -> None:
        self._kernels[FIND_BINS.name](
            *(x, bins.edges, bins.starts, bins.columns, x.shape[1], cell.shape[1]),
            *(cell, share),
            size=cell.size,
        )

    def embed_numbers(
        self,
        x: Array,
        bins: Any,
        cell: Array,
        share: Array,
        weight: Array,
        bias: Array,
        table: Array,
        y: Array,
        scratch: Scratch,
    ) -> None:
        embedded, width = weight.shape
        before = scratch("sums before bins", table.shape, table.dtype)
        self._kernels[SUM_BEFORE.name](table, bins.starts, width, before, size=embedded * width)
        self._kernels[EMBED_NUMBERS.name](
            *(x, bins.starts, bins.columns, bins.others, cell, share, weight, bias, table, before),
            *(x.shape[1], embedded, width, y.shape[1], y),
            size=y.size,
        )

    def embed_numbers_backward(
        self,
        x: Array,
        bins: Any,
        cell: Array,
        share: Array,
        dy: Array,
        dweight: Array,
        dbias: Array,
        dtable: Array,
    ) -> None:
        (rows, outputs), (embedded, width) = dy.shape, dweight.shape
        self._kernels[EMBED_LINEAR_BACKWARD.name](
            *(x, bins.columns, dy, rows, x.shape[1], width, outputs, dweight, dbias),
            size=dweight.size,
        )
        self._kernels[EMBED_TABLE_BACKWARD.name](
            *(bins.starts, bins.owner, cell, share, dy, rows, embedded, width, outputs, dtable),
            size=dtable.size,
        )

    def embed_numbers_slope(
        self, bins: Any, cell: Array, dy: Array, weight: Array, table: Array, dx: Array
    ) -> None:
        embedded, width = weight.shape
        self._kernels[EMBED_NUMBERS_SLOPE.name](
            *(bins.edges, bins.starts, bins.place, cell, dy, weight, table),
            *(dx.shape[1], embedded, width, dy.shape[1], dx),
            size=dx.size,
        )
