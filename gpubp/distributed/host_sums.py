"""Adding up over processes: as floating point, or in integers, which any order adds up alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.distributed.communicator import Communicator

BITS = 62  # of a sum in int64
BUCKET = 8 << 20  # bytes whose sum is begun while earlier layers are still on their way back


class Buckets:
    """Which of the numbers to be summed are whole while the backward pass goes on.

    Parameters
    ----------
    bounds : sequence of int
        Where the gradients of each layer begin in what is summed, and where the last end.
    itemsize : int
        Bytes of a number.
    """

    def __init__(self, bounds: Sequence[int], itemsize: int) -> None:
        self._starts = bounds
        self._most = BUCKET // itemsize
        self._length = self._end = bounds[-1]

    def completed(self, index: int) -> slice | None:
        """Return the bucket that the gradients of a layer complete, if they do."""
        start, end = self._starts[index], self._end
        if not index or end - start < self._most:
            return None
        self._end = start
        return slice(start, end)

    @property
    def rest(self) -> slice:
        """What is in no bucket yet."""
        return slice(0, self._end)

    def begin_anew(self) -> None:
        """Be ready for the next backward pass."""
        self._end = self._length


class FloatSum:
    """The sum of gradients in floating point, begun in buckets from the last layer on.

    Parameters
    ----------
    exchanged : array
        What is summed: the numbers that go along, and the gradients behind them.
    bounds : sequence of int
        See `Buckets`.
    """

    def __init__(
        self, exchanged: NDArray[Any], bounds: Sequence[int], communicator: Communicator
    ) -> None:
        self._exchanged, self._communicator = exchanged, communicator
        self._factor: float | None = None
        self._buckets = Buckets(bounds, exchanged.dtype.itemsize)
        self._begun: list[Any] = []

    def watch(self, factor: float) -> None:
        """Begin, from now on, the sum of buckets that `ready` completes, multiplied by a factor."""
        self._factor = factor

    def ready(self, index: int) -> None:
        """Be told that a layer's gradients are written."""
        if self._factor is None or self._communicator.size == 1:
            return
        bucket = self._buckets.completed(index)
        if bucket is not None:
            values = self._exchanged[bucket]
            if self._factor != 1:
                values *= self._factor
            self._begun.append(self._communicator.begin_sum(values))

    def finish(self, what: str, patient: bool) -> None:
        """Add up the rest, with the numbers before the gradients, and wait for all."""
        communicator, rest = self._communicator, self.unscaled
        if self._begun:
            self._begun.append(communicator.begin_sum(rest))
            communicator.finish(self._begun, what, patient)
        elif communicator.size > 1:
            communicator.sum(rest, what, patient)
        self._factor, self._begun = None, []
        self._buckets.begin_anew()

    @property
    def unscaled(self) -> Any:
        """The numbers that are not in a bucket yet."""
        return self._exchanged[self._buckets.rest]


class FixedPointSum:
    """The sum of shards in int64: the same bits in any order, so on any number of processes.

    Each number is multiplied by a power of two that brings the largest of all to just below
    2^62 / shards, and rounded.
    """

    def __init__(self, communicator: Communicator, shards: int, length: int) -> None:
        self._communicator = communicator
        self._bits = BITS - max(0, shards - 1).bit_length()
        self._sum = np.empty(length, np.int64)
        self._wide = np.empty(length, np.float64)

    def __call__(
        self, shards: list[NDArray[Any]], out: NDArray[Any], what: str, patient: bool
    ) -> None:
        """Write the sum of all processes' shards; NaN everywhere where a number is not finite."""
        largest = max((_largest(shard) for shard in shards), default=0.0)
        largest = self._communicator.largest(largest, what, patient)
        if largest == 0 or not math.isfinite(largest):
            out.fill(0 if largest == 0 else np.nan)
            return
        exponent = self._bits - math.frexp(largest)[1]
        self._sum.fill(0)
        for shard in shards:
            np.ldexp(shard, exponent, out=self._wide, dtype=np.float64)
            np.rint(self._wide, out=self._wide)
            self._sum += self._wide.astype(np.int64)
        if self._communicator.size > 1:
            self._communicator.sum(self._sum, what, patient)
        np.ldexp(self._sum.astype(np.float64), -exponent, out=self._wide)
        out[...] = self._wide


def _largest(values: NDArray[Any]) -> float:
    """Return the largest absolute value; NaN if there is one."""
    low, high = float(values.min()), float(values.max())
    return high if high >= -low else -low if -low > high else math.nan
