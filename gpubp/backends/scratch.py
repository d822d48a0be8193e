"""Memory that is lent: temporary arrays of one network, and places for batches."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = Any  # numpy.ndarray or cupy.ndarray; CuPy cannot be named, it may not be installed


class Scratch:
    """Temporary arrays of one network, made on first use and then kept.

    A step asks for the same names, shapes and dtypes each time, so it allocates nothing after
    the first. A scratch belongs to one network and is not to be shared between threads.
    """

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._arrays: dict[tuple[str, tuple[int, ...], np.dtype[Any]], Array] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return the array of this name, shape and dtype; its content is undefined."""
        key = (name, shape, dtype)
        array = self._arrays.get(key)
        if array is None:
            array = self._arrays[key] = self._xp.empty(shape, dtype)
        return array

    def arange(self, length: int) -> Array:
        """Return the integers from 0 to length - 1, not to be written to."""
        key = ("arange", (length,), np.dtype(np.intp))
        array = self._arrays.get(key)
        if array is None:
            array = self._arrays[key] = self._xp.arange(length, dtype=np.intp)
        return array


class Slots(Protocol):
    """Places for a batch that the host fills and a step reads, each several arrays.

    Attributes
    ----------
    count : int
        Number of places.
    arrays : list of list of array
        The arrays of each place, which a step reads.
    """

    count: int
    arrays: list[list[Array]]

    def to_fill(self, slot: int) -> list[NDArray[Any]]:
        """Return the arrays in the host's memory to write a batch to; wait until that may be."""

    def send(self, slot: int, rows: int) -> None:
        """Have the first rows of what was written brought to where a step reads them."""

    def wait(self, slot: int) -> None:
        """Let what follows come after the filling of a place."""

    def release(self, slot: int) -> None:
        """Be told that what reads a place has been asked for."""
