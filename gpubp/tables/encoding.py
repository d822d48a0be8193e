"""What the kinds of columns share: inputs with what was doubtful, values as text."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import brief
from gpubp.tables.cell_formats import is_number
from gpubp.tables.table import Table

MOST_WORDS, FIRST_ROWS = 5, 3  # that a line names


class Problem(NamedTuple):
    """What is wrong in some rows of a column, without what is done about it."""

    text: str
    share: float  # of the rows


class Encoded(NamedTuple):
    """Inputs (rows, features) made of one column, and rows that training had no like of."""

    features: NDArray[np.float32]
    problems: list[Problem]
    remedies: list[str]  # what is done about it, one for each problem


def as_texts(table: Table, name: str) -> NDArray[np.object_]:
    """Return a column as text (rows,), None where missing; numbers are written as in a CSV file.

    Raises
    ------
    UnknownNameError, DataError
        When there is no such column, or it holds neither numbers nor text.
    """
    values = table.column(name)
    kind = table.kinds[name]
    if kind == "text":
        return values
    texts = np.empty(len(values), dtype=object)
    texts[:] = [None if np.isnan(value) else _written(float(value), kind) for value in values]
    return texts


def stray_text(table: Table, name: str) -> str:
    """Return why a column of text that is mostly numbers is no numeric column, or ""."""
    counts = Counter(text for text in table.column(name).tolist() if text)
    strays: Counter[str] = Counter()
    for text, count in counts.items():
        if not is_number(text):
            strays[text.strip()] += count
    if not strays or 2 * strays.total() > counts.total():
        return ""
    words = [word for word, _ in strays.most_common(MOST_WORDS)]
    shown = ", ".join(f"{brief(word, 40)} in {rows_with(table, name, word)}" for word in words)
    more = len(strays) - len(words)
    if more:
        return (
            f"column {name!r} is taken as text: most of its values are numbers, but not {shown} and"
            f" {more} other words"
        )
    options = " ".join(f"--missing={shlex.quote(word)}" for word in words)
    return (
        f"column {name!r} is taken as text: most of its values are numbers, but not {shown};"
        f" with {options} it holds numbers, and these are missing"
    )


def rows_with(table: Table, name: str, word: str) -> str:
    """Return in which rows of a column of text a word stands, in words."""
    cells = table.column(name).tolist()
    places = [row for row, text in enumerate(cells) if text is not None and text.strip() == word]
    first = ", ".join(str(table.row_numbers[row]) for row in places[:FIRST_ROWS])
    if len(places) > FIRST_ROWS:
        return f"{len(places)} rows (first: {first})"
    return f"row{'s' * (len(places) > 1)} {first}"


def _written(value: float, kind: str) -> str:
    """Return a number as a CSV file would hold it."""
    if kind == "bool":
        return "true" if value else "false"
    return str(int(value)) if value.is_integer() else repr(value)


def unknown_names(
    table: Table, name: str, values: NDArray[np.object_], unknown: NDArray[np.bool_]
) -> list[Problem]:
    """Return problems of the rows whose name, or lack of one, training did not have."""
    absent = np.array([value is None for value in values], dtype=bool) & unknown
    problems = count_rows(table, name, absent, "no value, which training never had")
    unseen = unknown & ~absent
    if unseen.any():
        what = f"a category that training did not keep, such as {brief(values[unseen][0])}"
        problems += count_rows(table, name, unseen, what)
    return problems


def count_rows(table: Table, name: str, chosen: NDArray[np.bool_], what: str) -> list[Problem]:
    """Return a problem that says how many rows are concerned, or nothing if none is."""
    count = int(chosen.sum())
    if not count:
        return []
    first = table.row_numbers[np.argmax(chosen)]
    text = f"column {name!r}: {count} of {table.rows} rows (first: row {first}) hold {what}"
    return [Problem(text, count / table.rows)]
