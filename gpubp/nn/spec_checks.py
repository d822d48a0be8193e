"""Checks of what a network is asked to be; each returns the checked setting."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gpubp.backends import Backend
from gpubp.backends.precision import Precision
from gpubp.checks import check_fraction, checked_list, is_number
from gpubp.errors import ConfigurationError, ShapeError, brief
from gpubp.files import free_memory
from gpubp.nn.activations import get_activation
from gpubp.nn.layers.periodic import Periodic

STANDARD = "standard"  # form of the weights; the other is "ntk"
LARGEST_SIZE = 2**31 - 1  # of a layer: what BLAS counts in


def checked_categories(
    categories: Sequence[int] | None, inputs: int, precision: Precision, scale: float
) -> tuple[int, ...]:
    """Return the number of categories of each input; nothing where no input has any."""
    if categories is None or not len(checked_list("categories", categories)):
        return ()
    checked = tuple(categories)
    if len(checked) != inputs:
        raise ShapeError(
            f"categories has {len(checked)} entries; one for each of the {inputs} inputs"
        )
    most = precision.largest_code
    for column, count in enumerate(checked):
        whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
        if not whole or not 0 <= count <= most:
            raise ConfigurationError(
                f"categories of input {column} are {brief(count)}; a whole number from 0 to {most}"
                f" is needed, whose codes are exact in {precision.name}"
            )
    if not any(checked):
        return ()
    if scale != 1:
        raise ConfigurationError(
            f"input_scale is {brief(scale)} and some inputs are categories; 1 is needed, as codes"
            " must be read as they are"
        )
    return tuple(map(int, checked))


def checked_periodic(
    periodic: Periodic | Mapping[str, Any] | None,
    bins: tuple[tuple[float, ...], ...],
    categories: tuple[int, ...],
) -> Periodic | None:
    """Return the settings, also where a file holds them as a dict."""
    if periodic is None:
        return None
    if bins:
        raise ConfigurationError("bins and periodic are both given; one of them is needed")
    if categories and all(categories):
        raise ConfigurationError(
            "periodic is given and all inputs are categories; a number, or no periodic, is needed"
        )
    if not isinstance(periodic, Periodic | Mapping):
        raise ConfigurationError(f"periodic is {brief(periodic)}; a gpubp.Periodic is needed")
    return periodic if isinstance(periodic, Periodic) else Periodic(**periodic)


def checked_bins(
    bins: Sequence[Sequence[float]] | None,
    inputs: int,
    dtype: np.dtype[Any],
    categories: tuple[int, ...],
) -> tuple[tuple[float, ...], ...]:
    """Return the edges of each input's bins; nothing where no input has any."""
    if bins is None or not len(checked_list("bins", bins)):
        return ()
    for edges in checked_list("bins", bins):
        if not all(is_number(x) or isinstance(x, float) for x in checked_list("bins", edges)):
            raise ConfigurationError(f"bins hold {brief(edges)}; a list of numbers is needed")
    checked = tuple(tuple(float(edge) for edge in edges) for edges in bins)
    if len(checked) != inputs:
        raise ShapeError(f"bins has {len(checked)} entries; one for each of the {inputs} inputs")
    for column, edges in enumerate(checked):
        if edges and categories and categories[column]:
            raise ConfigurationError(
                f"input {column} has bins and {categories[column]} categories; one of the two is"
                " needed"
            )
        steps = np.diff(np.asarray(edges, dtype)) if edges else np.ones(1)
        if len(edges) == 1 or not np.isfinite(steps).all() or not (steps > 0).all():
            raise ConfigurationError(
                f"bins of input {column} are {list(edges)!r}; two or more finite numbers that"
                f" increase in {dtype.name}, or none, are needed"
            )
    return checked if any(checked) else ()


def checked_residual(
    residual: bool | Sequence[bool], inputs: Sequence[int], outputs: Sequence[int]
) -> tuple[bool, ...]:
    """Return which hidden layers are residual; one that cannot be is refused if asked by itself."""
    wanted = _checked_bools("residual", residual, len(outputs))
    fits = [before == after for before, after in zip(inputs, outputs, strict=True)]
    for number, (asked, can) in enumerate(zip(wanted, fits, strict=True), 1):
        if asked and not can and not isinstance(residual, bool):
            raise ConfigurationError(
                f"residual of hidden layer {number} is True, with {inputs[number - 1]} inputs and"
                f" {outputs[number - 1]} outputs; as many of both, or False, is needed"
            )
    return tuple(asked and can for asked, can in zip(wanted, fits, strict=True))


