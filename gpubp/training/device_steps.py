"""Training steps on a GPU: every number that changes lies in its memory, so they are recorded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from gpubp.backends import Array
from gpubp.backends.protocol import ReplayBackend
from gpubp.data.batches import Batches, Data
from gpubp.data.dataset_batches import StreamBatches
from gpubp.data.device_feeds import source_of
from gpubp.distributed.device_sum import DeviceSum
from gpubp.nn.backprop import LayerStack
from gpubp.training.group import Group
from gpubp.training.settings import Part, TrainingSettings, part_of
from gpubp.training.shared_steps import SHARD_BIT, check_possible
from gpubp.training.state import Snapshot, TrainingState
from gpubp.training.step import StepWork, step_works

SETTINGS_ROWS = 256  # steps whose optimizer settings are sent to the device at once
# Steps in one recording, for networks so small that starting a recording takes longer than a step.
STEPS_AT_ONCE = 8
SMALL_STEP = 50_000_000  # multiplications


class DeviceSteps:
    """The steps of a fit, done by replaying recordings of them.

    A recording reads the batch's number, the dropout step and the optimizer's settings from device
    memory and counts them on, so that one recording serves all batches of a size. There is one for
    whole batches, one for the last short batch, and for small networks one of several steps.
    """

    def __init__(
        self,
        stack: LayerStack,
        state: TrainingState,
        batches: Batches | StreamBatches,
        settings: TrainingSettings,
        losses: Array,
        group: Group | None = None,
    ) -> None:
        self._stack, self._state, self._batches = stack, state, batches
        self._how, self._losses, self._group = settings, losses, group
        device_sum = None
        if group is not None:
            check_possible(stack, batches, settings, group)
            device_sum = DeviceSum(stack, group.communicator)
        backend: ReplayBackend = stack.backend  # type: ignore[assignment]
        self._backend = backend
        self._clock = backend.empty((3,), np.dtype(np.int64))
        self._settings: Array = None
        self._source = source_of(backend, batches)
        self._works = step_works(
            *(stack, state, settings, self._clock, losses, batches.weighted, device_sum)
        )
        kernel = settings.optimizer.kernel
        self._key = " ".join(map(str, (stack.precision.name, *stack.layers, kernel)))
        self._recordings: dict[tuple[int, int, int, int, Part], Callable[[], None]] = {}
        self._epoch = -1
        self._next = (-1, -1)
        # updates done before the first row of the settings, and the factor they were made with
        self._settings_from, self._settings_factor = -1, 0.0
        work = batches.size * sum(layer.weight.size for layer in stack.layers)
        several = work <= SMALL_STEP and self._source.slots == 1 and settings.accumulate == 1
        self._at_once = STEPS_AT_ONCE if several else 1

    def run(self, epoch: int, start: int, stop: int) -> None:
        """Do the steps from `start` to before `stop` of an epoch; each leaves its loss."""
        index = start
        while index < stop:
            if (epoch, index) != self._next or not self._settings_left():
                self._seek(epoch, index)
            count = self._at_once
            whole = (index + count) * self._batches.size <= self._batches.rows
            if index + count > stop or count > self._settings_left() or not whole:
                count = 1
            part = part_of(index, self._batches.sizes, self._how.accumulate)
            self._replay(index, count, part)
            self._state.step += count
            self._state.updates += count if part.last else 0
            index += count
            self._next = (epoch, index)

    def _replay(self, index: int, count: int, part: Part) -> None:
        slot = self._source.prepare(index)
        batches = self._batches
        key = (batches.own_sizes[index], batches.sizes[index], count, slot, part)
        recording = self._recordings.get(key)
        if recording is None:
            recording = self._recordings[key] = self._fastest(index, *key)
        recording()
        self._source.done(index)

    def _fastest(
        self, index: int, own: int, rows: int, count: int, slot: int, part: Part
    ) -> Callable[[], None]:
        """Return a recording of the steps, the fastest where there are several ways to do them."""
        ways: dict[str, Callable[[], None]] = {
            name: self._backend.record(partial(self._do, work, own, rows, count, slot, part))
            for name, work in self._works.items()
            if work.serves(own)
        }
        if len(ways) == 1:
            return next(iter(ways.values()))
        before: list[Snapshot] = []

        def trial(recording: Callable[[], None]) -> None:
            if not before:
                before.append(Snapshot(self._stack, self._state))
            self._set_clock(index)
            recording()

        trials = {name: partial(trial, recording) for name, recording in ways.items()}
        name = self._backend.choose(f"step {rows}x{count} {self._key}", trials)
        if before:  # timing has trained
            before[0].put_back(self._stack, self._state)
            self._set_clock(index)
        return ways[name]

    def _do(self, work: StepWork, own: int, rows: int, count: int, slot: int, part: Part) -> None:
        for _ in range(count):
            work.run(self._source.read(self._stack, own, slot, self._clock), part, rows)

    def _set_clock(self, index: int) -> None:
        """Tell the device which step is next; its settings are the next in the table."""
        row = self._state.updates - self._settings_from
        first = 0 if self._group is None else self._group.shards.first
        step = self._state.step + (first << SHARD_BIT)  # other rows, other dropout masks
        self._clock.set(np.array([step, index, row], np.int64))

    def _settings_left(self) -> int:
        """Return for how many more steps the device has settings."""
        row = self._state.updates - self._settings_from
        same = self._settings_factor == self._state.rate_factor
        return SETTINGS_ROWS - row if same and 0 <= row < SETTINGS_ROWS else 0

    def _seek(self, epoch: int, index: int) -> None:
        """Tell the device where the next step is, and send settings where it has none left."""
        if epoch != self._epoch:
            self._source.begin_epoch(epoch)
            self._epoch = epoch
        self._stack.refresh()
        if not self._settings_left():
            self._send_settings()
        self._set_clock(index)

    def _send_settings(self) -> None:
        """Send the optimizer's settings of the next steps."""
        done, factor = self._state.updates, self._state.rate_factor
        scalars = self._how.optimizer.scalars
        rows = [scalars(done + 1 + row, factor) for row in range(SETTINGS_ROWS)]
        table = np.array(rows, np.float64)
        if self._settings is None:
            self._settings = self._backend.empty(table.shape, table.dtype)
            for work in self._works.values():
                work.settings = self._settings
        self._settings.set(table)
        self._settings_from, self._settings_factor = done, factor


