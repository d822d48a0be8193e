"""Numbers embedded by piecewise-linear bins: the specification of `embeddings.cuh`.

The layer's formulas, and what its `bins` hold, are in `gpubp.nn.layers.piecewise_linear`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.backends.scratch import Array, Scratch


class ArrayEmbeddings:
    """See `gpubp.backends.protocol.Embeddings`."""

    def find_bins(self, x: Array, bins: Any, cell: Array, share: Array) -> None:
        for number, column in enumerate(bins.columns):
            edges, values = _edges(bins, number), x[:, column]
            inside = np.searchsorted(edges[1:-1], values, side="right")
            cell[:, number] = inside
            share[:, number] = (values - edges[inside]) / (edges[inside + 1] - edges[inside])

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
        width = weight.shape[1]
        for number, column in enumerate(bins.columns):
            rows = table[bins.starts[number] : bins.starts[number + 1]]
            before = np.cumsum(rows, axis=0) - rows
            columns = y[:, number * width : (number + 1) * width]
            inside = cell[:, number]
            np.multiply(x[:, column, None], weight[number], out=columns)
            columns += bias[number] + before[inside]
            columns += share[:, number, None] * rows[inside]
        y[:, len(bins.columns) * width :] = x[:, bins.others]

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
        width = dweight.shape[1]
        for number, column in enumerate(bins.columns):
            columns = dy[:, number * width : (number + 1) * width]
            dweight[number] = x[:, column] @ columns
            dbias[number] = columns.sum(axis=0)
            rows = dtable[bins.starts[number] : bins.starts[number + 1]]
            components = _components(cell[:, number], share[:, number], len(rows))
            np.dot(components.T, columns, out=rows)

    def embed_numbers_slope(
        self, bins: Any, cell: Array, dy: Array, weight: Array, table: Array, dx: Array
    ) -> None:
        width = weight.shape[1]
        for number, column in enumerate(bins.columns):
            columns = dy[:, number * width : (number + 1) * width]
            rows = table[bins.starts[number] : bins.starts[number + 1]]
            inside = cell[:, number]
            steepness = rows / np.diff(_edges(bins, number))[:, None]
            dx[:, column] = ((weight[number] + steepness[inside]) * columns).sum(axis=1)
        dx[:, bins.others] = dy[:, len(bins.columns) * width :]


def _edges(bins: Any, number: int) -> Array:
    start, stop = int(bins.starts[number]), int(bins.starts[number + 1])
    return bins.edges[start + number : stop + number + 1]


def _components(inside: Array, share: Array, count: int) -> Array:
    """Return the components of every row, (rows, bins): 1 before its bin, 0 behind it."""
    number = np.arange(count, like=inside)
    components = (number < inside[:, None]).astype(share.dtype)
    components[np.arange(len(inside), like=inside), inside] = share
    return components
