"""Numbers embedded by piecewise-linear bins: each becomes several that bend where the data ask.

A number x with the bins b_0 < b_1 < ... < b_T has the components
    c_t = clamp((x - b_t) / (b_t+1 - b_t), 0, 1), the first unclamped below, the last above,
and becomes the vector
    y = x w + c + sum over t of c_t V_t
with a linear part (w, c) and the rows V_t of a table that begins at zero. Gorishniy, Rubachev and
Babenko 2022, "On embeddings for numerical features"; this is version B of rtdl_num_embeddings.

All components before the bin that x lies in are 1, all behind it 0: so y needs the sum of the
table's rows before that bin and a share of its own row, a look-up and a linear interpolation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array, Scratch
from gpubp.nn.layers.layer import Layer, LayerArrays, Room, Shapes, embedded_names, placed


@dataclass(frozen=True)
class Bins:
    """The bins of all inputs, as the operations of a backend read them.

    Attributes
    ----------
    edges : array, (bins + embedded inputs,)
        The edges of each embedded input, one input behind the other.
    starts : array of int64, (embedded inputs + 1,)
        Where the bins of each embedded input begin; its edges begin as many numbers later as
        inputs lie before it.
    owner : array of int64, (bins,)
        The embedded input that each bin belongs to.
    columns : array of int64, (embedded inputs,)
        Their columns in x.
    others : array of int64
        The columns of x that pass as they are, behind all that is embedded.
    place : array of int64, (inputs,)
        For each column of x, its number among the embedded inputs, or -1 - its number among the
        others.
    """

    edges: Array
    starts: Array
    owner: Array
    columns: Array
    others: Array
    place: Array

    @classmethod
    def of(cls, bins: Sequence[Sequence[float]], backend: Any, dtype: np.dtype[Any]) -> Bins:
        """Lay out the edges of every input; an input without edges passes as it is."""
        embedded = [column for column, edges in enumerate(bins) if edges]
        others = [column for column, edges in enumerate(bins) if not edges]
        counts = [len(bins[column]) - 1 for column in embedded]
        place = np.empty(len(bins), np.int64)
        place[embedded] = np.arange(len(embedded))
        place[others] = -1 - np.arange(len(others))
        edges = np.concatenate([np.asarray(bins[column], np.float64) for column in embedded])
        whole = partial(placed, backend, dtype=np.int64)
        return cls(
            placed(backend, edges, dtype),
            whole(np.cumsum([0, *counts])),
            whole(np.repeat(np.arange(len(embedded)), counts)),
            whole(embedded),
            whole(others),
            whole(place),
        )


@dataclass
class PiecewiseLinearArrays(LayerArrays):
    """The layer's arrays of one batch; see `LayerArrays`.

    `cell`, (rows, embedded inputs), is the bin that each number lies in, `share` how far into it.
    """

    y: Array
    delta: Array
    cell: Array
    share: Array
    x: Array = None

    @property
    def z(self) -> Array:
        """The outputs: there is no activation."""
        return self.y

    def first(self, rows: int) -> PiecewiseLinearArrays:
        """Return views of the first rows."""
        cut = {name: getattr(self, name)[:rows] for name in ("y", "delta", "cell", "share")}
        return replace(self, **cut, x=None)


class PiecewiseLinear(Layer):
    """The embedding of those inputs that have bins; the others pass as they are.

    Parameters
    ----------
    bins : sequence of sequence of float
        The edges of every input's bins, increasing; none for an input that passes.
    width : int
        Numbers that one embedded input becomes.

    Attributes
    ----------
    edges : sequence of sequence of float
        The edges of every input's bins.
    weight, bias : array, (embedded inputs, width)
        w and c.
    table : array, (bins, width)
        V, the rows of all inputs one behind the other.
    """

    kind = "embedding of numbers"
    table: Array
    dtable: Array

    def __init__(
        self,
        bins: Sequence[Sequence[float]],
        width: int,
        backend: Any,
        dtype: np.dtype[Any],
        scratch: Scratch,
    ) -> None:
        self.inputs, self.width, self.scratch = len(bins), width, scratch
        self.edges = bins
        self.bins = Bins.of(bins, backend, dtype)
        self._embedded = len(self.bins.columns)
        self.outputs = self._embedded * width + len(self.bins.others)

    def forward(self, ops: Any, x: Array, p: PiecewiseLinearArrays, logits: bool = False) -> Array:
        """Return y = x w + c + sum of the rows of V before the bin + share of its own row."""
        p.x = x
        ops.find_bins(x, self.bins, p.cell, p.share)
        ops.embed_numbers(
            x, self.bins, p.cell, p.share, self.weight, self.bias, self.table, p.y, self.scratch
        )
        return p.y

    def backward(
        self,
        ops: Any,
        p: PiecewiseLinearArrays,
        dx: Array | None,
        logits: bool = False,
        gradients: bool = True,
    ) -> None:
        """Write dw = x dy, dc = dy and dV_t = c_t dy, summed over the rows, and dx."""
        if gradients:
            ops.embed_numbers_backward(
                *(p.x, self.bins, p.cell, p.share, p.delta),
                *(self.dweight, self.dbias, self.dtable),
            )
        if dx is not None:
            ops.embed_numbers_slope(self.bins, p.cell, p.delta, self.weight, self.table, dx)

    def parameter_shapes(self) -> Shapes:
        """Return the shapes of weight, bias and table."""
        linear = (self._embedded, self.width)
        return {"weight": linear, "bias": linear, "table": (len(self.bins.owner), self.width)}

    def initialize(self, values: Mapping[str, NDArray[Any]], draw: np.random.Generator) -> None:
        """Draw w and c from U(-1, 1) / sqrt(width), as rtdl_num_embeddings; V begins at zero."""
        bound = self.width**-0.5
        for name in ("weight", "bias"):
            values[name][...] = draw.uniform(-bound, bound, values[name].shape)

    def arrays(self, room: Room) -> PiecewiseLinearArrays:
        """Return the arrays of one batch."""
        shape, cells = (room.rows, self.outputs), (room.rows, self._embedded)
        return PiecewiseLinearArrays(
            room.make(shape, room.stored),
            room.make(shape, room.stored),
            room.make(cells, np.dtype(np.int64)),
            room.make(cells, room.dtype),
        )

    def weights(self) -> list[tuple[Array, Array]]:
        """Return weight and table, each with its gradient."""
        return [(self.weight, self.dweight), (self.table, self.dtable)]

    def names(self, inputs: Sequence[str]) -> list[str]:
        """Return names of the outputs: an embedded input's with a number, the others behind."""
        return embedded_names(inputs, self.edges, self.width)

    def __repr__(self) -> str:
        return f"PiecewiseLinear({self.inputs} -> {self.outputs}, {len(self.bins.owner)} bins)"
