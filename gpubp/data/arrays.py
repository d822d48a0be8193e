"""Data sets of arrays in memory and of .npy files mapped into it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.checks import checked_path, checked_whole
from gpubp.data.blocks import BlockDataset
from gpubp.data.fingerprint import fingerprint, sampled_rows
from gpubp.data.protocol import Rows, Schema, checked_array
from gpubp.errors import DataError, ShapeError

BLOCK = 65_536  # rows


class ArrayDataset(BlockDataset):
    """Arrays in memory, or mapped into it, read in blocks of rows.

    Parameters
    ----------
    x : array, (rows, inputs)
    y : array, (rows,) or (rows, outputs)
        Class indices, probabilities or values.
    sample_weight : array, (rows,), or None
        What each row weighs in the loss.
    block : int
        Rows of a block; a map is read a block at a time, never row by row.
    window : int or None
        Blocks whose rows are mixed; None for as many as make 128 MiB, up to 16.

    Raises
    ------
    ShapeError, DataError, ConfigurationError
        When the arrays do not fit each other, or a setting is out of its range.
    """

    def __init__(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        sample_weight: NDArray[Any] | None = None,
        *,
        block: int = BLOCK,
        window: int | None = None,
    ) -> None:
        self._x, self._y = checked_array(x, "x", (2,)), checked_array(y, "y", (1, 2))
        self._weights = None
        if sample_weight is not None:
            self._weights = checked_array(sample_weight, "sample_weight", (1,))
        rows = len(self._x)
        for name, array in (("y", self._y), ("sample_weight", self._weights)):
            if array is not None and len(array) != rows:
                raise ShapeError(
                    f"x has {rows} rows and {name} has {len(array)}; the same number is needed"
                )
        if not rows:
            raise DataError("x has no rows; at least one is needed")
        self.block = checked_whole("block", block)
        self.sizes = [min(block, rows - start) for start in range(0, rows, block)]
        self.schema = Schema.of(Rows(self._x, self._y, self._weights))
        self.choose_window(window)

    def read(self, block: int) -> Rows:
        """Return all rows of a block."""
        rows = slice(block * self.block, (block + 1) * self.block)
        weights = None if self._weights is None else np.asarray(self._weights[rows])
        return Rows(np.asarray(self._x[rows]), np.asarray(self._y[rows]), weights)

    def fingerprint(self) -> str:
        """Return a SHA-256 of shapes, dtypes and up to 65,536 rows."""
        rows = sampled_rows(len(self._x))
        arrays = [self._x, self._y, *([] if self._weights is None else [self._weights])]
        return fingerprint([np.asarray(array[rows]) for array in arrays])


def npy(
    x: str | os.PathLike[str],
    y: str | os.PathLike[str],
    sample_weight: str | os.PathLike[str] | None = None,
    *,
    block: int = BLOCK,
    window: int | None = None,
) -> ArrayDataset:
    """Return the data set of .npy files, which are mapped into memory and not loaded.

    Raises
    ------
    DataError, ShapeError, ConfigurationError
        When a file is none, or as for `ArrayDataset`.
    """
    weights = None if sample_weight is None else _mapped(sample_weight)
    return ArrayDataset(_mapped(x), _mapped(y), weights, block=block, window=window)


def _mapped(path: str | os.PathLike[str]) -> NDArray[Any]:
    path = checked_path("path", path)
    try:
        mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = "there is none" if not path.exists() else str(error)
        raise DataError(f"{path} cannot be read as a .npy file: {reason}") from error
    if not isinstance(mapped, np.ndarray):
        raise DataError(f"{path} holds several arrays; a .npy file, which holds one, is needed")
    return mapped
