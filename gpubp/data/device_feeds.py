"""Where a GPU's batches come from: its own memory, the host's, or a data set that is read."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from gpubp.backends import Array
from gpubp.backends.protocol import ReplayBackend
from gpubp.backends.random import SHUFFLE
from gpubp.data.batches import Batches, Data
from gpubp.data.dataset_batches import StreamBatches
from gpubp.data.shards import ALL
from gpubp.data.sparse_rows import SparseRows
from gpubp.nn.backprop import LayerStack


class Resident:
    """Batches of data that lie in the device's memory, gathered there by the clock."""

    slots = 1

    def __init__(self, backend: ReplayBackend, batches: Batches) -> None:
        self._backend, self._batches = backend, batches
        self._whole = batches.shards == ALL
        self._order = backend.asarray(batches.own_order(0, False))

    def begin_epoch(self, epoch: int) -> None:
        """Bring the rows into the order of an epoch."""
        if callable(self._batches.shuffle) or (self._batches.shuffle and not self._whole):
            self._order.set(self._batches.own_order(epoch))
        elif self._batches.shuffle:
            self._backend.shuffle(self._batches.seed, SHUFFLE, epoch, self._order)

    def prepare(self, index: int) -> int:
        """Make sure that a batch can be read; return from which slot."""
        return 0

    def done(self, index: int) -> None:
        """Be told that the step on a batch has been asked for."""

    def read(self, stack: LayerStack, rows: int, slot: int, clock: Array) -> Data:
        """Gather the clock's batch, of so many rows, into buffers."""
        data, size = self._batches.data, self._batches.own_sizes[0]
        if not rows:
            return data.part(0, 0)
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


class _Slots(ABC):
    """Two slots, each a pinned buffer and one on the device.

    While the device works on the batch in one slot, the host gathers the next into the other and
    the copy goes on in a stream of its own.
    """

    slots = 2

    def __init__(self, backend: ReplayBackend, size: int, steps: int) -> None:
        self._backend, self._size, self._steps = backend, size, steps
        cuda = backend.xp.cuda
        self._copies = cuda.Stream(non_blocking=True)
        self._filled = [cuda.Event() for _ in range(self.slots)]
        self._emptied = [cuda.Event() for _ in range(self.slots)]
        self._holds: list[int | None] = [None] * self.slots
        self._identity = backend.xp.arange(size, dtype=np.int64)
        self._start = backend.xp.zeros(3, np.int64)  # a clock that stands still

    @abstractmethod
    def _send(self, slot: int, index: int) -> None:
        """Gather a batch into a slot's pinned buffer, and have it copied to the device."""

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
        if index + 1 < self._steps:
            self._fill(index + 1)

    def _empty(self) -> None:
        """Forget what the slots hold: another epoch begins."""
        self._holds = [None] * self.slots

    def _scaled(self, stack: LayerStack, stored: Array, rows: int) -> Array:
        """Return the inputs in a slot as the network reads them."""
        x = stack.scratch("batch x", (rows, stored.shape[1]), stack.stored)
        self._backend.gather_batch(
            stored, self._identity, self._start, self._size, stack.input_scale, x
        )
        return x

    def _fill(self, index: int) -> None:
        slot = index % self.slots
        self._filled[slot].synchronize()  # the copy before last has left the pinned buffer
        self._send(slot, index)
        self._filled[slot].record(self._copies)
        self._holds[slot] = index

    def _current(self) -> Any:
        return self._backend.xp.cuda.get_current_stream()


