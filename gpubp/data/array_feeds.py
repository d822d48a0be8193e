"""Batches of arrays: where a step can read them, or in the host's memory beside a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array
from gpubp.backends.random import SHUFFLE, permutation
from gpubp.data.batches import Data, checked_batch_size
from gpubp.data.fingerprint import fingerprint_of_rows, sampled_rows
from gpubp.data.reading import Reader, gather_rows
from gpubp.data.shards import ALL, Shards
from gpubp.data.slot_feed import SlotFeed
from gpubp.data.sparse_rows import SparseRows
from gpubp.errors import DataError, ShapeError

# So many steps, of so many rows in all, may the epochs have whose orders are drawn at once.
STEPS_AT_ONCE, ROWS_AT_ONCE = 200, 65_536
# Whether to shuffle, or what returns the order of the rows for an epoch's number.
Shuffle = bool | Callable[[int], Any]


class ArrayFeed:
    """Batches of arrays that a step gathers by the clock; see `gpubp.data.feeds.Feed`.

    Parameters
    ----------
    rows : array, (chosen,), or None
        Which rows of the data an epoch has; None for all.

    Raises
    ------
    ConfigurationError
        When the batch size is no whole number above 0.
    DataError
        When it is larger than the data.
    """

    same_sizes = True
    by_clock = True

    def __init__(
        self,
        net: Reader,
        data: Data,
        batch_size: int | None,
        shuffle: Shuffle,
        shards: Shards = ALL,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        self.rows = len(data) if rows is None else len(rows)
        self.size = checked_batch_size(batch_size, self.rows)
        self.steps = -(-self.rows // self.size)
        self.sizes = [min(self.size, self.rows - k * self.size) for k in range(self.steps)]
        spans = map(shards.span, self.sizes)
        self.own_sizes = [stop - start for start, stop in spans]
        self.weighted, self.shuffle, self.shards = data.weights is not None, shuffle, shards
        self._net, self._data, self._chosen = net, data, rows
        self.at_once = self._most_at_once()
        host = self._own_order(0, shuffled=False)
        room = self.steps * self.size * (self.at_once - 1) + len(host)
        self._order = net.backend.empty((room,), host.dtype)
        for order in self._orders(self.at_once):
            net.backend.put(order, host)

    @property
    def sources(self) -> tuple[Array, ...]:
        """What a step gathers its batch from: inputs, expected values, weights, order."""
        weights = () if self._data.weights is None else (self._data.weights,)
        return (self._data.x, self._data.expected, *weights, self._order)

    def _most_at_once(self) -> int:
        """Return the epochs whose orders are drawn at once: several where each has few steps."""
        by_host = callable(self.shuffle) or self.shards != ALL
        if self.weighted or by_host or not self.by_clock:
            return 1
        most = min(STEPS_AT_ONCE // self.steps, ROWS_AT_ONCE // (self.steps * self.size))
        return max(1, most)

    def _orders(self, count: int) -> list[Array]:
        """Return where the orders of so many epochs lie; each begins where the clock says."""
        room = self.steps * self.size
        own = sum(self.own_sizes)
        return [self._order[k * room : k * room + own] for k in range(count)]

    def begin_epoch(self, epoch: int, count: int = 1) -> None:
        """Bring the rows into the orders of an epoch and of those after it, `count` in all."""
        for number, order in enumerate(self._orders(count), epoch):
            self._bring(number, order)

    def _bring(self, epoch: int, order: Array) -> None:
        if self.shuffle and (callable(self.shuffle) or self.shards != ALL):
            self._net.backend.put(order, self._own_order(epoch))
        elif self.shuffle:
            self._net.backend.shuffle(self._net.seed, SHUFFLE, epoch, order)
            if self._chosen is not None:
                order[...] = self._net.backend.asarray(self._chosen)[order]

    def prepare(self, index: int) -> int:
        """Do nothing: there are no slots."""
        return 0

    def done(self, index: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing: there are no threads and no files."""

    def read(self, ops: Any, rows: int, slot: int, clock: Array) -> Data:
        """Gather the clock's batch into buffers."""
        if not rows:
            return self._data.between(0, 0)
        net, x = self._net, self._data.x
        out = net.scratch("batch x", (rows, x.shape[1]), net.stored)
        ops.gather_batch(x, self._order, clock, self.own_sizes[0], net.input_scale, out)
        return self._with_targets(ops, out, rows, clock)

    def _with_targets(self, ops: Any, x: Array, rows: int, clock: Array) -> Data:
        """Gather expected values and weights of the clock's batch into buffers, to go with x."""

        def gathered(name: str, array: Array) -> Array:
            out = self._net.scratch(f"batch {name}", (rows, *array.shape[1:]), array.dtype)
            ops.gather_batch(array, self._order, clock, self.own_sizes[0], 1.0, out)
            return out

        weights = None
        if self._data.weights is not None:
            weights = gathered("weights", self._data.weights)
        return Data(x, gathered("expected", self._data.expected), weights=weights)

    def batch(self, epoch: int, index: int) -> Data:
        """Return one's own rows of a batch; a later call may write over them."""
        backend, data = self._net.backend, self._data
        rows = backend.asarray(self._rows_of(self._own_order(epoch), index))
        x = gather_rows(self._net, data.x, rows)
        weights = None if data.weights is None else data.weights[rows]
        return Data(x, data.expected[rows], weights=weights)

    def weights(self, epoch: int) -> NDArray[np.float64]:
        """Return what one's own rows of each batch of an epoch weigh together, (steps,)."""
        if self._data.weights is None:
            return np.array(self.own_sizes, np.float64)
        weights = self._net.backend.to_numpy(self._data.weights)[self._own_order(epoch)]
        batches = np.repeat(np.arange(self.steps), self.own_sizes)
        return np.bincount(batches, weights, self.steps).astype(np.float64)

    def _rows_of(self, order: NDArray[np.int64], index: int) -> NDArray[np.int64]:
        """Return one's own rows of a batch, of those of an epoch; only the last is shorter."""
        start = index * self.own_sizes[0]
        return order[start : start + self.own_sizes[index]]

    def _own_order(self, epoch: int, shuffled: bool = True) -> NDArray[np.int64]:
        """Return one's own rows of all batches of an epoch, one after the other."""
        order = np.arange(self.rows, dtype=np.int64)
        if self.shuffle and shuffled:
            order = self.order(epoch)
        if self._chosen is not None:
            order = self._chosen[order]
        if self.shards == ALL:
            return order
        starts = range(0, len(order), self.size)
        spans = map(self.shards.span, self.sizes)
        pairs = zip(starts, spans, strict=True)
        return np.concatenate([order[start + low : start + high] for start, (low, high) in pairs])

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the order of the rows in an epoch, shape (rows,), counted among those chosen."""
        if not callable(self.shuffle):
            return permutation(self._net.seed, epoch, self.rows)
        order = np.asarray(self.shuffle(epoch))
        if order.shape != (self.rows,) or order.dtype.kind not in "iu":
            raise ShapeError(
                f"shuffle returned {order.dtype} of shape {order.shape}; the numbers of"
                f" {self.rows} rows are needed"
            )
        if not 0 <= int(order.min()) <= int(order.max()) < self.rows:
            raise DataError(
                f"shuffle returned rows {order.min()} to {order.max()}; rows from 0 to"
                f" {self.rows - 1} are needed"
            )
        return order.astype(np.int64)

    def described(self) -> dict[str, Any]:
        """Return what tells the data apart: their shapes, dtypes and a fingerprint."""
        data = self._data
        rows = sampled_rows(self.rows)
        if self._chosen is not None:
            rows = self._chosen[rows]

        arrays = [data.x, data.expected, *([] if data.weights is None else [data.weights])]
        return {
            "rows": self.rows,
            "data": fingerprint_of_rows(arrays, rows, self._net.backend),
            "batch_size": self.size,
            "shuffle": "by a function" if callable(self.shuffle) else self.shuffle,
        }


class HostArrayFeed(SlotFeed, ArrayFeed):
    """Batches of arrays whose x a step cannot read where it lies: it goes through slots.

    x is a sparse matrix, or too large for a GPU's memory; y and weights are gathered by the clock.
    """

    def __init__(
        self,
        net: Reader,
        data: Data,
        batch_size: int | None,
        shuffle: Shuffle,
        shards: Shards = ALL,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        ArrayFeed.__init__(self, net, data, batch_size, shuffle, shards, rows)
        most = max(self.own_sizes)
        SlotFeed.__init__(self, net, [((most, data.x.shape[1]), data.x.dtype)], self.steps)
        self._rows = self._own_order(0, shuffled=False)

    def begin_epoch(self, epoch: int, count: int = 1) -> None:
        """Bring the rows into the order of an epoch."""
        self._forget()
        if self.shuffle:
            self._rows = self._own_order(epoch)
            self._net.backend.put(self._order, self._rows)

    def read(self, ops: Any, rows: int, slot: int, clock: Array) -> Data:
        """Bring the batch in a slot into buffers."""
        if not rows:
            return self._data.between(0, 0)
        x = self._read_slot(ops, slot, rows)
        return self._with_targets(ops, x, rows, clock)

    def _load(self, index: int, arrays: list[NDArray[Any]]) -> int:
        rows, x = self._rows_of(self._rows, index), self._data.x
        out = arrays[0][: len(rows)]
        if isinstance(x, SparseRows):
            x[rows].dense(out)
        else:
            np.take(x, rows, axis=0, out=out, mode="clip")  # mode="raise" would copy `out`
        return len(rows)
