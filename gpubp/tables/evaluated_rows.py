"""Rows to evaluate a model on: which of them it was trained on, and those of one part alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpubp.checks import checked_name
from gpubp.errors import ConfigurationError, DataError
from gpubp.tables.dealt_rows import UNKNOWN
from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.table import Table
from gpubp.tables.target_rows import keep_rows_with_target

PARTS = ("train", "validation", "test", "all")  # the number of a part is its place


def rows_of_part(preprocessing: Preprocessing, table: Table, part: str) -> Table:
    """Return the rows of a table that belong to a part of the training.

    The part "test" is made of all rows that training did not use.

    Raises
    ------
    UnknownNameError
        When there is no such part.
    ConfigurationError
        When the model file does not say which of these rows were trained on.
    DataError
        When the table has no row of the part.
    """
    checked_name("part", part, PARTS)
    if part == "all":
        return table
    if preprocessing.dealt is None:
        raise ConfigurationError(
            f"--part is {part!r} and the model does not say which rows it was trained on; --part"
            " all, or a model that `gpubp train` made of a table in memory, is needed"
        )
    table, _ = keep_rows_with_target(table, preprocessing.target)
    parts = _parts(preprocessing, table)
    if (parts == UNKNOWN).any():
        raise ConfigurationError(
            f"--part is {part!r} and {table.name!r} is not, row by row, the large table of the"
            " training, of which alone the parts are known; that table, or --part all, is needed"
        )
    chosen = parts == PARTS.index(part)
    if not chosen.any():
        counts = ", ".join(f"{name}: {(parts == k).sum()}" for k, name in enumerate(PARTS[:3]))
        raise DataError(f"{table.name!r} has no row of the part {part!r}; it has rows of {counts}")
    return table.take(chosen)


def seen_in_training(preprocessing: Preprocessing, table: Table) -> str:
    """Return a line saying how many rows of a table training used; "" if none."""
    lacks = [name for name in told_apart_by(preprocessing) if name not in table.columns]
    if preprocessing.dealt is None or lacks:
        return ""
    table, _ = keep_rows_with_target(table, preprocessing.target)
    parts = _parts(preprocessing, table)
    used = int(((parts == 0) | (parts == 1)).sum())
    if not used:
        return ""
    known = int((parts != UNKNOWN).sum())
    about = "" if known == table.rows else "about "
    count = f"{about}{round(used * table.rows / known)} of {table.rows} rows were trained on"
    if used == known:
        return f"{count}; measures on rows that were not may be worse"
    return f"{count}; --part test measures only those that were not"


def told_apart_by(preprocessing: Preprocessing) -> list[str]:
    """Return the columns by which rows are told apart."""
    return [preprocessing.target, *(column.name for column in preprocessing.columns)]


def _parts(preprocessing: Preprocessing, table: Table) -> NDArray[np.int8]:
    assert preprocessing.dealt is not None
    labels = table.column(preprocessing.target) if preprocessing.classes else None
    return preprocessing.dealt.parts_of(table, told_apart_by(preprocessing), labels)
