"""Batches of a data set that is read while the network trains; see `gpubp.data`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array, get_backend
from gpubp.backends.interchange import native_array
from gpubp.data.batches import Data, check_finite, checked_batch_size
from gpubp.data.iterables import BatchDataset
from gpubp.data.protocol import Dataset, Reading, Rows
from gpubp.data.reading import Reader, read_rows
from gpubp.data.row_weights import checked_weights
from gpubp.data.shards import ALL, Shards
from gpubp.data.slot_feed import SlotFeed
from gpubp.errors import ConfigurationError, DataError, ShapeError, brief
from gpubp.nn.losses import Loss, prepare

Kind = tuple[tuple[int, ...], np.dtype[Any]]


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
                f"batch_size is {brief(batch_size)} and the data come in batches; None is needed"
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
        self._most = shards.most(self.size)
        self._kinds = _kinds(net, dataset, loss)
        kinds = [((self._most, *shape), dtype) for shape, dtype in self._kinds]
        super().__init__(net, kinds, self.steps)
        self._dataset, self._loss = dataset, loss
        self._reading = Reading(self.size, net.seed, shuffle, shards)
        self._epoch = 0
        self._weights = np.full(self.steps, np.nan)  # of one's own rows of each batch that was read
        self._next = (-1, -1)
        self._open: Iterator[Rows] = iter(())

    def begin_epoch(self, epoch: int, count: int = 1) -> None:
        """Read another epoch."""
        self._epoch = epoch
        self._weights.fill(np.nan)
        self._forget()

    def read(self, ops: Any, rows: int, slot: int, clock: Array) -> Data:
        """Bring the batch in a slot into buffers."""
        _, expected, *weights = self._slots.arrays[slot]
        given = weights[0][:rows] if weights else None
        return Data(self._read_slot(ops, slot, rows), expected[:rows], weights=given)

    def _load(self, index: int, arrays: list[NDArray[Any]]) -> int:
        host = self._host_batch(self._epoch, index)
        read = [host.x, host.expected, *([] if host.weights is None else [host.weights])]
        for array, given in zip(arrays, read, strict=True):
            array[: len(given)] = given
        return len(host)

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
            When it cannot be read, or does not go with the first.
        """
        if (epoch, index) != self._next:
            self._end()
            self._open = iter(self._dataset.batches(self._reading, epoch, index))
        rows = next(self._open, None)
        if rows is None:
            raise DataError(f"the data ended before batch {index + 1} of epoch {epoch + 1}")
        self._next = (epoch, index + 1)
        if index + 1 == self.steps:
            self._end()
        name = f"batch {index + 1}"
        self._check_rows(len(rows.x), index, name)
        batch = _prepared(self._net, rows, self._loss, self._kinds, name)
        if not self.same_sizes:
            self.own_sizes[index] = len(batch)
            if self.shards == ALL:
                self.sizes[index] = len(batch)
        weights = batch.weights
        self._weights[index] = len(batch) if weights is None else weights.sum(dtype=np.float64)
        return batch

    def weights(self, epoch: int) -> NDArray[np.float64]:
        """Return what one's own rows of each batch of an epoch weigh together, (steps,).

        Batches that were done before a training went on are read for it.
        """
        for index in np.flatnonzero(np.isnan(self._weights)):
            self._host_batch(epoch, int(index))
        return self._weights

    def _check_rows(self, rows: int, index: int, name: str) -> None:
        needed = self.own_sizes[index]
        if self.same_sizes and rows != needed:
            raise DataError(f"{name} has {rows} rows; {needed} are needed")
        if rows > self._most:
            raise DataError(f"{name} has {rows} rows; {self._most} at most are needed")
        if not rows and self.shards == ALL:
            raise DataError(f"{name} has no rows; at least one is needed")

    def close(self) -> None:
        """End the threads that read ahead."""
        self._end()
        super().close()

    def _end(self) -> None:
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
        kinds = _kinds(self._net, self._dataset, self._loss)
        read = iter(self._dataset.batches(reading, 0))
        try:
            for number, chunk in enumerate(read):
                if not len(chunk.x):
                    continue
                host = _prepared(self._net, chunk, self._loss, kinds, f"chunk {number + 1}")
                place = self._net.backend.asarray
                weights = None if host.weights is None else place(host.weights)
                yield Data(place(host.x), place(host.expected), self.one_class, weights)
        finally:
            close = getattr(read, "close", None)
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


def _kinds(net: Reader, dataset: Dataset, loss: Loss) -> list[Kind]:
    """Return the shape of a row and the dtype of x, expected values and, if any, weights."""
    schema, outputs = dataset.schema, net.sizes[-1]
    stored = np.dtype(schema.dtype).newbyteorder("=")
    kinds: list[Kind] = [
        ((net.sizes[0],), stored if stored.name in net.backend.storage else net.dtype)
    ]
    indices = loss.classes and outputs > 1
    if indices and len(schema.expected) == 1:
        kinds.append(((), np.dtype(np.int64)))
    else:
        kinds.append(((outputs,), net.dtype))
    return [*kinds, ((), net.dtype)] if schema.weighted else kinds


def _prepared(net: Reader, rows: Rows, loss: Loss, kinds: list[Kind], name: str) -> Data:
    """Return rows in the host's memory, checked and of these kinds.

    Raises
    ------
    DataError, ShapeError, NonFiniteError
        When they cannot be used, or are of another kind than the schema says.
    """
    x, y, weights = native_array(rows.x), native_array(rows.y), rows.weights
    (_, stored), (form, dtype), *weighted = kinds
    if stored.kind != "f" and x.dtype != stored:
        raise DataError(
            f"{name} has x of {x.dtype}; {stored} is needed, as the schema of the data says"
        )
    if weighted and weights is None:
        raise DataError(f"{name} has no weights; they are needed, as the schema of the data says")
    if not weighted and weights is not None:
        raise DataError(f"{name} has weights; none are needed, as the schema of the data says")
    with np.errstate(over="ignore"):  # found below
        x = np.ascontiguousarray(x, stored)
    cpu = get_backend("cpu")
    if len(x):
        check_finite(x, net, f"x of {name}")
        expected = prepare(y, net.sizes[-1], loss, cpu, net.dtype)
        if weights is not None:
            weights = checked_weights(native_array(weights), cpu, net.dtype, f"{name}: ")
    else:  # a process's share of a short batch
        expected = np.empty((0, *form), dtype)
        weights = None if weights is None else np.empty(0, net.dtype)
    if expected.shape[1:] != form or expected.dtype != dtype:
        needed = ", ".join(("rows", *map(str, form)))
        raise DataError(
            f"{name} has y of shape {y.shape}; ({needed}) is needed, as the schema of the data says"
        )
    return Data(x, expected, weights=weights)
