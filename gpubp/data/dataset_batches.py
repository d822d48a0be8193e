"""Batches of a data set that is read while the network trains; see `gpubp.data`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpubp.backends import Array, get_backend
from gpubp.data.batches import Data, check_finite, checked_batch_size
from gpubp.data.iterables import BatchDataset
from gpubp.data.protocol import Dataset, Reading, Rows
from gpubp.data.row_weights import checked_weights
from gpubp.data.shards import ALL, Shards
from gpubp.errors import ConfigurationError, DataError, ShapeError
from gpubp.nn.backprop import LayerStack
from gpubp.nn.losses import Loss, prepare


class StreamBatches:
    """The batches of every epoch, as `gpubp.data.batches.Batches` gives those of arrays.

    They are read in order; another one than the next begins to read anew from there.

    Raises
    ------
    ShapeError, ConfigurationError, DataError
        When the data do not fit the network, or a setting does not fit the data.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int | None,
        shuffle: Any,
        stack: LayerStack,
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
        check_inputs(dataset, stack)
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
        self.backend, self.seed = stack.backend, stack.seed
        self._dataset, self._stack, self._loss = dataset, stack, loss
        self._reading = Reading(self.size, stack.seed, shuffle, shards)
        self._next = (-1, -1)
        self._open: Iterator[Rows] = iter(())

    def batch(self, epoch: int, index: int) -> Data:
        """Return one's own rows of a batch on the backend; a later call may write over them."""
        host, there = self.host_batch(epoch, index), self.backend.asarray
        weights = None if host.weights is None else there(host.weights)
        return Data(self._stack.read_rows(host.x), there(host.expected), weights=weights)

    def host_batch(self, epoch: int, index: int) -> Data:
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
        return prepared(self._stack, rows, self._loss, f"batch {index + 1}")

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


class StreamData:
    """A data set to measure a network on, a chunk of rows at a time."""

    def __init__(
        self, dataset: Dataset, stack: LayerStack, loss: Loss, shards: Shards = ALL
    ) -> None:
        check_inputs(dataset, stack)
        self._dataset, self._stack, self._loss, self._shards = dataset, stack, loss, shards
        self.one_class = stack.sizes[-1] > 1 and len(dataset.schema.expected) == 1

    def __len__(self) -> int:
        return len(self._dataset)

    def shard(self, count: int, shard: int) -> StreamData:
        """Return one of `count` shards."""
        only = Shards(count, shard, shard + 1)
        return StreamData(self._dataset, self._stack, self._loss, only)

    def chunks(self, rows: int) -> Iterator[Data]:
        """Return all rows of the shard as they are stored, at most so many at a time."""
        reading = Reading(min(rows, len(self)), shuffle=False, shards=self._shards)
        found = iter(self._dataset.batches(reading, 0))
        try:
            for number, part in enumerate(found):
                if not len(part.x):
                    continue
                host = prepared(self._stack, part, self._loss, f"chunk {number + 1}")
                there = self._stack.backend.asarray
                weights = None if host.weights is None else there(host.weights)
                yield Data(there(host.x), there(host.expected), self.one_class, weights)
        finally:
            close = getattr(found, "close", None)
            if close is not None:
                close()


def check_alone(**others: Any) -> None:
    """Raise ConfigurationError when something is given that a data set holds itself."""
    for name, value in others.items():
        if value is not None:
            raise ConfigurationError(
                f"{name} with a data set; None is needed, as the data set has its own"
            )


def check_inputs(dataset: Dataset, stack: LayerStack) -> None:
    """Raise ShapeError when a data set has not the inputs of the network."""
    count = len(dataset.schema.inputs)
    if count != stack.sizes[0]:
        raise ShapeError(
            f"the data have {count} inputs and the network {stack.sizes[0]}; the same number is"
            " needed"
        )


def prepared(stack: LayerStack, rows: Rows, loss: Loss, name: str) -> Data:
    """Return rows in the host's memory, checked, x in a dtype that batches can be read from."""
    x: Array = rows.x
    kind = x.dtype if x.dtype.name in stack.backend.storage else stack.dtype
    x = np.ascontiguousarray(x, kind)
    if not len(x):  # a process's part of a short batch
        expected = np.empty((0, stack.sizes[-1]), stack.dtype)
        return Data(x, expected, weights=None if rows.weights is None else np.empty(0, stack.dtype))
    check_finite(x, stack, f"x of {name}")
    expected = prepare(rows.y, stack.sizes[-1], loss, get_backend("cpu"), stack.dtype)
    weights = None
    if rows.weights is not None:
        weights = checked_weights(rows.weights, get_backend("cpu"), stack.dtype, f"{name}: ")
    return Data(x, expected, weights=weights)
