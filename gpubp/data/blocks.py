"""Data sets whose rows lie in blocks, each read as a whole, and the order they are read in.

Blocks (row groups of a Parquet file) are dealt at random, and rows are mixed within windows of some
blocks: storage is read block by block, and two windows at most lie in memory. Where a window holds
all blocks, the order of the rows is that of arrays in memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpubp.backends.random import permutation
from gpubp.checks import checked_whole
from gpubp.data.prefetch import Prefetcher
from gpubp.data.protocol import Reading, Rows, Schema

WINDOW_BYTES = 128 << 20  # of x; there are up to two windows in memory
MOST_BLOCKS = 16
BATCHES_AHEAD = 4
# Random streams of orders: one for blocks, then one for each window.
_BLOCKS, _WINDOWS = 1, 2


class Piece(NamedTuple):
    """Rows `start` to before `stop` of a block."""

    block: int
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.stop - self.start


class Window(NamedTuple):
    """Pieces that lie in memory together, and the order of their rows; None for as they are."""

    pieces: list[Piece]
    order: NDArray[np.int64] | None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(piece.rows for piece in self.pieces)


class BlockDataset(ABC):
    """A data set of blocks, read by threads ahead of the training.

    Attributes
    ----------
    schema : Schema
        What the rows hold.
    sizes : sequence of int
        Rows of each block.
    window : int
        Blocks whose rows are mixed; up to two windows lie in memory.
    """

    schema: Schema
    sizes: Sequence[int]
    window: int

    def choose_window(self, window: int | None) -> None:
        """Set the window: as given, or for None 1 to 16 blocks, of 128 MiB where they are smaller.

        Raises
        ------
        ConfigurationError
            When it is no whole number above 0.
        """
        block = max(self.sizes) * len(self.schema.inputs) * np.dtype(self.schema.dtype).itemsize
        fitting = max(1, min(MOST_BLOCKS, WINDOW_BYTES // max(1, block)))
        self.window = fitting if window is None else checked_whole("window", window)

    @abstractmethod
    def read(self, block: int) -> Rows:
        """Return all rows of a block."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return what tells these data from others."""

    def __len__(self) -> int:
        return sum(self.sizes)

    def batches(self, reading: Reading, epoch: int, start: int = 0) -> Iterator[Rows]:
        """Return the batches of an epoch from number `start` on, own shards only.

        What a thread meets while it reads ahead is raised here.
        """
        return Prefetcher(self._batches(reading, epoch, start), BATCHES_AHEAD)

    def _batches(self, reading: Reading, epoch: int, start: int) -> Iterator[Rows]:
        shards = reading.shards
        readers = [
            _ShardReader(
                self, reading, epoch, shard, start * shards.rows(shard, reading.batch_size)
            )
            for shard in shards.own
        ]
        try:
            for first in range(start * reading.batch_size, len(self), reading.batch_size):
                rows = min(reading.batch_size, len(self) - first)
                counts = [shards.rows(shard, rows) for shard in shards.own]
                pairs = zip(readers, counts, strict=True)
                yield self._joined([rows for reader, count in pairs for rows in reader.take(count)])
        finally:
            for reader in readers:
                reader.close()

    def load(self, window: Window) -> Rows:
        """Return the rows of a window, as they are stored; a block at a time is in memory besides.

        One block alone is not copied.
        """
        whole: Rows | None = None
        done = 0
        for block, start, stop in window.pieces:
            rows = self.read(block).between(start, stop)
            if len(window.pieces) == 1:
                return rows
            if whole is None:
                whole = Rows(*(_room(each, window.rows) for each in rows))
            for each, joined in zip(rows, whole, strict=True):
                if each is not None and joined is not None:
                    joined[done : done + len(each)] = each
            done += stop - start
        assert whole is not None
        return whole

    def _joined(self, pieces: list[Rows]) -> Rows:
        """Return all pieces as one; no rows where a short batch has none for these shards."""
        if pieces:
            return join(pieces)
        x = np.empty((0, len(self.schema.inputs)), self.schema.dtype)
        return Rows(x, np.empty(0), np.empty(0) if self.schema.weighted else None)


