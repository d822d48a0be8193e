"""Categories embedded: each input that is a code becomes the row of a table that it selects.

A code k of n categories is a whole number from 0 to n - 1, stored as a float as all inputs are, and
becomes the vector
    y = W_k
of a table W (n, width) of its own, which is trained: dW_k = sum of dy over the rows with code k.
Any other number, a category that is unknown or missing, becomes zeros and is not trained. This is
`CategoricalEmbeddings` of rtdl_revisiting_models, Gorishniy et al. 2021, "Revisiting deep learning
models for tabular data".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array, Scratch
from gpubp.nn.layers.layer import Layer, LayerArrays, Room, Shapes, embedded_names, placed


@dataclass(frozen=True)
class Codes:
    """Which inputs are codes, as the operations of a backend read them.

    Attributes
    ----------
    starts : array of int64, (coded inputs + 1,)
        Where the rows of each coded input begin in the table of all.
    columns : array of int64, (coded inputs,)
        Their columns in x.
    others : array of int64
        The columns of x that are numbers; they pass as they are, behind all that is embedded.
    """

    starts: Array
    columns: Array
    others: Array

    @classmethod
    def of(cls, categories: Sequence[int], backend: Any) -> Codes:
        """Lay out the tables of every input; an input of no categories passes as it is."""
        coded = [column for column, count in enumerate(categories) if count]
        starts = np.cumsum([0, *(categories[column] for column in coded)])
        return cls(
            placed(backend, starts, np.int64),
            placed(backend, coded, np.int64),
            placed(backend, numbers_among(categories), np.int64),
        )


def numbers_among(categories: Sequence[int]) -> list[int]:
    """Return the columns that are numbers, no codes."""
    return [column for column, count in enumerate(categories) if not count]


@dataclass
class CategoriesArrays(LayerArrays):
    """The layer's arrays of one batch; see `LayerArrays`.

    `place`, (rows, coded inputs), is the row of the table that each code selects, -1 for none.
    """

    y: Array
    delta: Array
    place: Array
    x: Array = None

    @property
    def z(self) -> Array:
        """The outputs: there is no activation."""
        return self.y

    def first(self, rows: int) -> CategoriesArrays:
        """Return views of the first rows."""
        cut = {name: getattr(self, name)[:rows] for name in ("y", "delta", "place")}
        return replace(self, **cut, x=None)


class Categories(Layer):
    """The embedding of those inputs that are codes; the others pass as they are.

    Parameters
    ----------
    categories : sequence of int
        For every input the number of its categories, 0 for a number.
    width : int
        Numbers that one coded input becomes.

    Attributes
    ----------
    weight : array, (categories of all inputs, width)
        The tables of all coded inputs, one behind the other.
    """

    kind = "embedding of categories"

    def __init__(
        self, categories: Sequence[int], width: int, backend: Any, scratch: Scratch
    ) -> None:
        self.inputs, self.width, self.scratch = len(categories), width, scratch
        self.categories = tuple(categories)
        self.codes = Codes.of(categories, backend)
        self.count, self._coded = sum(categories), len(self.codes.columns)
        self.embedded = self._coded * width
        self.outputs = self.embedded + len(self.codes.others)

    def forward(self, ops: Any, x: Array, p: CategoriesArrays, logits: bool = False) -> Array:
        """Return the rows of the table that the codes select, and the numbers behind them."""
        p.x = x
        ops.embed_categories(x, self.codes, self.weight, p.place, p.y)
        return p.y

    def backward(
        self,
        ops: Any,
        p: CategoriesArrays,
        dx: Array | None,
        logits: bool = False,
        gradients: bool = True,
    ) -> None:
        """Write dW_k, the sum of dy over the rows with code k, and dx, which is 0 by a code."""
        if gradients:
            ops.embed_categories_backward(self.codes, p.place, p.delta, self.dweight)
        if dx is not None:
            ops.embed_categories_slope(self.codes, p.delta, dx)

    def parameter_shapes(self) -> Shapes:
        """Return the shape of the table of all inputs."""
        return {"weight": (self.count, self.width)}

    def initialize(self, values: Mapping[str, NDArray[Any]], draw: np.random.Generator) -> None:
        """Draw the table from U(-1, 1) / sqrt(width), as rtdl_revisiting_models."""
        bound = self.width**-0.5
        values["weight"][...] = draw.uniform(-bound, bound, values["weight"].shape)

    def names(self, inputs: Sequence[str]) -> list[str]:
        """Return names of the outputs: a coded input's with a number, the others behind."""
        return embedded_names(inputs, self.categories, self.width)

    def arrays(self, room: Room) -> CategoriesArrays:
        """Return the arrays of one batch; the gradient is in full precision, as sums of it are."""
        shape = (room.rows, self.outputs)
        return CategoriesArrays(
            room.make(shape, room.stored),
            room.make(shape, room.dtype),
            room.make((room.rows, self._coded), np.dtype(np.int64)),
        )

    def __repr__(self) -> str:
        return f"Categories({self.inputs} -> {self.outputs}, {self.count} categories)"
