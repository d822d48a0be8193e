"""A trained factor for each input: y = s x, element by element.

s begins at 1, so a network begins as it would without it, and learns which inputs matter: ds = sum
over the rows of x dy, dx = s dy. The scaling layer of Holzmueller, Grinsztajn and Steinwart 2024,
"Better by default: strong pre-tuned MLPs and boosted trees on tabular data" (RealMLP).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array, Scratch
from gpubp.nn.layers.layer import Layer, LayerArrays, Room, Shapes


@dataclass
class ScaleArrays(LayerArrays):
    """The layer's arrays of one batch; see `LayerArrays`."""

    y: Array
    delta: Array
    x: Array = None

    @property
    def z(self) -> Array:
        """The outputs: there is no activation."""
        return self.y

    def first(self, rows: int) -> ScaleArrays:
        """Return views of the first rows."""
        return replace(self, y=self.y[:rows], delta=self.delta[:rows], x=None)


class Scale(Layer):
    """The product of each input with a factor of its own.

    Attributes
    ----------
    weight : array, (inputs,)
        The factors s.
    """

    kind = "factors of inputs"

    def __init__(self, inputs: int, scratch: Scratch) -> None:
        self.inputs = self.outputs = inputs
        self.scratch = scratch

    def forward(self, ops: Any, x: Array, p: ScaleArrays, logits: bool = False) -> Array:
        """Return y = s x."""
        p.x = x
        ops.scale_columns(x, self.weight, p.y)
        return p.y

    def backward(
        self,
        ops: Any,
        p: ScaleArrays,
        dx: Array | None,
        logits: bool = False,
        gradients: bool = True,
    ) -> None:
        """Write ds, the sum over the rows of x dy, and dx = s dy."""
        if gradients:
            ops.sum_products(p.delta, p.x, self.dweight, self.scratch)
        if dx is not None:
            ops.scale_columns(p.delta, self.weight, dx)

    def parameter_shapes(self) -> Shapes:
        """Return the shape of the factors."""
        return {"weight": (self.inputs,)}

    def initialize(self, values: Mapping[str, NDArray[Any]], draw: np.random.Generator) -> None:
        """Let the factors begin at 1."""
        values["weight"].fill(1)

    def arrays(self, room: Room) -> ScaleArrays:
        """Return the arrays of one batch."""
        shape = (room.rows, self.outputs)
        return ScaleArrays(room.make(shape, room.stored), room.make(shape, room.stored))

    def weights(self) -> list[tuple[Array, Array]]:
        """Return nothing: penalties would draw the factors to 0, not to 1."""
        return []

    def __repr__(self) -> str:
        return f"Scale({self.inputs})"
