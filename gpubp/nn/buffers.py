"""The arrays of one pass over a batch: one object a layer, and what belongs to the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpubp.backends import Array, Backend
from gpubp.nn.layers import Layer, LayerArrays, Room


class Buffers:
    """All arrays of one pass over a batch of `rows` rows; made once, views of them for fewer rows.

    Attributes
    ----------
    layers : list of LayerArrays
        What each layer needs, first to last.
    loss : array, ()
        Mean loss of the batch.
    count, weight : array, ()
        Number of rows, and what they weigh where they have weights.
    prepared : dict
        Steps that were prepared with these arrays, see `gpubp.training.epoch_steps.do_step`.
    """

    def __init__(
        self, rows: int, layers: Sequence[Layer], backend: Backend, dtype: Any, stored: Any
    ) -> None:
        room = Room(rows, backend.empty, dtype, stored)
        self.rows = rows
        self.layers: list[LayerArrays] = [layer.arrays(room) for layer in layers]
        self.loss = backend.xp.zeros((), dtype)
        self.count = backend.xp.full((), rows, dtype)
        self.weight = backend.xp.zeros((), dtype)
        self.prepared: dict[Any, Any] = {}

    @property
    def output(self) -> Array:
        """The network's outputs, (rows, outputs)."""
        return self.layers[-1].y

    @property
    def delta(self) -> Array:
        """The gradient of the loss by the outputs, or by the logits."""
        return self.layers[-1].delta

    def first(self, rows: int) -> Buffers:
        """Return views of the first rows of every array."""
        views = object.__new__(Buffers)
        views.rows = rows
        views.layers = [arrays.first(rows) for arrays in self.layers]
        views.loss, views.weight = self.loss, self.weight
        views.count = self.count.copy()
        views.count.fill(rows)
        views.prepared = {}
        return views
