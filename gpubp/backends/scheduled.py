"""Numbers of an operation that change from step to step, as the optimizer's settings do."""

from __future__ import annotations

from typing import NamedTuple

from gpubp.backends.scratch import Array

SETTINGS = 2  # the place in a clock, as in kernels/steps.cuh


class Scheduled(NamedTuple):
    """A number for every step to come, of which the clock selects one.

    Attributes
    ----------
    values : array of float64, (rows,)
        The numbers.
    clock : array of int64, (3,)
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
