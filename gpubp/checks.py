"""Checks of settings, the same everywhere; each raises ConfigurationError."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, TypeGuard

from gpubp.errors import ConfigurationError, brief


def checked_whole(name: str, value: Any) -> int:
    """Return a whole number above 0.

    Raises
    ------
    ConfigurationError
        When it is none.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ConfigurationError(f"{name} is {brief(value)}; a whole number above 0 is needed")
    return int(value)


def check_seconds(name: str, value: Any) -> None:
    """Raise ConfigurationError unless a limit is None or a finite number of seconds above 0."""
    if value is not None and not (is_number(value) and value > 0):
        raise ConfigurationError(
            f"{name} is {brief(value)}; a finite number of seconds above 0 is needed"
        )


def checked_list(name: str, value: Any) -> tuple[Any, ...]:
    """Return what a list holds.

    Raises
    ------
    ConfigurationError
        When it is none.
    """
    if not isinstance(value, Iterable) or isinstance(value, str | bytes):
        raise ConfigurationError(f"{name} is {brief(value)}; a list is needed")
    return tuple(value)


def is_number(value: Any) -> TypeGuard[float]:
    """Tell whether a value is a finite real number that a float can hold; a boolean is none."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def check_positive(**settings: Any) -> None:
    """Raise ConfigurationError unless each setting is a finite number above 0."""
    for name, value in settings.items():
        if not (is_number(value) and value > 0):
            raise ConfigurationError(f"{name} is {brief(value)}; a finite number above 0 is needed")


def check_from_zero(**settings: Any) -> None:
    """Raise ConfigurationError unless each setting is a finite number, 0 or more."""
    for name, value in settings.items():
        if not (is_number(value) and value >= 0):
            raise ConfigurationError(f"{name} is {brief(value)}; a finite number from 0 is needed")


def check_fraction(**settings: Any) -> None:
    """Raise ConfigurationError unless each setting is a number from 0 to below 1."""
    for name, value in settings.items():
        if not (is_number(value) and 0 <= value < 1):
            raise ConfigurationError(
                f"{name} is {brief(value)}; a number from 0 to below 1 is needed"
            )


def check_share(**settings: Any) -> None:
    """Raise ConfigurationError unless each setting is a number between 0 and 1, neither of them."""
    for name, value in settings.items():
        if not (is_number(value) and 0 < value < 1):
            raise ConfigurationError(
                f"{name} is {brief(value)}; a number between 0 and 1 is needed"
            )
