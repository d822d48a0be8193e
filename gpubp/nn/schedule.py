"""What stands where a learning rate does: a number, or a schedule, which changes with the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, TypeGuard, runtime_checkable

from gpubp.checks import check_positive, is_number
from gpubp.errors import ConfigurationError, brief


@runtime_checkable
class Schedule(Protocol):
    """A learning rate for every step.

    Attributes
    ----------
    peak : float
        The largest learning rate it gives.
    """

    @property
    def peak(self) -> float:
        """The largest learning rate it gives."""

    def __call__(self, step: int) -> float:
        """Return the learning rate after so many updates, 0 or more."""


Setting = float | Schedule  # that may change with the step
LearningRate = Setting


@dataclass(frozen=True)
class Constant:
    """The same learning rate at every step.

    Raises
    ------
    ConfigurationError
        When a setting is out of its range; so for every schedule.
    """

    rate: float

    def __post_init__(self) -> None:
        check_positive(rate=self.rate)

    @property
    def peak(self) -> float:
        """The learning rate."""
        return self.rate

    def __call__(self, step: int) -> float:
        """Return the learning rate."""
        return self.rate


def is_schedule(setting: object) -> TypeGuard[Schedule]:
    """Tell a schedule from a number; a number is seen at once, which every step asks for."""
    return not isinstance(setting, int | float | None) and isinstance(setting, Schedule)


def as_schedule(rate: LearningRate) -> Schedule:
    """Return a schedule: the one given, or a constant one.

    Raises
    ------
    ConfigurationError
        When it is neither a schedule nor a finite number above 0.
    """
    if is_schedule(rate):
        return rate
    if is_number(rate) and rate > 0:
        return Constant(rate)
    raise ConfigurationError(
        f"learning_rate is {brief(rate)}; a finite number above 0 or a schedule is needed"
    )


def value_at(setting: Setting, step: int) -> float:
    """Return a number, or what a schedule gives at a step, counted from 1."""
    return setting(step - 1) if callable(setting) else setting


def peak_of(setting: Setting) -> float:
    """Return the largest value of a number or a schedule; infinity for what is neither."""
    if is_schedule(setting):
        return setting.peak
    return float(setting) if is_number(setting) else math.inf
