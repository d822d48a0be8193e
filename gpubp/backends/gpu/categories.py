"""Categories embedded on a GPU; the layer's formulas are in `gpubp.nn.layers.categories`.

The gradient by one number of the table is summed by one thread, in the order of the rows, so that
two runs give the same bits.
"""

from __future__ import annotations

from typing import Any

from gpubp.backends.gpu.elementwise import Elementwise
from gpubp.backends.scratch import Array

EMBED_CATEGORIES = Elementwise(
    "gpubp_embed_categories",
    "raw S x, raw int64 starts, raw int64 columns, raw int64 others, raw T weight,"
    " int64 inputs, int64 coded, int64 width, int64 outputs",
    "raw int64 place, raw S y",
    "const gpubp::int64 row = i / outputs, at = i % outputs, f = at / width, j = at % width;"
    " if (f >= coded) { y[i] = x[row * inputs + others[at - coded * width]]; } else {"
    " const gpubp::int64 own = gpubp::row_of_code(gpubp::widen<T>(x[row * inputs + columns[f]]),"
    " gpubp::int64(starts[f]), gpubp::int64(starts[f + 1]));"
    " if (j == 0) { place[row * coded + f] = own; }"
    " gpubp::narrow(own < 0 ? T(0) : T(weight[own * width + j]), y[i]); }",
)
EMBED_CATEGORIES_BACKWARD = Elementwise(
    "gpubp_embed_categories_backward",
    "raw int64 starts, raw int64 place, raw T dy, int64 rows, int64 coded, int64 width,"
    " int64 outputs",
    "raw T dweight",
    "const gpubp::int64 own = i / width, f = gpubp::owner_of_row(&starts[0], coded, own);"
    " dweight[i] = gpubp::code_gradient(&place[f], &dy[f * width + i % width], own, rows, coded,"
    " outputs)",
)
KERNELS = (EMBED_CATEGORIES, EMBED_CATEGORIES_BACKWARD)


class CupyCategories:
    """What the CuPy backend does for embeddings of categories."""

    _kernels: dict[str, Any]

    def embed_categories(self, x: Array, codes: Any, weight: Array, place: Array, y: Array) -> None:
        self._kernels[EMBED_CATEGORIES.name](
            *(x, codes.starts, codes.columns, codes.others, weight),
            *(x.shape[1], place.shape[1], weight.shape[1], y.shape[1], place, y),
            size=y.size,
        )

    def embed_categories_backward(
        self, codes: Any, place: Array, dy: Array, dweight: Array
    ) -> None:
        (rows, coded), width = place.shape, dweight.shape[1]
        self._kernels[EMBED_CATEGORIES_BACKWARD.name](
            *(codes.starts, place, dy, rows, coded, width, dy.shape[1], dweight),
            size=dweight.size,
        )
