"""Preprocessing as plain data, which a model file holds as JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gpubp.errors import ModelFileError, brief
from gpubp.tables.columns import column_from_dict
from gpubp.tables.dealt_rows import DealtRows
from gpubp.tables.intervals import Residuals
from gpubp.tables.json_fields import is_scale, is_texts, read_field
from gpubp.tables.reading import Reading
from gpubp.tables.several_targets import SeveralNumbersTarget
from gpubp.tables.targets import TARGET_TYPES
from gpubp.tables.task import TASKS

if TYPE_CHECKING:
    from gpubp.tables.preprocessing import Preprocessing

FORMAT_VERSION = 1
LEARNING_RATE = 0.001  # of every preset; a file names another alone


def described(made: Preprocessing) -> dict[str, Any]:
    """Return everything of a preprocessing as plain data that JSON can hold without loss."""
    found = {
        "version": FORMAT_VERSION,
        **made.goal.to_dict(),
        "columns": [column.to_dict() for column in made.columns],
        "notes": list(made.notes),
    }
    if made.residuals:
        found["residuals"] = [each.to_dict() for each in made.residuals]
    if made.dealt:
        found["dealt"] = made.dealt.to_dict()
    if reading := made.reading.to_dict():
        found["reading"] = reading
    if made.learning_rate != LEARNING_RATE:
        found["learning_rate"] = made.learning_rate
    return found


def exported(made: Preprocessing) -> dict[str, Any]:
    """Return what other programs need: not the rows of the training, cell formats in full."""
    found = described(replace(made, dealt=None))
    if "reading" in found:
        formats = made.reading.formats.items()
        found["reading"]["formats"] = {name: each.written_out() for name, each in formats}
    return found


def fields_of(data: Any) -> dict[str, Any]:
    """Return the fields of the preprocessing that `described` is of.

    Raises
    ------
    ModelFileError
        When a field is absent or cannot be, or the version is newer than this one.
    """
    version = read_field(data, "version", lambda value: type(value) is int, "a whole number")
    if version != FORMAT_VERSION:
        raise ModelFileError(
            f"preprocessing has version {version}; this gpubp reads version {FORMAT_VERSION}"
        )
    task = read_field(data, "task", lambda value: value in TASKS[1:], " or ".join(TASKS[1:]))
    goal: Any
    if task == "regression" and "targets" in data:
        goal = SeveralNumbersTarget.from_dict(data)
    else:
        goal = TARGET_TYPES[task].from_dict(data)
    columns = read_field(data, "columns", _is_filled_list, "a list of columns")
    notes = read_field(data, "notes", is_texts, "a list of strings")
    parsed = tuple(map(column_from_dict, columns))
    names = [goal.name, *(column.name for column in parsed)]
    if len(set(names)) < len(names):
        raise ModelFileError(f"preprocessing names a column twice: {brief(names, 200)}")
    residuals = read_field({"residuals": [], **data}, "residuals", _is_list, "a list")
    dealt = DealtRows.from_dict(data["dealt"]) if "dealt" in data else None
    reading = Reading.from_dict(data.get("reading", {}))
    held = tuple(map(Residuals.from_dict, residuals))
    rate = read_field(
        {"learning_rate": LEARNING_RATE, **data}, "learning_rate", is_scale, "a float above 0"
    )
    return {
        "goal": goal,
        "columns": parsed,
        "notes": tuple(notes),
        "residuals": held,
        "dealt": dealt,
        "reading": reading,
        "learning_rate": rate,
    }


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_filled_list(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0
