"""Checks of settings, the same everywhere; each raises ConfigurationError."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeGuard

from gpubp.errors import ConfigurationError, UnknownNameError, brief


def checked_whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """Return a whole number, above 0 if nothing else is said.

    Raises
    ------
    ConfigurationError
        When it is none, or below the least or above the most.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if whole and value >= least and (most is None or value <= most):
        return int(value)
    wanted = "above 0" if least == 1 and most is None else f"from {least}"
    wanted += "" if most is None else f" to {most}"
    raise ConfigurationError(f"{name} is {brief(value)}; a whole number {wanted} is needed")


def checked_name(kind: str, value: Any, known: Collection[str]) -> str:
    """Return a name of this kind.

    Raises
    ------
    UnknownNameError
        When it is not known; lists those that are.
    """
    if not isinstance(value, str) or value not in known:
        raise UnknownNameError(kind, value, known)
    return value


def checked_path(name: str, value: Any) -> Path:
    """Return a path of text.

    Raises
    ------
    ConfigurationError
        When it is none, or no file can have it.
    """
    path = Path(value) if isinstance(value, str | os.PathLike) else None
    if path is None or "\0" in str(path):
        raise ConfigurationError(f"{name} is {brief(value)}; a path is needed")
    return path


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
