"""Training steps on a GPU: every number that changes lies in its memory, so they are recorded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpubp.backends import Array
from gpubp.backends.protocol import ReplayBackend
from gpubp.batches import Batches, Data
from gpubp.random import SHUFFLE
from gpubp.sparse_rows import SparseRows
from gpubp.stack import LayerStack
from gpubp.step_work import StepWork, step_works
from gpubp.training_settings import Part, TrainingSettings, part_of
from gpubp.training_state import Snapshot, TrainingState

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
        batches: Batches,
        settings: TrainingSettings,
        losses: Array,
    ) -> None:
        self._stack, self._state, self._batches = stack, state, batches
        self._how, self._losses = settings, losses
        backend: ReplayBackend = stack.backend  # type: ignore[assignment]
        self._backend = backend
        self._clock = backend.empty((3,), np.dtype(np.int64))
        self._settings: Array = None
        self._source = _source(backend, batches)
        weighted = batches.data.weights is not None
        self._works = step_works(stack, state, settings, self._clock, losses, weighted)
        kernel = settings.optimizer.kernel
        self._key = " ".join(map(str, (stack.precision.name, *stack.layers, kernel)))
        self._recordings: dict[tuple[int, int, int, Part], Callable[[], None]] = {}
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
            whole = (index + count) * self._batches.size <= len(self._batches.data)
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
        key = (self._batches.sizes[index], count, slot, part)
        recording = self._recordings.get(key)
        if recording is None:
            recording = self._recordings[key] = self._fastest(index, *key)
        recording()
        self._source.done(index)

    def _fastest(
        self, index: int, rows: int, count: int, slot: int, part: Part
    ) -> Callable[[], None]:
        """Return a recording of the steps, the fastest where there are several ways to do them."""
        ways: dict[str, Callable[[], None]] = {
            name: self._backend.record(partial(self._do, work, rows, count, slot, part))
            for name, work in self._works.items()
            if work.serves(rows)
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

    def _do(self, work: StepWork, rows: int, count: int, slot: int, part: Part) -> None:
        for _ in range(count):
            work.run(self._source.read(self._stack, rows, slot, self._clock), part)

    def _set_clock(self, index: int) -> None:
        """Tell the device which step is next; its settings are the next in the table."""
        row = self._state.updates - self._settings_from
        self._clock.set(np.array([self._state.step, index, row], np.int64))

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


class Resident:
    """Batches of data that lie in the device's memory, gathered there by the clock."""

    slots = 1

    def __init__(self, backend: ReplayBackend, batches: Batches) -> None:
        self._backend, self._batches = backend, batches
        self._order = backend.xp.arange(len(batches.data), dtype=np.int64)

    def begin_epoch(self, epoch: int) -> None:
        """Bring the rows into the order of an epoch."""
        if callable(self._batches.shuffle):
            self._order.set(self._batches.order(epoch))
        elif self._batches.shuffle:
            self._backend.shuffle(self._batches.seed, SHUFFLE, epoch, self._order)

    def prepare(self, index: int) -> int:
        """Make sure that a batch can be read; return from which slot."""
        return 0

    def done(self, index: int) -> None:
        """Be told that the step on a batch has been asked for."""

    def read(self, stack: LayerStack, rows: int, slot: int, clock: Array) -> Data:
        """Gather the clock's batch, of so many rows, into buffers."""
        data, size = self._batches.data, self._batches.size
        x = stack.scratch("batch x", (rows, data.x.shape[1]), stack.stored)
        self._backend.gather_batch(data.x, self._order, clock, size, stack.input_scale, x)
        return with_targets(stack, x, data, rows, self._order, clock, size)


def with_targets(
    stack: LayerStack, x: Array, data: Data, rows: int, order: Array, clock: Array, size: int
) -> Data:
    """Gather expected values and weights of the clock's batch into buffers, to go with x."""
    backend: ReplayBackend = stack.backend  # type: ignore[assignment]

    def gathered(name: str, array: Array) -> Array:
        out = stack.scratch(f"batch {name}", (rows, *array.shape[1:]), array.dtype)
        backend.gather_batch(array, order, clock, size, 1.0, out)
        return out

    weights = None if data.weights is None else gathered("weights", data.weights)
    return Data(x, gathered("expected", data.expected), weights=weights)


