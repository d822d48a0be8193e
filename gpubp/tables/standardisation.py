"""Mean and spread of one column of numbers, in float64, and values brought to that scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.data.statistics import ColumnStatistics
from gpubp.errors import DataError, NonFiniteError, brief
from gpubp.tables.json_fields import is_finite, is_scale, read_field
from gpubp.tables.table import Table

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Standardisation:
    """Map of numbers to ``(value - mean) / scale``.

    Attributes
    ----------
    mean : float
        Mean of the training part.
    scale : float
        Standard deviation of the training part (of the population), 1 for a constant column.
    """

    mean: float
    scale: float

    @classmethod
    def fit(cls, values: NDArray[np.float64]) -> Standardisation:
        """Return mean and scale of finite values (rows,); sums cannot overflow."""
        if values.min() == values.max():
            return cls(float(values[0]), 1.0)
        exponent = math.frexp(float(np.abs(values).max()))[1]
        # Scaled by a power of two: exact, and within [-1, 1].
        scaled = np.ldexp(values, -exponent)
        mean = math.ldexp(float(scaled.mean()), exponent)
        scale = float(np.ldexp(scaled.std(), exponent))
        return cls(mean, scale if 0 < scale < math.inf else 1.0)

    @classmethod
    def from_statistics(cls, statistics: ColumnStatistics) -> Standardisation:
        """Return what `fit` finds in the same numbers, but for the rounding of sums."""
        return cls(statistics.mean, statistics.deviation)

    def apply(self, values: NDArray[np.float64], table: Table, name: str) -> NDArray[np.float32]:
        """Return standardised values (rows,), with 0 where a value is NaN.

        Raises
        ------
        NonFiniteError
            When a value leaves the range of float32; names the column and the row.
        """
        with np.errstate(over="ignore"):
            results = (np.where(np.isnan(values), self.mean, values) - self.mean) / self.scale
        beyond = np.flatnonzero(np.abs(results) > LARGEST)
        if len(beyond):
            row = beyond[0]
            raise NonFiniteError(
                f"column {name!r}, row {table.row_numbers[row]}: {values[row]} is too far from the"
                f" training part (mean {self.mean:.6g}, scale {self.scale:.6g}) for float32"
            )
        return results.astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        return {"mean": self.mean, "scale": self.scale}

    @classmethod
    def from_dict(cls, data: Any) -> Standardisation:
        """Return what `to_dict` described.

        Raises
        ------
        ModelFileError
            When the numbers are absent, not finite, or the scale is not above zero.
        """
        return cls(
            read_field(data, "mean", is_finite, "a finite float"),
            read_field(data, "scale", is_scale, "a finite float above 0"),
        )


def check_finite(values: NDArray[Any], table: Table, name: str) -> None:
    """Raise NonFiniteError naming the first row of a column that is infinite; NaN is missing."""
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        row = infinite[0]
        raise NonFiniteError(
            f"column {name!r}, row {table.row_numbers[row]}: {values[row]} is not finite; finite"
            " numbers or empty cells are needed"
        )


def as_numbers(table: Table, name: str, kind: str = "number") -> NDArray[np.float64]:
    """Return a column as finite float64 (rows,), NaN where missing.

    Raises
    ------
    DataError
        When it holds text that is no number, or times where `kind` is not "time", or the reverse;
        names the column, the row and the value.
    NonFiniteError
        When a value is infinite.
    """
    values = table.column(name)
    if table.kinds[name] == "text":
        values = _parsed(table, name, kind)
    elif not np.isnan(values).all() and (table.kinds[name] == "time") != (kind == "time"):
        row = int(np.flatnonzero(~np.isnan(values))[0])
        raise DataError(
            f"column {name!r}, row {table.row_numbers[row]}: holds a {table.kinds[name]}"
            f" ({values[row]:g}), but the column held a {kind} in training"
        )
    check_finite(values, table, name)
    return values


def parse_number(text: str) -> float | None:
    """Return the number a text writes, or None if it writes none."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _parsed(table: Table, name: str, kind: str) -> NDArray[np.float64]:
    """Return a column of text as numbers, or raise DataError for the first that is none."""
    values = np.full(table.rows, np.nan)
    for row, text in enumerate(table.column(name)):
        if text is None:
            continue
        number = None if kind == "time" else parse_number(text)
        if number is None:
            raise DataError(
                f"column {name!r}, row {table.row_numbers[row]}: {brief(text)} is text, but the"
                f" column held a {kind} in training"
            )
        values[row] = number
    return values
