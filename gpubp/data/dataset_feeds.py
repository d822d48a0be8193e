"""Batches of a data set that is read while the network trains; see `gpubp.data`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array, get_backend
from gpubp.data.batches import Data, check_finite, checked_batch_size
from gpubp.data.iterables import BatchDataset
from gpubp.data.protocol import Dataset, Reading, Rows
from gpubp.data.reading import Reader, read_rows
from gpubp.data.row_weights import checked_weights
from gpubp.data.shards import ALL, Shards
from gpubp.data.slot_feed import SlotFeed
from gpubp.errors import ConfigurationError, DataError, ShapeError
from gpubp.nn.losses import Loss, prepare


class DatasetFeed(SlotFeed):
    """The batches of a data set; see `gpubp.data.feeds.Feed`.

    They are read in order; another one than the next begins to read anew from there.

    Raises
    ------
    ShapeError, ConfigurationError, DataError
        When the data do not fit the network, or a setting does not fit the data.
    """

    def __init__(
        self,
        net: Reader,
        dataset: Dataset,
        batch_size: int | None,
        shuffle: Any,
        loss: Loss,
        shards: Shards = ALL,
    ) -> None:
        given = isinstance(dataset, BatchDataset)
        if given and batch_size is not None:
            raise ConfigurationError(
                f"batch_size is {batch_size!r} and the data come in batches; None is needed"
            )
        if not isinstance(shuffle, bool):
            raise ConfigurationError(
                "shuffle is a function and the data are no arrays; True or False is needed"
            )
        check_inputs(dataset, net)
        self.rows = len(dataset)
        if isinstance(dataset, BatchDataset):
            self.size = dataset.batch_size
        else:
            self.size = checked_batch_size(batch_size, self.rows)
        self.steps = -(-self.rows // self.size)
        self.sizes = [min(self.size, self.rows - k * self.size) for k in range(self.steps)]
        self.own_sizes = [stop - start for start, stop in map(shards.span, self.sizes)]
        self.same_sizes = not given
        self.weighted, self.shuffle, self.shards = dataset.schema.weighted, shuffle, shards
        super().__init__(net, self.own_sizes[0], self.steps)
        self._dataset, self._loss = dataset, loss
        self._reading = Reading(self.size, net.seed, shuffle, shards)
        self._epoch = 0
        self._next = (-1, -1)
        self._open: Iterator[Rows] = iter(())

    def begin_epoch(self, epoch: int) -> None:
        """Read another epoch."""
        self._epoch = epoch
        self._forget()

    def read(self, ops: Any, rows: int, slot: int, clock: Array) -> Data:
        """Bring the batch in a slot into buffers."""
        x, expected, *weights = self._slots.arrays[slot]
        if not rows:
            return Data(x[:0], expected[:0])
        given = weights[0][:rows] if weights else None
        return Data(self._read_slot(ops, slot, rows), expected[:rows], weights=given)

    def _load(self, index: int) -> list[NDArray[Any]]:
        host = self._host_batch(self._epoch, index)
        return [host.x, host.expected, *([] if host.weights is None else [host.weights])]

    def batch(self, epoch: int, index: int) -> Data:
        """Return one's own rows of a batch on the backend; a later call may write over them."""
        host, place = self._host_batch(epoch, index), self._net.backend.asarray
        weights = None if host.weights is None else place(host.weights)
        return Data(read_rows(self._net, host.x), place(host.expected), weights=weights)

    def _host_batch(self, epoch: int, index: int) -> Data:
        """Return one's own rows of a batch in the host's memory, x as stored.

        Raises
        ------
        DataError
            When it cannot be read, or is longer than the first.
        """
        if (epoch, index) != self._next:
            self.close()
            self._open = iter(self._dataset.batches(self._reading, epoch, index))
        rows = next(self._open, None)
        if rows is None:
            raise DataError(f"the data ended before batch {index + 1} of epoch {epoch + 1}")
        self._next = (epoch, index + 1)
        if index + 1 == self.steps:
            self.close()
        most = self.own_sizes[0]
        if len(rows.x) > most:
            raise DataError(f"batch {index + 1} has {len(rows.x)} rows; {most} at most are needed")
        if not self.same_sizes:
            self.own_sizes[index] = len(rows.x)
            if self.shards == ALL:
                self.sizes[index] = len(rows.x)
        return _prepared(self._net, rows, self._loss, f"batch {index + 1}")

    def close(self) -> None:
        """End the threads that read ahead."""
        close = getattr(self._open, "close", None)
        if close is not None:
            close()
        self._open, self._next = iter(()), (-1, -1)

    def described(self) -> dict[str, Any]:
        """Return what tells the data and the way they are read from others."""
        return {
            "rows": self.rows,
            "data": self._dataset.fingerprint(),
            "batch_size": self.size,
            "shuffle": self.shuffle,
            "window": getattr(self._dataset, "window", 0),
            "shards": self.shards.count,
        }


class DatasetRows:
    """A data set to measure a network on, a chunk of rows at a time."""

    def __init__(self, net: Reader, dataset: Dataset, loss: Loss, shards: Shards = ALL) -> None:
        check_inputs(dataset, net)
        self._dataset, self._net, self._loss, self._shards = dataset, net, loss, shards
        self.one_class = net.sizes[-1] > 1 and len(dataset.schema.expected) == 1

    def __len__(self) -> int:
        return len(self._dataset)

    def shard(self, count: int, shard: int) -> DatasetRows:
        """Return one of `count` shards."""
        only = Shards(count, shard, shard + 1)
        return DatasetRows(self._net, self._dataset, self._loss, only)

    def chunks(self, rows: int) -> Iterator[Data]:
        """Return all rows of the shard as they are stored, at most so many at a time."""
        reading = Reading(min(rows, len(self)), shuffle=False, shards=self._shards)
        found = iter(self._dataset.batches(reading, 0))
        try:
            for number, chunk in enumerate(found):
                if not len(chunk.x):
                    continue
                host = _prepared(self._net, chunk, self._loss, f"chunk {number + 1}")
                place = self._net.backend.asarray
                weights = None if host.weights is None else place(host.weights)
                yield Data(place(host.x), place(host.expected), self.one_class, weights)
        finally:
            close = getattr(found, "close", None)
            if close is not None:
                close()


def check_inputs(dataset: Dataset, net: Reader) -> None:
    """Raise ShapeError when a data set has not the inputs of the network."""
    count = len(dataset.schema.inputs)
    if count != net.sizes[0]:
        raise ShapeError(
            f"the data have {count} inputs and the network {net.sizes[0]}; the same number is"
            " needed"
        )


def _prepared(net: Reader, rows: Rows, loss: Loss, name: str) -> Data:
    """Return rows in the host's memory, checked, x in a dtype that batches can be read from."""
    x: Array = rows.x
    kind = x.dtype if x.dtype.name in net.backend.storage else net.dtype
    x = np.ascontiguousarray(x, kind)
    check_finite(x, net, f"x of {name}")
    expected = prepare(rows.y, net.sizes[-1], loss, get_backend("cpu"), net.dtype)
    weights = None if rows.weights is None else np.empty(0, net.dtype)
    if rows.weights is not None and len(x):  # a process may have no rows of a short batch
        weights = checked_weights(rows.weights, get_backend("cpu"), net.dtype, f"{name}: ")
    return Data(x, expected, weights=weights)
