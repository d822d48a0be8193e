"""Categories embedded: the specification of `row_of_code` in `kernels/embeddings.cuh`.

The layer's formulas, and what its `codes` hold, are in `gpubp.nn.layers.categories`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.backends.scratch import Array


class ArrayCategories:
    """See `gpubp.backends.protocol.Categories`."""

    def embed_categories(self, x: Array, codes: Any, weight: Array, place: Array, y: Array) -> None:
        width = weight.shape[1]
        for number, column in enumerate(codes.columns):
            start, stop = int(codes.starts[number]), int(codes.starts[number + 1])
            code = x[:, int(column)]
            known = (code >= 0) & (code < stop - start) & (code == np.floor(code))
            own = np.where(known, code, 0).astype(np.int64)
            place[:, number] = np.where(known, start + own, -1)
            selected = np.where(known[:, None], weight[start + own], 0)
            y[:, number * width : (number + 1) * width] = selected
        y[:, len(codes.columns) * width :] = x[:, codes.others]

    def embed_categories_backward(
        self, codes: Any, place: Array, dy: Array, dweight: Array
    ) -> None:
        count, width = dweight.shape
        dweight.fill(0)
        for number in range(place.shape[1]):
            rows = place[:, number] + 1  # 0 stands for no row
            for column in range(width):
                error = dy[:, number * width + column]
                dweight[:, column] += np.bincount(rows, error, minlength=count + 1)[1:]

    def embed_categories_slope(self, codes: Any, dy: Array, dx: Array) -> None:
        dx.fill(0)
        dx[:, codes.others] = dy[:, dy.shape[1] - len(codes.others) :]
