"""What a data set is: rows of known columns, read as batches in an order that a seed decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gpubp.backends.interchange import check_unmasked
from gpubp.data.shards import ALL, Shards
from gpubp.errors import DataError, ShapeError


@dataclass(frozen=True)
class Schema:
    """What the rows of a data set hold.

    Attributes
    ----------
    inputs : tuple of str
        Names of the columns of x.
    dtype : str
        Of x, as stored.
    expected : tuple of str
        Names of the columns of y.
    weighted : bool
        Whether rows have weights.
    """

    inputs: tuple[str, ...]
    dtype: str
    expected: tuple[str, ...]
    weighted: bool = False

    @classmethod
    def of(cls, rows: Rows) -> Schema:
        """Return the schema of arrays: their columns have numbers for names."""
        outputs = 1 if rows.y.ndim == 1 else rows.y.shape[1]
        return cls(
            tuple(f"x{column}" for column in range(rows.x.shape[1])),
            rows.x.dtype.name,
            tuple(f"y{column}" for column in range(outputs)),
            rows.weights is not None,
        )


class Rows(NamedTuple):
    """Some rows: x (rows, inputs), y (rows,) or (rows, outputs), weights (rows,) or None."""

    x: NDArray[Any]
    y: NDArray[Any]
    weights: NDArray[Any] | None = None

    def between(self, start: int, stop: int) -> Rows:
        """Return rows `start` to before `stop`, without copying."""
        weights = None if self.weights is None else self.weights[start:stop]
        return Rows(self.x[start:stop], self.y[start:stop], weights)


@dataclass(frozen=True)
class Reading:
    """How a data set is read.

    Attributes
    ----------
    batch_size : int
        Rows of a batch, over all processes.
    seed : int
        Decides, with the number of the epoch, the order of the rows.
    shuffle : bool
        Whether each epoch has an order of its own; else rows come as they are stored.
    shards : Shards
        Which rows of every batch are read.
    """

    batch_size: int
    seed: int = 0
    shuffle: bool = True
    shards: Shards = ALL


@runtime_checkable
class Dataset(Protocol):
    """Rows that need not be in memory all at once.

    A position in a training is two numbers, of the epoch and of the batch in it: batch k of epoch e
    is the same whenever it is asked for.
    """

    @property
    def schema(self) -> Schema:
        """What the rows hold."""

    def __len__(self) -> int:
        """Return the number of rows of an epoch."""

    def batches(self, reading: Reading, epoch: int, start: int = 0) -> Iterator[Rows]:
        """Return the batches of an epoch from number `start` on, own shards only."""

    def fingerprint(self) -> str:
        """Return what tells these data from others."""


def checked_array(array: Any, name: str, dimensions: tuple[int, ...]) -> NDArray[Any]:
    """Return a NumPy array of numbers.

    Raises
    ------
    ShapeError, DataError
        When it has other dimensions, or holds no numbers.
    """
    check_unmasked(array, name)
    values = array if isinstance(array, np.ndarray) else np.asarray(array)
    if values.ndim not in dimensions:
        form = "(rows,)" if dimensions == (1,) else "(rows, columns)"
        raise ShapeError(f"{name} has shape {values.shape}; {form} is needed")
    if values.dtype.kind not in "biuf":
        raise DataError(f"{name} has dtype {values.dtype}; numbers are needed")
    return values
