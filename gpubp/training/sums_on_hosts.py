"""Gradients of several processes added up in the host's memory, over MPI."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array
from gpubp.data.batches import Data
from gpubp.data.feeds import Feed
from gpubp.distributed.host_sums import FixedPointSum, FloatSum
from gpubp.nn.backprop import LayerStack
from gpubp.nn.buffers import Buffers
from gpubp.nn.parameter_layout import HEADER
from gpubp.training.group import Group
from gpubp.training.settings import TrainingSettings, Turn
from gpubp.training.state import TrainingState
from gpubp.training.step import StepArrays
from gpubp.training.sums import SHARD_BIT, Sums

WHAT = "the sum of the gradients"


class SumsOnHosts(Sums):
    """Every process computes the gradients of its rows, weighted by their share of the batch.

    The sum over all is everyone's gradient, and with the same weights everyone does the same
    update. Before the gradients stand, for each batch that is gathered, the loss and the weight of
    the rows. In deterministic mode every shard goes forward and back by itself, and what it adds is
    kept apart until all are added up in integers.
    """

    def __init__(
        self,
        stack: LayerStack,
        state: TrainingState,
        feed: Feed,
        settings: TrainingSettings,
        arrays: StepArrays,
        group: Group,
    ) -> None:
        self._stack, self._state, self._feed, self._group = stack, state, feed, group
        self._arrays = arrays
        self._patient = True  # others may still be compiling or reading: waiting is not watched
        self._total, self._mean = np.zeros((), stack.dtype), np.zeros((), stack.dtype)
        self._float = FloatSum(stack.exchanged, stack.exchanged_starts, group.communicator)
        length, shards = len(stack.exchanged), len(group.shards.own)
        self.gathers = group.deterministic or settings.accumulate > 1
        kept_apart = (shards if group.deterministic else 1) if self.gathers else 0
        self._kept: list[NDArray[Any]] = [np.zeros(length, stack.dtype) for _ in range(kept_apart)]
        state.transient = tuple(self._kept)
        self._fixed: FixedPointSum | None = None
        if group.deterministic:
            self._fixed = FixedPointSum(group.communicator, group.shards.count, length)
        self._turn, self._share, self._first_step = Turn(), 1.0, 0

    def begin(self, ops: Any, own: int, rows: int, turn: Turn) -> None:
        """Begin a batch."""
        ops.call(self._begin, own, turn)

    def _begin(self, own: int, turn: Turn) -> None:
        self._turn = turn
        self._first_step = int(self._arrays.clock[0])
        self._group.communicator.watchdog.step = self._state.step + 1
        if turn.first:
            self._stack.exchanged[:HEADER] = 0
            for kept in self._kept:
                kept.fill(0)
        if not own and not self._kept:
            self._add_nothing()

    def _add_nothing(self) -> None:
        """Take part in a batch that is too short to have rows for this process."""
        self._stack.gradients.fill(0)
        if not self._feed.weighted:
            self._float.watch(1)
            for index in reversed(range(len(self._stack.layers))):
                self._float.ready(index)

    def pieces(self, own: int, rows: int) -> list[tuple[int, int]]:
        """Return the bounds of one's own shards; in deterministic mode each is a piece."""
        if not self._group.deterministic:
            return [(0, own)]
        shards = self._group.shards
        first = shards.bound(shards.first, rows)
        return list(pairwise(shards.bound(n, rows) - first for n in [*shards.own, shards.stop]))

    def begin_piece(self, ops: Any, number: int, rows: int) -> None:
        """Choose the dropout masks of the shard; let sums begin during the backward pass."""
        ops.call(self._begin_piece, number, rows)

    def _begin_piece(self, number: int, rows: int) -> None:
        self._arrays.clock[0] = self._first_step + (number << SHARD_BIT)
        self._share = rows / self._turn.rows
        if not self._feed.weighted and not self._kept:
            self._float.watch(self._share)

    def written(self, ops: Any) -> Callable[[int], None]:
        """Return what begins the sums of layers whose gradients are written."""
        return lambda index: ops.call(self._float.ready, index)

    def end_piece(self, ops: Any, number: int, buffers: Buffers) -> None:
        """Add the gradients of a piece, weighted, to what is to be summed."""
        ops.call(self._end_piece, number, buffers)

    def _end_piece(self, number: int, buffers: Buffers) -> None:
        stack, share = self._stack, self._share
        if self._feed.weighted:
            share = float(buffers.weight) / self._turn.rows
        self._note(stack.exchanged, buffers, share)
        if self._kept:
            kept = self._kept[number]
            kept[HEADER:] += stack.gradients * stack.dtype.type(share)
            self._note(kept, buffers, share)
        elif share != 1:
            self._float.unscaled[HEADER:] *= share
        self._arrays.clock[0] = self._first_step

    def _note(self, header: Array, buffers: Buffers, share: float) -> None:
        place = 2 * self._turn.place
        header[place] = float(buffers.loss) * share
        header[place + 1] = share

    def finish(self, ops: Any, buffers: Buffers, batch: Data) -> tuple[Array, Array]:
        """Add up over all processes, once all batches of the update are gathered."""
        ops.call(self._finish, buffers)
        return self._mean, self._total

    def _finish(self, buffers: Buffers) -> None:
        self._patient, patient = False, self._patient
        if not self._turn.last:
            self._mean[...] = buffers.loss
            return
        stack, turn, feed = self._stack, self._turn, self._feed
        if self._fixed is not None:
            self._fixed(self._kept, stack.exchanged, WHAT, patient)
        else:
            if self._kept:
                stack.exchanged[...] = self._kept[0]
            self._float.finish(WHAT, patient)
        self._share_out(turn, feed)

    def _share_out(self, turn: Turn, feed: Feed) -> None:
        """Note the losses of the batches, and make the sums means."""
        stack, losses = self._stack, self._arrays.losses
        count = turn.place + 1
        first = int(self._arrays.clock[1]) - turn.place
        header = stack.exchanged[: 2 * count]
        weights = header[1::2]
        losses[first : first + count] = header[0::2] / np.where(weights > 0, weights, 1)
        share = weights.sum()
        if (feed.weighted or not feed.same_sizes) and share > 0:  # else the gradients are 0
            stack.gradients /= share
        if not feed.same_sizes:
            feed.sizes[first] = round(float(share) * turn.rows)
        last = feed.sizes[first + count - 1]  # a penalty counts in its loss
        self._total[...] = share * turn.rows if feed.weighted else last
        self._mean[...] = losses[first + count - 1]
