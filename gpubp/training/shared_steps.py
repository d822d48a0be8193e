"""The steps of a fit that several processes do together, each on its part of every batch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from gpubp.backends import Array
from gpubp.data.batches import Batches, Data
from gpubp.data.dataset_batches import StreamBatches
from gpubp.distributed.host_sums import FixedPointSum, FloatSum
from gpubp.errors import ConfigurationError
from gpubp.nn.backprop import HEADER, LayerStack
from gpubp.nn.buffers import Buffers
from gpubp.training.group import Group
from gpubp.training.passes import compute_gradients, update_parameters
from gpubp.training.settings import TrainingSettings
from gpubp.training.state import TrainingState

# A shard's dropout masks are drawn by its number, above the bits that count steps.
SHARD_BIT = 40
WHAT = "the sum of the gradients"


class SharedSteps:
    """The steps of a fit on the CPU; see `gpubp.training.fit.HostSteps`.

    Every process computes the gradients of its rows, weighted by their share of the batch; the sum
    over all is everyone's gradient, and with the same weights everyone does the same update. Before
    the gradients stand, for each batch that is gathered, the loss and the weight of the rows.
    """

    def __init__(
        self,
        stack: LayerStack,
        state: TrainingState,
        batches: Batches | StreamBatches,
        settings: TrainingSettings,
        losses: Array,
        group: Group,
    ) -> None:
        check_possible(stack, batches, settings, group)
        self._stack, self._state, self._batches = stack, state, batches
        self._settings, self._losses, self._group = settings, losses, group
        self._first = True  # others may still be compiling or reading: waiting is not watched
        self._total, self._mean = np.zeros((), stack.dtype), np.zeros((), stack.dtype)
        length, own = len(stack.exchanged), len(group.shards.own)
        self._float = FloatSum(stack, group.communicator)
        several = group.deterministic or settings.accumulate > 1
        parts = (own if group.deterministic else 1) if several else 0
        self._parts = [np.zeros(length, stack.dtype) for _ in range(parts)]
        state.transient = tuple(self._parts)
        self._fixed: FixedPointSum | None = None
        if group.deterministic:
            self._fixed = FixedPointSum(group.communicator, group.shards.count, length)

    def run(self, epoch: int, start: int, stop: int) -> None:
        """Do the steps from `start` to before `stop` of an epoch; each leaves its loss."""
        for index in range(start, stop):
            self._group.communicator.watchdog.step = self._state.step + 1
            self._step(epoch, index)
            self._first = False

    def _step(self, epoch: int, index: int) -> None:
        batch = self._batches.batch(epoch, index)
        accumulate, steps = self._settings.accumulate, self._batches.steps
        place = index % accumulate
        last = place == accumulate - 1 or index == steps - 1
        first = index - place
        rows = sum(self._batches.sizes[first : first + accumulate])
        if place == 0:
            self._stack.exchanged[:HEADER] = 0
            for part in self._parts:
                part.fill(0)
        for number, (low, high) in enumerate(self._pieces(len(batch), index)):
            if low < high:
                self._add(batch.part(low, high), number, place, rows)
        if not len(batch) and not self._parts:
            self._add_nothing()
        self._state.step += 1
        if last:
            self._update(first, place + 1, rows)

    def _pieces(self, own: int, index: int) -> list[tuple[int, int]]:
        """Return where the parts of one's own rows begin and end."""
        if not self._group.deterministic:
            return [(0, own)]
        shards, rows = self._group.shards, self._batches.sizes[index]
        first = shards.bound(shards.first, rows)
        bounds = [shards.bound(shard, rows) - first for shard in [*shards.own, shards.stop]]
        return list(pairwise(bounds))

    def _add(self, piece: Data, number: int, place: int, rows: int) -> None:
        """Compute a part's gradients, and add them to what is to be summed."""
        stack, header = self._stack, self._stack.exchanged[:HEADER]
        share = len(piece) / rows if piece.weights is None else None
        if share is not None and not self._parts:
            self._float.watch(share)
        shard = self._group.shards.first + number
        step = self._state.step + (shard << SHARD_BIT)
        with stack.threads_for(len(piece)):
            buffers = compute_gradients(stack, step, piece, self._settings.loss, self._float.ready)
        if share is None:
            share = float(buffers.weight) / rows
        self._note(header, buffers, share, place)
        if self._parts:
            part = self._parts[number]
            part[HEADER:] += stack.gradients * stack.dtype.type(share)
            self._note(part, buffers, share, place)
        elif share != 1:
            self._float.unscaled[HEADER:] *= share

    def _add_nothing(self) -> None:
        """Take part in a batch that is too short to have rows for this process."""
        self._stack.gradients.fill(0)
        if not self._batches.weighted:
            self._float.watch(1)
            for index in reversed(range(len(self._stack.layers))):
                self._float.ready(index)

    def _note(self, header: Array, buffers: Buffers, share: float, place: int) -> None:
        header[2 * place] = float(buffers.loss) * share
        header[2 * place + 1] = share

    def _update(self, first: int, count: int, rows: int) -> None:
        """Add up over all processes and do the optimizer's step."""
        stack, header = self._stack, self._stack.exchanged[:HEADER]
        if self._fixed is not None:
            self._fixed(self._parts, stack.exchanged, WHAT, self._first)
        else:
            if self._parts:
                stack.exchanged[...] = self._parts[0]
            self._float.finish(WHAT, self._first)
        for place in range(count):
            self._losses[first + place] = header[2 * place] / header[2 * place + 1]
        share = header[1 : 2 * count : 2].sum()
        if self._batches.weighted or not self._batches.same_sizes:
            stack.gradients /= share
        if not self._batches.same_sizes:
            self._batches.sizes[first] = round(float(share) * rows)
        last = self._batches.sizes[first + count - 1]  # a penalty counts in its loss
        self._total[...] = share * rows if self._batches.weighted else last
        self._mean[...] = self._losses[first + count - 1]
        part = last / rows if count > 1 else 1.0
        update_parameters(stack, self._state, self._settings, self._mean, self._total, part)
        self._losses[first + count - 1] = self._mean
        if self._settings.average is not None:
            stack.backend.average(
                stack.parameters, self._settings.average, self._state.average, stack.scratch
            )


def check_possible(
    stack: LayerStack, batches: Batches | StreamBatches, settings: TrainingSettings, group: Group
) -> None:
    """Refuse what processes cannot do together.

    Raises
    ------
    ConfigurationError
        Says what to do instead.
    """
    if "batch" in stack.normalization:
        raise ConfigurationError(
            "distributed training with normalization='batch', whose moments are those of one"
            " process's rows; 'layer' is needed"
        )
    on_gpu = {
        "deterministic": group.deterministic,
        "accumulate": settings.accumulate > 1,
        "weights of rows": batches.weighted,
        "batches of one's own": not batches.same_sizes,
    }
    for what, wanted in on_gpu.items():
        if stack.backend.replays and wanted:
            raise ConfigurationError(
                f"{what} in distributed training on GPUs, which is not there yet; backend='cpu' is"
                " needed"
            )
    if group.deterministic and not batches.same_sizes:
        raise ConfigurationError(
            "deterministic with batches of one's own, whose sizes are not known; another data set"
            " is needed"
        )
    if settings.accumulate > HEADER // 2:
        raise ConfigurationError(
            f"accumulate is {settings.accumulate} in distributed training; {HEADER // 2} at most is"
            " needed"
        )
    if settings.accumulate > 1 and (batches.weighted or not batches.same_sizes):
        raise ConfigurationError(
            "accumulate in distributed training with weights of rows, or batches of any size; 1 is"
            " needed"
        )
