"""The kinds of columns, each fitted on the training part, and which one a column is of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.tables.categorical_column import CategoricalColumn
from gpubp.tables.coded_column import CodedColumn
from gpubp.tables.json_fields import read_field
from gpubp.tables.numeric_column import NumericColumn
from gpubp.tables.ordered_column import OrderedColumn
from gpubp.tables.table import Table
from gpubp.tables.text_column import TextColumn

Column = NumericColumn | CategoricalColumn | CodedColumn | OrderedColumn | TextColumn
COLUMN_TYPES: dict[str, Any] = {
    "numeric": NumericColumn,
    "categorical": CategoricalColumn,
    "coded": CodedColumn,
    "ordered": OrderedColumn,
    "text": TextColumn,
}


def fit_column(table: Table, name: str, rows: NDArray[np.int64]) -> Column | str:
    """Fit a feature column to the training rows, or return why it has to be left out.

    Raises
    ------
    NonFiniteError
        When a value of a numeric column is infinite.
    """
    if name in table.orders:
        return OrderedColumn.fit(table, name, rows)
    if table.kinds[name] != "text":
        return NumericColumn.fit(table, name, rows)
    names = CategoricalColumn.fit(table, name, rows)
    return (TextColumn.fit(table, name, rows) or names) if isinstance(names, str) else names


def column_from_dict(data: Any) -> Column:
    """Return the column that its `to_dict` described; raises ModelFileError if malformed."""
    expected = " or ".join(COLUMN_TYPES)
    known = read_field(data, "type", lambda value: value in [*COLUMN_TYPES], expected)
    column: Column = COLUMN_TYPES[known].from_dict(data)
    return column
