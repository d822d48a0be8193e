"""The batches of a training, and the rows of a measurement: one protocol for all kinds of data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array
from gpubp.backends.random import SPLIT, generator
from gpubp.data.array_feeds import ArrayFeed, HostArrayFeed, Shuffle
from gpubp.data.batches import Data, take_data
from gpubp.data.dataset_feeds import DatasetFeed, DatasetRows
from gpubp.data.protocol import Dataset
from gpubp.data.reading import Reader, is_on_host, read_rows
from gpubp.data.shards import ALL, Shards
from gpubp.errors import ConfigurationError, DataError, brief
from gpubp.nn.losses import Loss

__all__ = [
    "Feed",
    "HeldOut",
    "Shuffle",
    "check_alone",
    "feed_of",
    "held_out",
    "read_rows",
    "validation_rows",
]


class Feed(Protocol):
    """The batches of a training: batch k of epoch e is the same whenever it is asked for.

    Attributes
    ----------
    rows, size, steps : int
        Rows of an epoch, rows of a whole batch, and batches of an epoch.
    sizes, own_sizes : list of int
        Rows of each batch, and how many of them are those of one's own shards.
    weighted : bool
        Whether rows have weights.
    same_sizes : bool
        Whether the rows of each batch are known before it is read.
    by_clock : bool
        Whether the clock alone selects the batch: nothing is to be brought before a step.
    sources : tuple of array
        What a step then gathers the batch from, inputs and expected values first; else none.
    at_once : int
        How many epochs' orders of rows it can hold.
    """

    rows: int
    size: int
    steps: int
    sizes: list[int]
    own_sizes: list[int]
    weighted: bool
    same_sizes: bool
    by_clock: bool
    at_once: int

    @property
    def sources(self) -> tuple[Array, ...]:
        """The arrays that a step gathers its batch from by the clock alone."""

    def begin_epoch(self, epoch: int, count: int = 1) -> None:
        """Bring the rows into the orders of an epoch and of those after it, `count` in all.

        Batches of later epochs follow those of the first, whole ones and the last, short one.
        """

    def prepare(self, index: int) -> int:
        """Make sure that a step can read a batch; return from which slot."""

    def done(self, index: int) -> None:
        """Be told that the step on a batch has been asked for, and fetch the next meanwhile."""

    def read(self, ops: Any, rows: int, slot: int, clock: Array) -> Data:
        """Bring the clock's batch, of so many rows, into buffers: a part of the step.

        `ops` carries the operations out, or notes them. The buffers are the same for every batch.
        """

    def batch(self, epoch: int, index: int) -> Data:
        """Return a batch by itself."""

    def weights(self, epoch: int) -> NDArray[np.float64]:
        """Return what one's own rows of each batch of an epoch weigh together, (steps,)."""

    def described(self) -> dict[str, Any]:
        """Return what tells the data, and the way they are read, from others."""

    def close(self) -> None:
        """End what reads ahead."""


class HeldOut(Protocol):
    """Rows to measure a network on.

    Attributes
    ----------
    one_class : bool
        Whether expected values are class indices, one of several for each row.
    """

    @property
    def one_class(self) -> bool:
        """Whether expected values are class indices."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def shard(self, count: int, shard: int) -> HeldOut:
        """Return one of `count` shards."""

    def chunks(self, rows: int) -> Iterator[Data]:
        """Return all rows as they are stored, at most so many at a time."""


def feed_of(
    net: Reader,
    data: Data | Dataset,
    batch_size: int | None,
    shuffle: Shuffle,
    loss: Loss,
    shards: Shards = ALL,
    rows: NDArray[np.int64] | None = None,
) -> Feed:
    """Return the batches of arrays, or of some of their rows, or of a data set.

    Raises
    ------
    ShapeError, ConfigurationError, DataError
        When the data do not fit the network, or a setting does not fit the data.
    """
    if not isinstance(data, Data):
        return DatasetFeed(net, data, batch_size, shuffle, loss, shards)
    kind = HostArrayFeed if is_on_host(net, data.x) else ArrayFeed
    return kind(net, data, batch_size, shuffle, shards, rows)


def held_out(net: Reader, data: Data | Dataset, loss: Loss) -> HeldOut:
    """Return the rows of arrays or of a data set to measure a network on."""
    return data if isinstance(data, Data) else DatasetRows(net, data, loss)


def validation_rows(net: Reader, validation: Any, loss: Loss) -> HeldOut:
    """Return the rows that `Network.fit` is given to validate on.

    Raises
    ------
    ConfigurationError
        When they are no tuple (x, y) or (x, y, sample_weight) and no data set.
    ShapeError, DataError, NonFiniteError, DeviceError
        When they cannot be used.
    """
    if isinstance(validation, Dataset | Data):
        return held_out(net, validation, loss)
    if not isinstance(validation, tuple) or len(validation) not in (2, 3):
        raise ConfigurationError(
            "validation is no tuple (x, y) or (x, y, sample_weight) and no share of the rows; one"
            " of them is needed"
        )
    x, y, *weights = validation
    return take_data(net, x, y, loss, "validation ", weights[0] if weights else None)


def hold_out(net: Reader, data: Data | Dataset, share: float) -> tuple[Data, Data]:
    """Return the rows to train on and those to validate on, which the network's seed draws.

    Raises
    ------
    ConfigurationError
        When the share is none, or the rows are those of a data set.
    DataError
        When no row would be left on one side.
    """
    if isinstance(share, bool) or not 0 < share < 1:
        raise ConfigurationError(
            f"validation is {brief(share)}; a share between 0 and 1, or (x, y), is needed"
        )
    if not isinstance(data, Data):
        raise ConfigurationError(
            f"validation is {brief(share)} with a data set; a second data set is needed"
        )
    rows = len(data)
    held = round(share * rows)
    if not 0 < held < rows:
        raise DataError(
            f"validation is {brief(share)} of {rows} rows, which is {held} of them; some rows to"
            " train on and some to validate on are needed"
        )
    order = generator(net.seed, SPLIT).permutation(rows)
    return data.rows(net, np.sort(order[held:])), data.rows(net, np.sort(order[:held]))


def check_alone(**others: Any) -> None:
    """Raise ConfigurationError when something is given that a data set holds itself."""
    for name, value in others.items():
        if value is not None:
            raise ConfigurationError(
                f"{name} with a data set; None is needed, as the data set has its own"
            )