class SingleStep:
    """A recorded step on whatever batch it is called with, which is copied to a fixed place.

    When the loss is not finite the parameters and the moments are left as they were.
    """

    def __init__(
        self,
        stack: LayerStack,
        state: TrainingState,
        settings: TrainingSettings,
        batch: Data,
    ) -> None:
        backend: ReplayBackend = stack.backend  # type: ignore[assignment]
        self._backend = backend
        self._batch = Data(
            backend.empty(batch.x.shape, batch.x.dtype),
            backend.empty(batch.expected.shape, batch.expected.dtype),
            weights=None if batch.weights is None else backend.xp.empty_like(batch.weights),
        )
        clock = self._clock = backend.xp.zeros(3, np.int64)
        self._losses = backend.empty((1,), stack.dtype)
        step = StepWork(stack, state, settings, clock, self._losses, guarded=True)
        scalars = len(settings.optimizer.scalars(1))
        self._settings = step.settings = backend.xp.zeros(scalars, np.float64)
        self._recording = backend.record(lambda: step.run(self._batch))

    def __call__(self, batch: Data, step: int, scalars: tuple[float, ...]) -> Array:
        """Do the step of this number on a batch and return its loss, shape ()."""
        self._batch.x[...] = batch.x
        self._batch.expected[...] = batch.expected
        if self._batch.weights is not None:
            self._batch.weights[...] = batch.weights
        self._settings.set(np.array(scalars, np.float64))
        self._clock.set(np.array([step, 0, 0], np.int64))
        self._recording()
        return self._losses[0]
