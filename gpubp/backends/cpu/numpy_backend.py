"""The NumPy backend: the operations as they are specified, on arrays of the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpubp.backends.cpu.aligned import aligned_empty
from gpubp.backends.cpu.blas import threads_for
from gpubp.backends.formulas.operations import ArrayOperations
from gpubp.backends.precision import Precision
from gpubp.backends.program import WalkedSteps, largest_product, traced
from gpubp.backends.random import generator, permutation
from gpubp.backends.scratch import Array


class NumpyBackend(ArrayOperations):
    """Arrays and functions on the CPU; see `gpubp.backends.protocol.Backend`."""

    name = "cpu"
    device = "CPU"
    storage = frozenset({"uint8", "float16", "float32", "float64"})
    chunk_rows = 1024
    plans = False
    workspace = 0

    def __init__(self, reason: str = "asked for") -> None:
        self.xp: Any = np
        self.reason = reason
        self.alternative: Any = None
        self.notes: list[str] = []

    def for_precision(self, precision: Precision) -> NumpyBackend:
        return self.instead_of(precision, "the compiled kernels are needed")

    def instead_of(self, precision: Precision, missing: str) -> NumpyBackend:
        """Return this backend, which computes what a precision leaves out; bfloat16 with a note."""
        note = f"precision 'bfloat16' computes in float32 on this CPU: {missing}"
        notes = [note] if precision.name == "bfloat16" else []
        if self.notes == notes:
            return self
        found = copy(self)
        found.notes = notes
        return found

    def stored(self, precision: Precision) -> np.dtype[Any]:
        return precision.dtype

    def on_device(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def asarray(self, array: Any, dtype: DTypeLike | None = None) -> Array:
        return np.ascontiguousarray(array, dtype=dtype)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        return aligned_empty(shape, dtype)

    def to_numpy(self, array: Array) -> NDArray[Any]:
        return np.asarray(array)

    def put(self, array: Array, values: Any) -> None:
        array[...] = values

    def slots(self, kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]) -> HostSlots:
        return HostSlots([self.empty(shape, dtype) for shape, dtype in kinds])

    def free_memory(self) -> int:
        return 0

    def holds(self, size: int) -> bool:
        return True

    def draw(self, seed: int, stream: int, step: int, numbers: Array) -> None:
        generator(seed, stream, step).random(dtype=np.float32, out=numbers)

    def shuffle(self, seed: int, stream: int, epoch: int, order: Array) -> None:
        order[...] = permutation(seed, epoch, len(order))

    def threads_for(self, multiplications: int) -> AbstractContextManager[None]:
        return threads_for(multiplications)

    def lockstep(self) -> None:
        return None

    def addresses(self, arrays: Sequence[Array]) -> None:
        """Return None: a step is planned faster than a device is asked for anything."""

    def record(
        self,
        work: Callable[[Any], None],
        parameters: Array = None,
        half: Array | None = None,
        addresses: None = None,
    ) -> Callable[[int], None]:
        return self._walked(work, largest_product(traced(work)))

    def planned(self, work: Callable[[Any], None]) -> Callable[[int], None] | None:
        return None

    def _walked(self, work: Callable[[Any], None], largest: int) -> WalkedSteps:
        return WalkedSteps(self, work, self.threads_for(largest))

    def synchronize(self) -> None:
        """Do nothing: NumPy returns when it is done."""


class HostSlots:
    """One place for a batch in the host's memory; see `gpubp.backends.scratch.Slots`."""

    count = 1

    def __init__(self, arrays: list[Array]) -> None:
        self.arrays = [arrays]

    def to_fill(self, slot: int) -> list[NDArray[Any]]:
        """Return the arrays themselves: a step reads them where they are written."""
        return self.arrays[slot]

    def send(self, slot: int, rows: int) -> None:
        """Do nothing: what was written is where it is read."""

    def wait(self, slot: int) -> None:
        """Do nothing: there is nothing under way."""

    def release(self, slot: int) -> None:
        """Do nothing: what reads a place is done."""