class Streamed(_Slots):
    """Batches of data that lie on the host, their x in slots, y and weights on the device."""

    def __init__(self, backend: ReplayBackend, batches: Batches) -> None:
        super().__init__(backend, batches.own_sizes[0], batches.steps)
        self._batches, data = batches, batches.data
        self._rows = batches.own_order(0, False)
        self._order = backend.asarray(self._rows)
        shape = (self._size, data.x.shape[1])
        self._pinned = [_pinned(backend.xp, shape, data.x.dtype) for _ in range(self.slots)]
        self._device = [backend.empty(shape, data.x.dtype) for _ in range(self.slots)]

    def begin_epoch(self, epoch: int) -> None:
        """Bring the rows into the order of an epoch."""
        self._empty()
        if self._batches.shuffle:
            self._rows = self._batches.own_order(epoch)
            self._order.set(self._rows)

    def read(self, stack: LayerStack, rows: int, slot: int, clock: Array) -> Data:
        """Bring the batch in a slot, of so many rows, into buffers."""
        data = self._batches.data
        if not rows:
            return data.part(0, 0)
        x = self._scaled(stack, self._device[slot], rows)
        return with_targets(stack, x, data, rows, self._order, clock, self._size)

    def _send(self, slot: int, index: int) -> None:
        rows = self._rows[index * self._size : (index + 1) * self._size]
        pinned, device = self._pinned[slot][: len(rows)], self._device[slot][: len(rows)]
        x = self._batches.data.x
        if isinstance(x, SparseRows):
            x[rows].dense(pinned)
        else:
            np.take(x, rows, axis=0, out=pinned, mode="clip")
        self._copies.wait_event(self._emptied[slot])
        device.set(pinned, stream=self._copies)


class Fed(_Slots):
    """Batches of a data set that is read while the network trains, x, y and weights in slots."""

    def __init__(self, backend: ReplayBackend, batches: StreamBatches) -> None:
        super().__init__(backend, batches.own_sizes[0], batches.steps)
        self._batches = batches
        self._pinned: list[list[Array]] = []
        self._device: list[list[Array]] = []
        self._epoch = 0

    def begin_epoch(self, epoch: int) -> None:
        """Read another epoch."""
        self._epoch = epoch
        self._empty()

    def read(self, stack: LayerStack, rows: int, slot: int, clock: Array) -> Data:
        """Bring the batch in a slot, of so many rows, into buffers."""
        x, expected, *weights = self._device[slot]
        if not rows:
            return Data(x[:0], expected[:0])
        given = weights[0][:rows] if weights else None
        return Data(self._scaled(stack, x, rows), expected[:rows], weights=given)

    def _send(self, slot: int, index: int) -> None:
        host = self._batches.host_batch(self._epoch, index)
        arrays = [host.x, host.expected, *([] if host.weights is None else [host.weights])]
        if not self._pinned:
            self._make_slots(arrays)
        self._copies.wait_event(self._emptied[slot])
        pairs = zip(self._pinned[slot], self._device[slot], arrays, strict=True)
        for pinned, device, array in pairs:
            pinned[: len(array)] = array
            device[: len(array)].set(pinned[: len(array)], stream=self._copies)

    def _make_slots(self, arrays: list[Array]) -> None:
        xp, size = self._backend.xp, self._size
        for _ in range(self.slots):
            shapes = [(size, *array.shape[1:]) for array in arrays]
            kinds = [array.dtype for array in arrays]
            pairs = list(zip(shapes, kinds, strict=True))
            self._pinned.append([_pinned(xp, shape, kind) for shape, kind in pairs])
            self._device.append([self._backend.empty(shape, kind) for shape, kind in pairs])


def source_of(
    backend: ReplayBackend, batches: Batches | StreamBatches
) -> Resident | Streamed | Fed:
    """Return where the batches of a training are fetched from."""
    if isinstance(batches, StreamBatches):
        return Fed(backend, batches)
    kind = Streamed if isinstance(batches.data.x, np.ndarray | SparseRows) else Resident
    return kind(backend, batches)


def _pinned(cupy: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return a NumPy array in memory that the device copies from without the host's help."""
    count = math.prod(shape)
    memory = cupy.cuda.alloc_pinned_memory(count * dtype.itemsize)
    return np.frombuffer(memory, dtype, count).reshape(shape)
