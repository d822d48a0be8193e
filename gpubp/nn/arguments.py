"""The settings of a network, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpubp.errors import ConfigurationError, ShapeError


def checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of inputs, of neurons in each hidden layer, of outputs."""
    checked = tuple(sizes)
    whole = all(isinstance(size, int | np.integer) and size >= 1 for size in checked)
    if len(checked) < 2 or not whole:
        raise ConfigurationError(
            f"sizes are {list(checked)!r}; at least two whole numbers above 0 are needed: inputs,"
            " hidden layers, outputs"
        )
    return tuple(int(size) for size in checked)


def one_a_layer(what: str, value: Any, hidden: int) -> list[Any]:
    """Spread one value over the hidden layers, or check that there is one for each."""
    if value is None or isinstance(value, str | int | float):
        return [value] * hidden
    values = list(value)
    if len(values) != hidden:
        raise ShapeError(
            f"{what} has {len(values)} entries; one, or one for each of the {hidden} hidden"
            " layers, is needed"
        )
    return values


def checked_scale(scale: float) -> float:
    """Return what inputs are multiplied by."""
    if not 0 < scale < math.inf:
        raise ConfigurationError(
            f"input_scale is {scale!r}; a finite number above 0 is needed, such as 1 / 255"
        )
    return float(scale)


def checked_normalization(name: str | None) -> str | None:
    """Return the kind of normalisation of one layer."""
    if name not in (None, "layer", "batch"):
        raise ConfigurationError(f"normalization is {name!r}; 'layer', 'batch' or None is needed")
    return name


def checked_dropout(rates: list[float]) -> list[float]:
    """Return the shares of outputs dropped."""
    for rate in rates:
        if not 0 <= rate < 1:
            raise ConfigurationError(f"dropout is {rate!r}; a number from 0 to below 1 is needed")
    return [float(rate) for rate in rates]
