"""The layers before the first dense one, which embed inputs: made of a network's description."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpubp.backends import Scratch
from gpubp.nn.layers.categories import Categories, numbers_among
from gpubp.nn.layers.layer import Layer
from gpubp.nn.layers.periodic import PeriodicEmbedding
from gpubp.nn.layers.piecewise_linear import PiecewiseLinear
from gpubp.nn.layers.scale import Scale
from gpubp.nn.spec import NetworkSpec


def first_layers(
    spec: NetworkSpec, backend: Any, dtype: np.dtype[Any], scratch: Scratch
) -> list[Layer]:
    """Return the layers that a description asks for, first to last.

    Each hands on what it does not embed: behind the categories come the numbers, which the next
    layer embeds, in the order of the inputs.
    """
    made: list[Layer] = []
    bins, coded = spec.bins, 0
    if spec.categories:
        categories = Categories(spec.categories, spec.category_width, backend, scratch)
        made.append(categories)
        numbers = [bins[column] for column in numbers_among(spec.categories)] if bins else []
        coded = categories.embedded
        bins = (*[()] * coded, *numbers)
    if any(bins):
        made.append(PiecewiseLinear(bins, spec.embedding, backend, dtype, scratch))
    if spec.periodic:
        inputs = made[-1].outputs if made else spec.sizes[0]
        made.append(PeriodicEmbedding(coded, inputs, spec.periodic, backend, scratch))
    if spec.input_factors:
        made.append(Scale(made[-1].outputs if made else spec.sizes[0], scratch))
    return made


def names_behind(layers: Iterable[Layer], inputs: Sequence[str]) -> list[str]:
    """Return what the first dense layer reads, by name, where categories and bins are embedded."""
    names = list(inputs)
    for layer in layers:
        if isinstance(layer, Categories | PiecewiseLinear):
            names = layer.names(names)
    return names