def checked_mixing(mixing: bool | Sequence[bool], activations: Sequence[str]) -> tuple[bool, ...]:
    """Return which hidden layers mix; a function of whole rows cannot be mixed."""
    wanted = _checked_bools("mixing", mixing, len(activations))
    for number, (asked, name) in enumerate(zip(wanted, activations, strict=True), 1):
        if asked and get_activation(name).whole_rows:
            raise ConfigurationError(
                f"mixing of hidden layer {number} is True, with activation {name!r}; False, or a"
                " function of each neuron by itself, is needed"
            )
    return tuple(wanted)


def _checked_bools(what: str, value: bool | Sequence[bool], hidden: int) -> list[bool]:
    values = for_each_layer(what, value, hidden)
    for each in values:
        if not isinstance(each, bool | np.bool_):
            raise ConfigurationError(f"{what} is {brief(each)}; True or False is needed")
    return [bool(each) for each in values]


def checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes of at least two layers."""
    if not isinstance(sizes, Iterable) or isinstance(sizes, str | bytes | Mapping):
        raise ConfigurationError(
            f"sizes is {brief(sizes, 200)}; a list of all sizes is needed, as in"
            " Network([2, 16, 3])"
        )
    checked = tuple(sizes)
    whole = all(_is_size(size) for size in checked)
    if len(checked) < 2 or not whole:
        raise ConfigurationError(
            f"sizes are {brief(list(checked), 200)}; at least two whole numbers above 0 are needed:"
            " inputs, hidden layers, outputs"
        )
    return tuple(int(size) for size in checked)


def _is_size(value: Any) -> bool:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and 1 <= value <= LARGEST_SIZE


def check_memory(what: str, size: int, backend: Backend) -> None:
    """Refuse what takes more bytes than there is memory free, before any of it is made.

    Raises
    ------
    ConfigurationError
        Says what, and how much memory is free.
    """
    free = min(backend.free_memory() or free_memory(), sys.maxsize)
    if size > free:
        raise ConfigurationError(
            f"{what:.100}, for which the {free / 2**30:,.3g} GiB of memory that are free are not"
            " enough; less is needed"
        )


def for_each_layer(what: str, value: Any, hidden: int) -> list[Any]:
    """Spread one value over the hidden layers, or check that there is one for each."""
    if value is None or isinstance(value, str | int | float):
        return [value] * hidden
    if not isinstance(value, Iterable):
        raise ConfigurationError(f"{what} is {brief(value)}; one value, or a list, is needed")
    values = list(value)
    if len(values) != hidden:
        raise ShapeError(
            f"{what} has {len(values)} entries; one, or one for each of the {hidden} hidden"
            " layers, is needed"
        )
    return values


def width_of(
    place: int,
    bins: Sequence[Sequence[float]],
    width: int,
    categories: Sequence[int],
    of_codes: int,
    periodic: Periodic | None,
) -> int:
    """Return how many numbers an input becomes before the first dense layer."""
    if categories and categories[place]:
        return of_codes
    if periodic is not None:
        return periodic.width
    return width if bins and bins[place] else 1


def checked_scale(scale: float) -> float:
    """Return what the inputs are multiplied by."""
    if not is_number(scale) or not 0 < scale < math.inf:
        raise ConfigurationError(
            f"input_scale is {brief(scale)}; a finite number above 0 is needed, such as 1 / 255"
        )
    return float(scale)


def checked_normalization(name: str | None) -> str | None:
    """Return the kind of normalisation of a layer."""
    if name not in (None, "layer", "batch"):
        raise ConfigurationError(
            f"normalization is {brief(name)}; 'layer', 'batch' or None is needed"
        )
    return name


def checked_weights(form: str) -> str:
    """Return the form of the weights."""
    if form not in (STANDARD, "ntk"):
        raise ConfigurationError(f"weights is {brief(form)}; {STANDARD!r} or 'ntk' is needed")
    return form


def checked_rate(rate: float) -> float:
    """Return the share of a layer that dropout leaves out."""
    check_fraction(dropout=rate)
    return float(rate)
