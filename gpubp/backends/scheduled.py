"""Numbers of an operation that change from step to step, as the optimizer's settings do."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpubp.backends.scratch import Array

SETTINGS = 2  # the place in a clock, as in kernels/steps.cuh
CLOCK_SIZE = 6


def new_clock(backend: Any) -> Array:
    """Return a clock that stands at step, batch and row 0; see `gpubp.backends.protocol`."""
    clock = backend.empty((CLOCK_SIZE,), np.dtype(np.int64))
    put_clock(backend, clock, 0, 0, 0)
    return clock


def put_clock(backend: Any, clock: Array, step: int, batch: int, row: int) -> None:
    """Set a clock: the step since the network was made, the batch, the row of the settings."""
    backend.put(clock, np.array([step, batch, row] * 2, np.int64))


class Scheduled(NamedTuple):
    """A number for every step to come, of which the clock selects one.

    Attributes
    ----------
    values : array of float64, (rows,)
        The numbers.
    clock : array of int64, (6,)
        The clock, whose row of the settings is the row of the values.
    """

    values: Array
    clock: Array


Number = float | Scheduled


def value_of(number: Number) -> float:
    """Return a number, or what the clock selects now."""
    if isinstance(number, Scheduled):
        return float(number.values[int(number.clock[SETTINGS])])
    return number
