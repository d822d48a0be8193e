"""Some rows of arrays that are stored once: to train on, or to measure a network on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.data.batches import Data
from gpubp.data.reading import Reader
from gpubp.data.shards import Shards
from gpubp.errors import DataError, ShapeError


def take_rows(rows: Any, x: Any, name: str = "rows") -> NDArray[np.int64]:
    """Return the numbers of chosen rows of x, (chosen,), checked.

    Raises
    ------
    ShapeError, DataError
        When they are no whole numbers in one dimension, none at all, or one does not exist.
    """
    chosen, count = np.asarray(rows), (np.shape(x) or (0,))[0]
    if chosen.dtype.kind not in "iu" or chosen.ndim != 1:
        raise ShapeError(
            f"{name} has {chosen.dtype} of shape {chosen.shape}; whole numbers (chosen,) are needed"
        )
    if not len(chosen):
        raise DataError(f"{name} is empty; the number of one row at least is needed")
    if not 0 <= int(chosen.min()) <= int(chosen.max()) < count:
        raise DataError(
            f"{name} goes from {chosen.min()} to {chosen.max()}; rows from 0 to {count - 1} are"
            " needed"
        )
    return chosen.astype(np.int64)


@dataclass(frozen=True)
class ChosenRows:
    """Chosen rows to measure on, copied a chunk at a time; see `gpubp.data.feeds.HeldOut`.

    Attributes
    ----------
    rows : array of int64, (chosen,)
        Their numbers among the rows of the data.
    """

    net: Reader
    data: Data
    rows: NDArray[np.int64]

    @property
    def one_class(self) -> bool:
        """Whether expected values are class indices."""
        return self.data.one_class

    def __len__(self) -> int:
        return len(self.rows)

    def shard(self, count: int, shard: int) -> ChosenRows:
        """Return one of `count` shards."""
        start, stop = Shards(count, shard, shard + 1).span(len(self))
        return ChosenRows(self.net, self.data, self.rows[start:stop])

    def chunks(self, rows: int) -> Iterator[Data]:
        """Return chunks of at most so many rows, in order."""
        for start in range(0, len(self), rows):
            yield self.data.rows(self.net, self.rows[start : start + rows])