class _ShardReader:
    """The rows of a shard in the order of an epoch, from some row on."""

    def __init__(
        self, data: BlockDataset, reading: Reading, epoch: int, shard: int, skip: int
    ) -> None:
        self._windows = Prefetcher(_loaded(data, reading, epoch, shard, skip), 1)
        self._rows: Rows | None = None
        self._order: NDArray[np.int64] | None = None
        self._next = self._stop = 0

    def take(self, count: int) -> Iterator[Rows]:
        """Return the next rows, in pieces that lie in one window each."""
        while count:
            if self._next == self._stop:
                self._rows = None  # before the next window is asked for
                window, self._rows, self._next = next(self._windows)
                self._order, self._stop = window.order, window.rows
            now = min(count, self._stop - self._next)
            yield self._rows_of(slice(self._next, self._next + now))
            self._next += now
            count -= now

    def _rows_of(self, places: slice) -> Rows:
        assert self._rows is not None
        chosen = places if self._order is None else self._order[places]
        x, y, weights = self._rows
        return Rows(
            x[chosen] if isinstance(chosen, slice) else np.take(x, chosen, axis=0),
            y[chosen],
            None if weights is None else weights[chosen],
        )

    def close(self) -> None:
        self._windows.close()


def _loaded(
    data: BlockDataset, reading: Reading, epoch: int, shard: int, skip: int
) -> Iterator[tuple[Window, Rows, int]]:
    """Return windows with their rows, and where to begin in them, after `skip` rows of a shard."""
    for window in windows(data.sizes, data.window, reading, epoch, shard):
        if skip >= window.rows:
            skip -= window.rows
            continue
        yield window, data.load(window), skip
        skip = 0


def _room(array: Any, rows: int) -> Any:
    """Return an empty array for so many rows like this one's; None for None."""
    return None if array is None else np.empty((rows, *array.shape[1:]), array.dtype)


def join(pieces: list[Rows]) -> Rows:
    """Return all pieces as one, without a copy where there is one."""
    if len(pieces) == 1:
        return pieces[0]
    xs, ys, weights = zip(*pieces, strict=True)
    given = None if weights[0] is None else np.concatenate(weights)
    return Rows(np.concatenate(xs), np.concatenate(ys), given)


def windows(
    sizes: Sequence[int], window: int, reading: Reading, epoch: int, shard: int
) -> Iterator[Window]:
    """Return the windows that a shard reads in an epoch, one after the other.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each block.
    window : int
        Blocks of a window; where there are several shards, each has its share of them.
    """
    shards = reading.shards
    mixed = reading.shuffle and (len(sizes) > window or shards.count > 1)
    blocks = np.arange(len(sizes))
    if mixed:
        blocks = permutation(reading.seed, epoch, len(sizes), _BLOCKS)
    total = sum(sizes)
    start = sum(shard_rows(reading, total, before) for before in range(shard))
    pieces = cut(sizes, blocks, start, start + shard_rows(reading, total, shard))
    each = max(1, -(-window // shards.count))
    for number, first in enumerate(range(0, len(pieces), each)):
        mixed_pieces = pieces[first : first + each]
        order = None
        if reading.shuffle:
            stream = _WINDOWS + number * shards.count + shard if mixed else 0
            rows = sum(piece.rows for piece in mixed_pieces)
            order = permutation(reading.seed, epoch, rows, stream)
        yield Window(mixed_pieces, order)


def shard_rows(reading: Reading, total: int, shard: int) -> int:
    """Return the rows of a shard in an epoch of `total` rows: its share of every batch."""
    whole, rest = divmod(total, reading.batch_size)
    shards = reading.shards
    return whole * shards.rows(shard, reading.batch_size) + shards.rows(shard, rest)


def cut(sizes: Sequence[int], blocks: NDArray[np.int64], start: int, stop: int) -> list[Piece]:
    """Return what lies from row `start` to before `stop` of these blocks put end to end."""
    pieces, before = [], 0
    for block in blocks.tolist():
        low, high = max(start - before, 0), min(stop - before, sizes[block])
        if low < high:
            pieces.append(Piece(block, low, high))
        before += sizes[block]
    return pieces
