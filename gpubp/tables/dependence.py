"""How answers follow one column: their mean when all rows have the same value there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.tables.table import Table

VALUES = 20  # of a column of numbers
NAMES = 8  # of a column of text, the most frequent
SAMPLE = 200  # rows


def partial_dependence(
    model: Any, table: Table, column: str
) -> tuple[list[Any], NDArray[np.float64]]:
    """Return values of a column and the mean answers with them (Friedman 2001).

    Returns
    -------
    values : list
        Quantiles of numbers, or the most frequent names.
    answers : array, (values, classes) or (values, 1)
        Mean probabilities, or numbers in the units of the target.
    """
    rows = table.take(np.arange(0, table.rows, -(-table.rows // SAMPLE)))
    values = _values(table.column(column)[~table.missing(column)])
    answers = []
    for value in values:
        filled = np.full(rows.rows, value, dtype=rows.column(column).dtype)
        changed = Table(rows.name, {**rows.columns, column: filled}, rows.kinds, orders=rows.orders)
        found = model.predict(changed)
        given = found.outputs if model.preprocessing.classes else found.labels
        answers.append(np.asarray(given, np.float64).reshape(rows.rows, -1).mean(axis=0))
    return values, np.array(answers)


def _values(present: NDArray[Any]) -> list[Any]:
    if present.dtype == object:
        names, counts = np.unique(present.astype(str), return_counts=True)
        return list(map(str, names[np.argsort(-counts, kind="stable")][:NAMES]))
    return list(np.unique(np.quantile(present, np.linspace(0.02, 0.98, VALUES))).tolist())
