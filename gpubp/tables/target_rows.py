"""Rows of a table whose target is known."""

from __future__ import annotations

import numpy as np

from gpubp.errors import DataError
from gpubp.tables.table import Table


def keep_rows_with_target(table: Table, target: str) -> tuple[Table, str]:
    """Return the rows whose target is known, and a note on those dropped ("" if none).

    Raises
    ------
    UnknownNameError
        When the target column does not exist; suggests the nearest.
    DataError
        When no row has a target.
    """
    missing = table.missing(target)
    if missing.all():
        raise DataError(f"target column {target!r} of {table.name!r} has no value in any row")
    if not missing.any():
        return table, ""
    first = table.row_numbers[np.argmax(missing)]
    note = (
        f"{int(missing.sum())} of {table.rows} rows (first: row {first}) have no {target!r} and"
        " are left out"
    )
    return table.take(~missing), note
