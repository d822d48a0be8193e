"""The steps of an epoch: each size of batch is prepared once, then done again and again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from gpubp.backends import Array
from gpubp.backends.program import WalkedSteps, do_in_turn
from gpubp.backends.scheduled import new_clock, put_clock
from gpubp.data.batches import Data
from gpubp.data.feeds import Feed
from gpubp.distributed.device_sum import DeviceSum
from gpubp.errors import ConfigurationError
from gpubp.nn.backprop import LayerStack
from gpubp.training.group import Group, check_possible
from gpubp.training.kept_steps import form_of, steps_for
from gpubp.training.settings import TrainingSettings, Turn, turn_of
from gpubp.training.state import TrainingState
from gpubp.training.step import Step, StepArrays
from gpubp.training.step_settings import StepSettings, check_settings
from gpubp.training.sums import ALONE, SHARD_BIT, Sums, SumsOnDevices
from gpubp.training.sums_on_hosts import SumsOnHosts

MOST_PREPARED = 64  # kept at a time, for data whose batches are of any size


@dataclass(frozen=True)
class Training:
    """What all steps of one fit share.

    Attributes
    ----------
    group : Group or None
        The processes that train together.
    """

    stack: LayerStack
    state: TrainingState
    feed: Feed
    settings: TrainingSettings
    group: Group | None = None


class EpochSteps:
    """The steps of a fit, in any order.

    There is one prepared step for whole batches, and one for the last, short batch. It reads the
    batch's number, the dropout step and the optimizer's settings from arrays and counts them on, so
    it serves all batches of a size, several in one call.

    Attributes
    ----------
    losses : array, (steps,)
        Where the losses of an epoch's batches go, or of several epochs that are done together.
    """

    def __init__(self, training: Training) -> None:
        self._training = training
        stack, state, settings = training.stack, training.state, training.settings
        feed, group = training.feed, training.group
        if feed.same_sizes:
            _check_rows(stack, min(feed.sizes))
        self._kept = steps_for(stack, state, settings, feed, group is None)
        self._arrays, self._prepared = self._kept.arrays, self._kept.prepared
        self.losses = self._arrays.losses[: feed.steps * feed.at_once]
        self._step = Step(stack, state, settings, self._arrays, self._sums())
        self._next, self._epochs = (-1, -1, -1), (-1, -1)
        self._settings_from, self._settings_factor = -1, 0.0

    def _sums(self) -> Sums:
        training = self._training
        stack, group = training.stack, training.group
        if group is None:
            return ALONE
        check_possible(stack, training.feed, training.settings, group)
        if stack.backend.name == "cpu":
            return SumsOnHosts(
                stack, training.state, training.feed, training.settings, self._arrays, group
            )
        starts, processes = stack.exchanged_starts, group.communicator
        return SumsOnDevices(stack, DeviceSum(stack.backend, stack.exchanged, starts, processes))

    def close(self) -> None:
        """Leave the prepared steps to the next fit."""
        self._kept.in_use = False

    def run(self, epoch: int, start: int, stop: int, together: int = 1) -> None:
        """Do the steps from `start` to before `stop` of an epoch; each leaves its loss.

        With `together` they are those of so many epochs, one after the other.
        """
        state, index = self._training.state, start
        while index < stop:
            if (epoch, together, index) != self._next or not self._settings_left():
                self._seek(epoch, together, index)
            count = self._at_once(index, stop)
            updated = self._do(index, count)
            state.step += count
            state.updates += count if updated else 0
            index += count
            self._next = (epoch, together, index)

    def _at_once(self, index: int, stop: int) -> int:
        """Return how many steps one call may do: those whose batches the clock alone selects."""
        feed, group = self._training.feed, self._training.group
        if not feed.by_clock or group is not None or self._training.settings.accumulate > 1:
            return 1
        return min(stop - index, self._settings_left())

    def _do(self, index: int, count: int) -> bool:
        """Do so many steps in one call; tell whether they updated the weights."""
        feed, calls = self._training.feed, []
        last = index + count
        while index < last:
            place = index % feed.steps  # of the epoch
            whole = feed.rows // feed.size - place if count > 1 else 1
            several = max(1, min(last - index, whole))
            slot = feed.prepare(place)
            turn = turn_of(place, feed.sizes, self._training.settings.accumulate)
            calls.append((self._prepare(place, slot, turn), several))
            index += several
        do_in_turn(calls)
        feed.done(place)
        return turn.last

    def _prepare(self, index: int, slot: int, turn: Turn) -> Callable[[int], None]:
        feed = self._training.feed
        own, rows = feed.own_sizes[index], feed.sizes[index]
        key = (own, rows, slot, turn)
        prepared = self._prepared.get(key)
        if prepared is None:
            if len(self._prepared) >= MOST_PREPARED:
                self._prepared.clear()

            def work(ops: Any) -> None:
                batch = feed.read(ops, own, slot, self._arrays.clock)
                self._step(ops, batch, turn, rows)

            stack = self._training.stack
            prepared = stack.backend.record(work, stack.trained, stack.half, self._kept.addresses)
            self._prepared[key] = prepared
        return prepared

    def _settings_left(self) -> int:
        """Return for how many more steps there are settings."""
        row = self._training.state.updates - self._settings_from
        same = self._settings_factor == self._training.state.rate_factor
        rows = self._arrays.settings.rows
        return rows - row if same and 0 <= row < rows else 0

    def _seek(self, epoch: int, together: int, index: int) -> None:
        """Set the clock to a step, and compute settings where none are left."""
        training = self._training
        if (epoch, together) != self._epochs:
            training.feed.begin_epoch(epoch, together)
            self._epochs = epoch, together
        training.stack.refresh()
        state, backend = training.state, training.stack.backend
        if not self._settings_left():
            done, factor = state.updates, state.rate_factor
            self._arrays.settings.put(training.settings, done, factor)
            self._settings_from, self._settings_factor = done, factor
        first = 0 if training.group is None else training.group.shards.first
        step = state.step + (first << SHARD_BIT)  # other rows, other dropout masks
        row = state.updates - self._settings_from
        put_clock(backend, self._arrays.clock, step, index, row)


class SingleStep:
    """A prepared step on whatever batch it is called with, copied to a fixed place if need be.

    When the loss is not finite the parameters and the moments are left as they were.
    """

    def __init__(
        self, stack: LayerStack, state: TrainingState, settings: TrainingSettings, batch: Data
    ) -> None:
        backend = self._backend = stack.backend
        weights = batch.weights
        self._batch = Data(
            backend.empty(batch.x.shape, batch.x.dtype),
            backend.empty(batch.expected.shape, batch.expected.dtype),
            weights=None if weights is None else backend.empty(weights.shape, weights.dtype),
        )
        clock = new_clock(backend)
        self._arrays = StepArrays(
            clock, StepSettings(stack, settings, 1, clock), backend.empty((1,), stack.dtype)
        )
        self._step = Step(stack, state, settings, self._arrays, guarded=True)
        self._run = backend.record(partial(self._do, self._batch), stack.trained, stack.half)

    def _do(self, batch: Data, ops: Any) -> None:
        self._step(ops, batch, Turn(), len(batch))

    def __call__(self, batch: Data, state: TrainingState, settings: TrainingSettings) -> Array:
        """Do the next step on a batch, settings alike, and return its loss, shape ()."""
        self._arrays.settings.put(settings, state.updates, state.rate_factor)
        put_clock(self._backend, self._arrays.clock, state.step, 0, 0)
        if isinstance(self._run, WalkedSteps):
            self._run.do(partial(self._do, batch))
        else:
            self._copy(batch)
            self._run(1)
        return self._arrays.losses[0]

    def _copy(self, batch: Data) -> None:
        self._batch.x[...] = batch.x
        self._batch.expected[...] = batch.expected
        if self._batch.weights is not None:
            self._batch.weights[...] = batch.weights


def _check_rows(stack: LayerStack, rows: int) -> None:
    """Refuse batches in which batch normalisation leaves nothing of the inputs.

    Raises
    ------
    ConfigurationError
        When they have one row, which is its own mean.
    """
    if rows == 1 and "batch" in stack.spec.normalization:
        raise ConfigurationError(
            "a batch has 1 row and the network batch normalisation, which leaves nothing of it to"
            " train on; batches of 2 rows or more, by another batch_size, are needed"
        )


def do_step(
    stack: LayerStack, state: TrainingState, batch: Data, settings: TrainingSettings
) -> float:
    """Do one step on a loaded batch and return its loss; one that is not finite changes nothing."""
    _check_rows(stack, len(batch))
    check_settings(stack, settings)
    state.use(settings, stack)
    prepared = stack.buffers(len(batch)).prepared
    key = form_of(settings, batch.expected, batch.weights is not None)
    moments, step = prepared.get(key, (None, None))
    if moments is not state.moments:
        step = SingleStep(stack, state, settings, batch)
        prepared[key] = state.moments, step
    stack.refresh()
    value = float(step(batch, state, settings))
    if math.isfinite(value):
        state.step += 1
        state.updates += 1
    return value
