"""Checks that all data sets share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import ConfigurationError, DataError, ShapeError


def checked_array(array: Any, name: str, dimensions: tuple[int, ...]) -> NDArray[Any]:
    """Return a NumPy array of numbers; raises ShapeError or DataError for what is none."""
    values = array if isinstance(array, np.ndarray) else np.asarray(array)
    if values.ndim not in dimensions:
        form = "(rows,)" if dimensions == (1,) else "(rows, columns)"
        raise ShapeError(f"{name} has shape {values.shape}; {form} is needed")
    if values.dtype.kind not in "biuf":
        raise DataError(f"{name} has dtype {values.dtype}; numbers are needed")
    return values


def checked_count(name: str, value: int) -> int:
    """Return a whole number above 0.

    Raises
    ------
    ConfigurationError
        When it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name} is {value!r}; a whole number above 0 is needed")
    return value
