"""Batches that are brought to where a step reads them, one slot after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array
from gpubp.data.reading import Reader


class SlotFeed(ABC):
    """What feeds with slots have in common; see `gpubp.backends.scratch.Slots`.

    With two slots the next batch is fetched while the device works on one.
    """

    by_clock = False
    _net: Reader

    def __init__(self, net: Reader, size: int, steps: int) -> None:
        self._net, self._slot_rows, self._batches = net, size, steps
        self._slots: Any = None
        self._holds: list[int | None] = []
        backend = net.backend
        self._straight = backend.empty((size,), np.dtype(np.int64))
        backend.put(self._straight, np.arange(size))
        self._start = backend.empty((3,), np.dtype(np.int64))  # a clock that stands still
        backend.put(self._start, np.zeros(3, np.int64))

    @abstractmethod
    def _load(self, index: int) -> list[NDArray[Any]]:
        """Return the arrays of a batch in the host's memory."""

    def prepare(self, index: int) -> int:
        """Make sure that a step can read a batch; return from which slot."""
        if self._slots is None:
            self._fill(index)
        slot = index % self._slots.count
        if self._holds[slot] != index:
            self._fill(index)
        self._slots.wait(slot)
        return int(slot)

    def done(self, index: int) -> None:
        """Be told that the step on a batch has been asked for, and fetch the next meanwhile."""
        self._slots.release(index % self._slots.count)
        if index + 1 < self._batches and self._slots.count > 1:
            self._fill(index + 1)

    def _fill(self, index: int) -> None:
        arrays = self._load(index)
        if self._slots is None:
            kinds = [((self._slot_rows, *array.shape[1:]), array.dtype) for array in arrays]
            self._slots = self._net.backend.slots(kinds)
            self._holds = [None] * self._slots.count
        slot = index % self._slots.count
        self._slots.fill(slot, arrays)
        self._holds[slot] = index

    def _forget(self) -> None:
        """Forget what the slots hold: another epoch begins."""
        self._holds = [None] * len(self._holds)

    def _read_slot(self, ops: Any, slot: int, rows: int) -> Array:
        """Bring the inputs in a slot into the buffer that the network reads."""
        stored, net = self._slots.arrays[slot][0], self._net
        if stored.dtype == net.stored and net.input_scale == 1:
            return stored[:rows]
        x = net.scratch("batch x", (rows, stored.shape[1]), net.stored)
        ops.gather_batch(stored, self._straight, self._start, self._slot_rows, net.input_scale, x)
        return x
