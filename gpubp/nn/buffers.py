"""The arrays of one pass over a batch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

from gpubp.backends import Array, Backend
from gpubp.nn.layers import Dense
from gpubp.nn.normalization import normalization_buffers


class Buffers:
    """All arrays of one pass over a batch of `rows` rows; made once, views of them for fewer rows.

    Attributes
    ----------
    inputs : list of array
        What each layer reads, (rows, layer inputs); ``inputs[0]`` is the batch itself.
    z, y : list of array
        Weighted sum and output of each layer, (rows, layer outputs); one and the same array
        where the derivative needs the output alone.
    dropped : list of array or None
        Output after dropout.
    delta : list of array
        Gradient of the loss by the layer's output, then by its weighted sum.
    loss : array, ()
        Mean loss of the batch.
    count, weight : array, ()
        Number of rows, and what they weigh where they have weights.
    normalized : list of Normalized or None
        What normalisation keeps, of layers that have it.
    """

    def __init__(
        self, rows: int, layers: Sequence[Dense], backend: Backend, dtype: Any, stored: Any
    ) -> None:
        last = layers[-1]
        self.normalized = normalization_buffers(rows, layers, backend, dtype, stored)
        outputs = [((rows, layer.outputs), dtype if layer is last else stored) for layer in layers]
        stored_outputs = [((rows, layer.outputs), stored) for layer in layers]
        twice = [layer is last or layer.activation.keeps == "x" for layer in layers]
        dropping = [layer.dropout > 0 for layer in layers]
        arrays = iter(
            backend.empty_all(
                [
                    *outputs,
                    *compress(outputs, twice),
                    *compress(stored_outputs, dropping),
                    *stored_outputs,
                ]
            )
        )
        self.rows = rows
        self.y = [next(arrays) for _ in layers]
        self.z = [next(arrays) if two else y for two, y in zip(twice, self.y, strict=True)]
        self.dropped = [next(arrays) if drops else None for drops in dropping]
        self.delta = [next(arrays) for _ in layers]
        self.loss = backend.xp.zeros((), dtype)
        self.count = backend.xp.full((), rows, dtype)
        self.weight = backend.xp.zeros((), dtype)
        self.inputs: list[Array] = [None] * len(layers)
        self.dropout_step: Any = None
        self.plans: dict[tuple[Any, ...], Any] = {}  # see gpubp.training.fit.whole_step

    def kept(self, index: int, layer: Dense) -> Array:
        """Return what a layer's derivative is computed from: its weighted sum or its output."""
        return self.z[index] if layer.activation.keeps == "x" else self.y[index]

    def first(self, rows: int) -> Buffers:
        """Return views of the first rows of every array."""
        views = object.__new__(Buffers)
        views.rows = rows
        views.count = self.count.copy()
        views.count.fill(rows)
        views.weight = self.weight
        views.y = [y[:rows] for y in self.y]
        views.z = [
            view if z is y else z[:rows] for z, y, view in zip(self.z, self.y, views.y, strict=True)
        ]
        views.dropped = [None if array is None else array[:rows] for array in self.dropped]
        views.delta = [delta[:rows] for delta in self.delta]
        views.normalized = [None if each is None else each.first(rows) for each in self.normalized]
        views.loss = self.loss
        views.inputs = [None] * len(self.inputs)
        views.dropout_step = None
        views.plans = {}
        return views
