"""The order in which a data set's blocks and the rows within them are read.

Blocks (row groups of a Parquet file) are dealt at random, and rows are mixed within windows of some
blocks: storage is read block by block, and two windows at most lie in memory. Where a window holds
all blocks, the order of the rows is that of arrays in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpubp.backends.random import permutation
from gpubp.data.protocol import Reading

_BLOCKS, _WINDOWS = 1, 2  # parts of the random stream: one for blocks, then one for each window


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
        part = pieces[first : first + each]
        order = None
        if reading.shuffle:
            own = number * shards.count + shard
            stream = _WINDOWS + own if mixed else 0
            order = permutation(reading.seed, epoch, sum(piece.rows for piece in part), stream)
        yield Window(part, order)


def shard_rows(reading: Reading, total: int, shard: int) -> int:
    """Return the rows of a shard in an epoch of `total` rows: its part of every batch."""
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
