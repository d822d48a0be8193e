"""Batches that are brought to where a step reads them, one slot after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array
from gpubp.backends.scheduled import new_clock
from gpubp.data.reading import Reader


class SlotFeed(ABC):
    """What feeds with slots have in common; see `gpubp.backends.scratch.Slots`.

    With two slots the next batch is fetched while the device works on one.
    """

    by_clock = False
    sources: tuple[Array, ...] = ()  # slots are those of one training
    at_once = 1
    _net: Reader

    def __init__(
        self,
        net: Reader,
        kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]],
        steps: int,
    ) -> None:
        """Make slots of these shapes and dtypes, the first for x, each with the most rows."""
        self._net, self._batches = net, steps
        backend = net.backend
        self._slots = backend.slots(kinds)
        self._holds: list[int | None] = [None] * self._slots.count
        self._not_fetched: Exception | None = None
        self._slot_rows = kinds[0][0][0]
        self._straight = backend.empty((self._slot_rows,), np.dtype(np.int64))
        backend.put(self._straight, np.arange(self._slot_rows))
        self._start = new_clock(backend)  # which stands still

    @abstractmethod
    def _load(self, index: int, arrays: list[NDArray[Any]]) -> int:
        """Write a batch to the first rows of these arrays; return how many rows it has."""

    def prepare(self, index: int) -> int:
        """Make sure that a step can read a batch; return from which slot."""
        slot = index % self._slots.count
        failure, self._not_fetched = self._not_fetched, None
        if self._holds[slot] != index:
            if failure is not None:
                raise failure
            self._fill(index)
        self._slots.wait(slot)
        return slot

    def done(self, index: int) -> None:
        """Be told that the step on a batch has been asked for, and fetch the next meanwhile.

        What goes wrong is raised when the next is asked for: this step is done in any case.
        """
        self._slots.release(index % self._slots.count)
        if index + 1 < self._batches and self._slots.count > 1:
            try:
                self._fill(index + 1)
            except Exception as error:
                self._not_fetched = error

    def close(self) -> None:
        """Let what follows wait for copies under way: their memory may be given to others."""
        for slot in range(self._slots.count):
            self._slots.wait(slot)

    def _fill(self, index: int) -> None:
        slot = index % self._slots.count
        self._holds[slot] = None
        rows = self._load(index, self._slots.to_fill(slot))
        self._slots.send(slot, rows)
        self._holds[slot] = index

    def _forget(self) -> None:
        """Forget what the slots hold: another epoch begins."""
        self._holds = [None] * len(self._holds)
        self._not_fetched = None

    def _read_slot(self, ops: Any, slot: int, rows: int) -> Array:
        """Bring the inputs in a slot into the buffer that the network reads."""
        stored, net = self._slots.arrays[slot][0], self._net
        if not rows or (stored.dtype == net.stored and net.input_scale == 1):
            return stored[:rows]
        x = net.scratch("batch x", (rows, stored.shape[1]), net.stored)
        ops.gather_batch(stored, self._straight, self._start, self._slot_rows, net.input_scale, x)
        return x
