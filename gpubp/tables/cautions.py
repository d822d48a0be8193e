"""What a person should know of a table before a network is trained on it, a line each.

Each check is a function of the table, its target and the task; `cautions` runs those of a table.
"""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.tables.categorical_column import MOST_INPUTS
from gpubp.tables.table import Table

FEWEST_ROWS = 30  # of fewer nothing can be said
MOST_CELLS = 2_000_000  # of a larger table only what is quick is looked at
COPIES = 0.01  # of the rows: so many like another are worth a line
BEYOND_CHANCE = 1.5  # times as many as in shuffled columns
SAME = 0.9999  # correlation of a copy
OFTEN = 5  # rows of a value, and of a class, from which on a value of one class is no chance
SKEWED = 3.0  # skewness of a target from which on its logarithm is looked at
CLASSES = 5  # from so many whole numbers on a target may be a number after all
CHANCE = 2.0  # deviations of a number of copies, counted by Poisson, that are still chance
MARKS = [sign * (10**nines - 1) for nines in range(2, 7) for sign in (-1, 1)]
_NUMBERS_ROWS = re.compile(r"(^|[\W_])(id|uuid|guid|index|key|nr|no|number|row)([\W_]|$)", re.I)


def cautions(table: Table, target: str, task: str, time_column: str = "") -> list[str]:
    """Return lines on a table whose rows all have a target, each with what to do about it.

    With a time column, by which parts are dealt, the order of rows is none to tell.
    """
    if table.rows < FEWEST_ROWS:
        return []
    few = table.rows * len(table.columns) <= MOST_CELLS
    every = CHECKS if few else QUICK
    told = [check for check in every if check is not order_of_rows or not time_column]
    return [line for check in told for line in check(table, target, task)]


def _others(table: Table, target: str) -> list[str]:
    return [name for name in table.columns if name != target]


def _present(table: Table, name: str) -> NDArray[Any]:
    return table.column(name)[~table.missing(name)]


def row_numbers(table: Table, target: str, task: str) -> Iterator[str]:
    """Find columns that number the rows: whole numbers one after the other, or a name for each."""
    for name in _others(table, target):
        values = _present(table, name)
        if len(values) < table.rows or len(set(values.tolist())) < table.rows:
            continue
        steps = np.diff(values) if values.dtype != object else np.zeros(1)
        counts_on = bool((steps == 1).all()) and values[0] in (0, 1)  # years begin elsewhere
        if counts_on or (_NUMBERS_ROWS.search(name) and _is_whole(values)):
            yield (
                f"column {name!r} numbers the rows, which says nothing of new ones: --drop"
                f" {shlex.quote(name)}"
            )


def _is_whole(values: NDArray[Any]) -> bool:
    return values.dtype == object or bool((values == np.round(values)).all())


def copies_of_the_target(table: Table, target: str, task: str) -> Iterator[str]:
    """Find columns that tell the target by themselves."""
    known = ~table.missing(target)
    expected = table.column(target)[known]
    for name in _others(table, target):
        values = table.column(name)[known]
        if table.missing(name)[known].any() or len(set(values.tolist())) < 2:
            continue
        if _tells(values, expected, task):
            yield (
                f"column {name!r} tells {target!r} by itself: if it is not known beforehand,"
                f" --drop {shlex.quote(name)}"
            )


def _tells(values: NDArray[Any], expected: NDArray[Any], task: str) -> bool:
    """Tell whether a column decides the target: other names of it, ranges of it, or its order."""
    if task == "classification":
        return _decides_classes(values, expected)
    if object in (values.dtype, expected.dtype) or np.ptp(expected) == 0:
        return False
    alike = ((values, expected), (_ranks(values), _ranks(expected)))
    return any(abs(np.corrcoef(*pair)[0, 1]) > SAME for pair in alike)


def _decides_classes(values: NDArray[Any], expected: NDArray[Any]) -> bool:
    different, classes = set(values.tolist()), Counter(expected.tolist())
    if len(set(zip(values.tolist(), expected.tolist(), strict=True))) > len(different):
        return False  # a value has two classes
    if len(different) == len(classes):
        return True
    if min(classes.values()) < OFTEN:  # each of its values may have one class by chance
        return False
    in_order = expected[np.argsort(values, kind="stable")] if values.dtype != object else expected
    ranges = 1 + int((in_order[1:] != in_order[:-1]).sum())
    return len(different) * OFTEN <= len(values) or (
        values.dtype != object and ranges == len(classes)
    )


def _ranks(values: NDArray[Any]) -> NDArray[np.int64]:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable")


