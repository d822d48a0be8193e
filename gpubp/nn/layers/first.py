"""The layers before the first dense one, which embed inputs: made of a network's description."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.backends import Scratch
from gpubp.nn.layers.categories import Categories, numbers_among
from gpubp.nn.layers.layer import Layer
from gpubp.nn.layers.piecewise_linear import PiecewiseLinear


def first_layers(spec: Any, backend: Any, dtype: np.dtype[Any], scratch: Scratch) -> list[Layer]:
    """Return the layers that a `gpubp.nn.spec.NetworkSpec` asks for, first to last.

    Each hands on what it does not embed: behind the categories come the numbers, which the next
    layer embeds, in the order of the inputs.
    """
    made: list[Layer] = []
    bins = spec.bins
    if spec.categories:
        categories = Categories(spec.categories, spec.category_width, backend, scratch)
        made.append(categories)
        numbers = [bins[column] for column in numbers_among(spec.categories)] if bins else []
        bins = (*[()] * categories.embedded, *numbers)
    if any(bins):
        made.append(PiecewiseLinear(bins, spec.embedding, backend, dtype, scratch))
    return made
