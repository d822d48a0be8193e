"""What goes on beside the current stream of a GPU: batches brought to it, sums begun early."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends.scratch import Array


class DeviceSlots:
    """Two slots, each with pinned arrays and arrays on the device: `gpubp.backends.scratch.Slots`.

    While the device works on what is in one slot, the other is filled: a copy from pinned memory
    goes on in a stream of its own.
    """

    count = 2

    def __init__(self, cupy: Any, kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]) -> None:
        cuda, slots = cupy.cuda, range(self.count)
        self._cuda = cuda
        self._copies = cuda.Stream(non_blocking=True)
        self._filled = [cuda.Event() for _ in slots]
        self._emptied = [cuda.Event() for _ in slots]
        self._pinned = [[_pinned(cupy, *kind) for kind in kinds] for _ in slots]
        self.arrays: list[list[Array]] = [[cupy.empty(*kind) for kind in kinds] for _ in slots]
        for event in self._emptied:  # the arrays' memory may have been in use until now
            event.record(cuda.get_current_stream())

    def to_fill(self, slot: int) -> list[NDArray[Any]]:
        """Return a slot's pinned arrays to write a batch to."""
        self._filled[slot].synchronize()  # the copy before last has left them
        return self._pinned[slot]

    def send(self, slot: int, rows: int) -> None:
        """Have the first rows of what was written copied to the device."""
        self._copies.wait_event(self._emptied[slot])
        if rows:
            for pinned, device in zip(self._pinned[slot], self.arrays[slot], strict=True):
                device[:rows].set(pinned[:rows], stream=self._copies)
        self._filled[slot].record(self._copies)

    def wait(self, slot: int) -> None:
        """Let what follows on the current stream come after the filling of a slot."""
        self._cuda.get_current_stream().wait_event(self._filled[slot])

    def release(self, slot: int) -> None:
        """Be told that what reads a slot has been asked for."""
        self._emptied[slot].record(self._cuda.get_current_stream())


class Branch:
    """Work beside the current stream, which in a recording becomes a branch of its graph."""

    def __init__(self, cupy: Any) -> None:
        self._cuda = cupy.cuda
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._begun, self._done = (cupy.cuda.Event(disable_timing=True) for _ in range(2))

    @contextmanager
    def after_what_was_begun(self) -> Iterator[None]:
        """Return the context of work that begins once what the current stream has begun is done."""
        self._begun.record(self._cuda.get_current_stream())
        self._stream.wait_event(self._begun)
        with self._stream:
            yield

    def join(self) -> None:
        """Let what follows on the current stream come after the work."""
        self._done.record(self._stream)
        self._cuda.get_current_stream().wait_event(self._done)

    @property
    def pointer(self) -> int:
        """The address of the current stream, which is the branch's within its context."""
        return int(self._cuda.get_current_stream().ptr)


def _pinned(cupy: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a NumPy array in memory that the device copies from without the host's help."""
    count = math.prod(shape)
    memory = cupy.cuda.alloc_pinned_memory(count * dtype.itemsize)
    return np.frombuffer(memory, dtype, count).reshape(shape)