def copies_of_rows(table: Table, target: str, task: str) -> Iterator[str]:
    """Find rows that are like another: parts that share them measure what was learnt by heart.

    Columns of few values have such rows by chance, about as many as the same columns have when
    each is shuffled.
    """
    columns = [table.columns[name] for name in table.columns]
    count = _copies(columns)
    if count <= COPIES * table.rows:
        return
    draw = np.random.default_rng(0)
    usual = _copies([draw.permutation(values) for values in columns])
    if count > max(BEYOND_CHANCE * usual, usual + CHANCE * math.sqrt(usual + 1)):
        yield (
            f"{count} of {table.rows} rows are copies of others; training and test part may share"
            " them, and the measures are then too good: keep one of each"
        )


def _copies(columns: Sequence[NDArray[Any]]) -> int:
    """Return how many rows are like an earlier one."""
    rows = zip(*(values.tolist() for values in columns), strict=True)
    return len(columns[0]) - len(set(map(str, rows)))


def lonely_classes(table: Table, target: str, task: str) -> Iterator[str]:
    """Find classes of one row."""
    if task == "classification":
        counts = Counter(_present(table, target).tolist())
        lonely = sorted(str(label) for label, count in counts.items() if count == 1)
        if lonely:
            named = ", ".join(map(repr, lonely[:5])) + (", ..." if len(lonely) > 5 else "")
            yield (
                f"classes of one row cannot be learnt and tested: {named}; leave these rows out, or"
                " give them the class of others"
            )


def order_of_rows(table: Table, target: str, task: str) -> Iterator[str]:
    """Find times that the rows are in the order of."""
    for name in _others(table, target):
        values = _present(table, name) if table.kinds[name] == "time" else np.zeros(0)
        steps = np.diff(values)
        if len(values) == table.rows and steps.any() and ((steps >= 0).all() or (steps <= 0).all()):
            yield (
                f"rows are in the order of {name!r}: if later rows are to be predicted, test on"
                f" such: --time-column {shlex.quote(name)}"
            )


def many_names(table: Table, target: str, task: str) -> Iterator[str]:
    """Find columns of very many names, of which those of one row are unknown."""
    for name in _others(table, target):
        counts = Counter(_present(table, name).tolist()) if table.kinds[name] == "text" else {}
        lonely = sum(count == 1 for count in counts.values())
        if MOST_INPUTS < len(counts) <= table.rows / 2 and lonely > COPIES * table.rows:
            yield (
                f"column {name!r} has {len(counts)} names, of which {lonely} are in one row alone"
                f" and are taken as unknown; if it tells little, --drop {shlex.quote(name)}"
            )


def marks_of_missing(table: Table, target: str, task: str) -> Iterator[str]:
    """Find numbers such as -999 that mostly stand for no value.

    One is further from all other values than these are from each other.
    """
    for name in table.columns:
        if table.kinds[name] != "number":
            continue
        values = _present(table, name)
        found = np.isin(values, MARKS)
        others = values[~found]
        if not found.any() or not len(others) or np.ptp(others) == 0:
            continue
        for mark in np.unique(values[found]):
            if min(abs(mark - others.min()), abs(mark - others.max())) > np.ptp(others):
                count = int((values == mark).sum())
                yield (
                    f"column {name!r}: {mark:g} in {count} row{'s' * (count > 1)} is far from all"
                    f" other values, {others.min():.5g} to {others.max():.5g}; if it stands for no"
                    f" value, --missing={mark:g}"
                )


def skewed_target(table: Table, target: str, task: str) -> Iterator[str]:
    """Find targets whose logarithm is more even."""
    values = _present(table, target) if task == "regression" else np.zeros(0)
    if len(values) and values.dtype != object and values.min() > 0:
        plain, logarithm = skewness(values), skewness(np.log(values))
        if plain > SKEWED and abs(logarithm) < plain / 3:
            yield (
                f"{target!r} has a long tail (mean {values.mean():.4g}, median"
                f" {np.median(values):.4g}): a column of its logarithm may be predicted better"
            )


def skewness(values: NDArray[Any]) -> float:
    """Return the third standardised moment, m3 / m2^(3/2)."""
    away = values - values.mean()
    spread = float((away**2).mean())
    return float((away**3).mean() / spread**1.5) if spread else 0.0


def numbers_as_classes(table: Table, target: str, task: str) -> Iterator[str]:
    """Find whole numbers that are taken as classes and may be a number."""
    values = _present(table, target)
    if task != "classification" or table.kinds[target] != "number":
        return
    different = np.unique(values)
    if len(different) >= CLASSES and (np.diff(different) == 1).all() and different[0] > 0:
        yield (
            f"{target!r} is taken as {len(different)} classes, {different[0]:g} to"
            f" {different[-1]:g}; if it is a number, such as a grade, --task regression"
        )


Check = Callable[[Table, str, str], Iterator[str]]
QUICK: tuple[Check, ...] = (
    *(lonely_classes, order_of_rows, marks_of_missing, skewed_target, numbers_as_classes),
)
CHECKS: tuple[Check, ...] = (
    *(row_numbers, copies_of_the_target, copies_of_rows, many_names),
    *QUICK,
)
