"""Which task a target column sets: classification or regression."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import ConfigurationError, DataError, brief
from gpubp.tables.standardisation import check_finite
from gpubp.tables.table import Table

Task = Literal["classification", "regression"]
TASKS = ("auto", "classification", "regression")
MOST_INTEGER_CLASSES = 20
ROWS_PER_INTEGER_CLASS = 2


def decide_task(table: Table, target: str, task: str = "auto") -> Task:
    """Return "classification" or "regression" for a target column.

    Text and booleans are classes; so are whole numbers of at most 20 different values that occur
    twice or more on average. Other numbers, and times, are regression.

    Raises
    ------
    ConfigurationError
        When `task` is unknown, is regression of text, or classification of times.
    DataError
        When the target has no value, or an infinite one.
    """
    check_task(task)
    values = table.column(target)[~table.missing(target)]
    if len(values) == 0:
        raise DataError(f"target column {target!r} of {table.name!r} has no value in any row")
    kind = table.kinds[target]
    if kind != "text":
        check_finite(table.column(target), table, target)
    return task_of(
        target, kind, task, np.unique(values) if kind == "number" else values[:1], len(values)
    )


def check_task(task: str) -> None:
    """Raise ConfigurationError when there is no such task."""
    if task not in TASKS:
        raise ConfigurationError(f"task is {brief(task)}; one of {', '.join(TASKS)} is needed")


def task_of(target: str, kind: str, task: str, distinct: NDArray[Any] | None, rows: int) -> Task:
    """Return the task that a target sets, from its different values; None for too many to list.

    Raises
    ------
    ConfigurationError
        As `decide_task`.
    """
    if kind == "text":
        if task == "regression":
            such = "" if distinct is None else f", such as {brief(distinct[0])}"
            raise ConfigurationError(
                f"task is regression, but target column {target!r} is text{such}; classification,"
                " or a numeric target, is needed"
            )
        return "classification"
    if kind == "time" and task == "classification":
        raise ConfigurationError(
            f"task is classification, but target column {target!r} holds times; regression, or a"
            " target of text, booleans or numbers, is needed"
        )
    if task != "auto":
        return "classification" if task == "classification" else "regression"
    few = distinct is not None and kind == "number" and _are_class_numbers(distinct, rows)
    return "classification" if kind == "bool" or few else "regression"


def _are_class_numbers(distinct: NDArray[np.float64], rows: int) -> bool:
    """Return whether the different numbers of so many rows look like labels of classes."""
    return bool(
        (distinct == np.floor(distinct)).all()
        and len(distinct) <= MOST_INTEGER_CLASSES
        and rows >= ROWS_PER_INTEGER_CLASS * len(distinct)
    )
