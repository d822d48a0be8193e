"""Fields of dictionaries that came from a model file, checked one by one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpubp.errors import ModelFileError, brief


def read_field(data: Any, name: str, valid: Callable[[Any], bool], expected: str) -> Any:
    """Return one field of a dictionary.

    Raises
    ------
    ModelFileError
        When `data` is no dictionary, or the field is absent or not valid.
    """
    if not isinstance(data, dict):
        raise ModelFileError(f"preprocessing holds {brief(data)} where a dictionary is needed")
    if name not in data:
        raise ModelFileError(f"preprocessing lacks the field {name!r} ({expected})")
    if not valid(data[name]):
        raise ModelFileError(
            f"preprocessing has {name} = {brief(data[name])}; {expected} is needed"
        )
    return data[name]


def is_text(value: Any) -> bool:
    """Return whether a value is a string."""
    return isinstance(value, str)


def is_texts(value: Any) -> bool:
    """Return whether a value is a list of strings, all different."""
    return isinstance(value, list) and all(map(is_text, value)) and len(set(value)) == len(value)


def is_flag(value: Any) -> bool:
    """Return whether a value is a boolean."""
    return isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Return whether a value is a finite float."""
    return isinstance(value, float) and math.isfinite(value)


def is_scale(value: Any) -> bool:
    """Return whether a value is a finite float above zero."""
    return is_finite(value) and value > 0


def is_bound(value: Any) -> bool:
    """Return whether a value is a finite float, not below zero."""
    return is_finite(value) and value >= 0