class Streamed:
    """Batches of data that lie on the host: two pinned buffers, copied while a step runs.

    While the device works on the batch in one slot, the host gathers the next into the other and
    the copy goes on in a stream of its own.
    """

    slots = 2

    def __init__(self, backend: ReplayBackend, batches: Batches) -> None:
        self._batches, data = batches, batches.data
        self._backend, cuda = backend, backend.xp.cuda
        self._rows = np.arange(len(data), dtype=np.int64)
        self._order = backend.asarray(self._rows)
        self._identity = backend.xp.arange(batches.size, dtype=np.int64)
        self._start = backend.xp.zeros(3, np.int64)  # a clock that stands still
        shape = (batches.size, data.x.shape[1])
        self._pinned = [_pinned(backend.xp, shape, data.x.dtype) for _ in range(self.slots)]
        self._device = [backend.empty(shape, data.x.dtype) for _ in range(self.slots)]
        self._copies = cuda.Stream(non_blocking=True)
        self._filled = [cuda.Event() for _ in range(self.slots)]
        self._emptied = [cuda.Event() for _ in range(self.slots)]
        self._holds: list[int | None] = [None] * self.slots

    def begin_epoch(self, epoch: int) -> None:
        """Bring the rows into the order of an epoch."""
        self._holds = [None] * self.slots
        if self._batches.shuffle:
            self._rows = self._batches.order(epoch)
            self._order.set(self._rows)

    def prepare(self, index: int) -> int:
        """Make sure that a batch can be read; return from which slot."""
        slot = index % self.slots
        if self._holds[slot] != index:
            self._fill(index)
        self._current().wait_event(self._filled[slot])
        return slot

    def done(self, index: int) -> None:
        """Be told that the step on a batch has been asked for: fetch the next meanwhile."""
        self._emptied[index % self.slots].record(self._current())
        if index + 1 < self._batches.steps:
            self._fill(index + 1)

    def read(self, stack: LayerStack, rows: int, slot: int, clock: Array) -> Data:
        """Bring the batch in a slot, of so many rows, into buffers."""
        data, size = self._batches.data, self._batches.size
        x = stack.scratch("batch x", (rows, data.x.shape[1]), stack.stored)
        self._backend.gather_batch(
            self._device[slot], self._identity, self._start, size, stack.input_scale, x
        )
        return with_targets(stack, x, data, rows, self._order, clock, size)

    def _fill(self, index: int) -> None:
        slot, size = index % self.slots, self._batches.size
        rows = self._rows[index * size : (index + 1) * size]
        pinned, device = self._pinned[slot][: len(rows)], self._device[slot][: len(rows)]
        self._filled[slot].synchronize()  # the copy before last has left the pinned buffer
        x = self._batches.data.x
        if isinstance(x, SparseRows):
            x[rows].dense(pinned)
        else:
            np.take(x, rows, axis=0, out=pinned, mode="clip")
        self._copies.wait_event(self._emptied[slot])
        device.set(pinned, stream=self._copies)
        self._filled[slot].record(self._copies)
        self._holds[slot] = index

    def _current(self) -> Any:
        return self._backend.xp.cuda.get_current_stream()


def _source(backend: ReplayBackend, batches: Batches) -> Resident | Streamed:
    kind = Streamed if isinstance(batches.data.x, np.ndarray | SparseRows) else Resident
    return kind(backend, batches)


def _pinned(cupy: Any, shape: tuple[int, int], dtype: np.dtype[Any]) -> Array:
    """Return a NumPy array in memory that the device copies from without the host's help."""
    count = shape[0] * shape[1]
    memory = cupy.cuda.alloc_pinned_memory(count * dtype.itemsize)
    return np.frombuffer(memory, dtype, count).reshape(shape)
