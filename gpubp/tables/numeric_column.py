"""A column of numbers, booleans or times as inputs of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.data.statistics import ColumnStatistics
from gpubp.tables.encoding import Encoded, count_rows
from gpubp.tables.json_fields import is_bound, is_flag, is_text, read_field
from gpubp.tables.standardisation import Standardisation, as_numbers
from gpubp.tables.table import KINDS, Table

BOUND = 3.0  # of standardised numbers
CYCLES = {"day": 86_400.0, "week": 604_800.0, "year": 31_556_952.0}  # seconds
WAVES = (np.sin, np.cos)


@dataclass(frozen=True)
class NumericColumn:
    """A column of numbers, standardised; missing values become the mean of the training part.

    Attributes
    ----------
    name : str
        Name of the column.
    kind : str
        What the column held in training: "number", "bool" or "time".
    standardisation : Standardisation
        Mean and scale of the training part.
    indicator : bool
        Whether a second feature says where a value is missing; so if some were in training.
    bound : float
        Standardised values x become x / sqrt(1 + (x / bound)^2), so that a value far from the
        others counts no more than one at the bound (Holzmueller, Grinsztajn and Steinwart 2024); 0
        leaves them as they are.
    cycles : tuple of str
        Names of `CYCLES`: a time is also read as its place in the day, the week, the year, by sine
        and cosine; of those that the training part goes through.
    """

    name: str
    kind: str
    standardisation: Standardisation
    indicator: bool
    bound: float = 0.0
    cycles: tuple[str, ...] = ()

    @classmethod
    def fit(cls, table: Table, name: str, rows: NDArray[np.int64]) -> NumericColumn | str:
        """Fit to the training rows, or return why the column has to be left out.

        Raises
        ------
        NonFiniteError
            When a value of the column, in any row, is infinite.
        """
        kind = table.kinds[name]
        values = as_numbers(table, name, kind)[rows]
        present = values[~np.isnan(values)]
        if len(present) == 0:
            return "it has no value in the training part"
        scale, lacking = Standardisation.fit(present), len(present) < len(values)
        return cls(name, kind, scale, lacking, BOUND, _cycles(present) if kind == "time" else ())

    @classmethod
    def from_statistics(
        cls, name: str, kind: str, statistics: ColumnStatistics
    ) -> NumericColumn | str:
        """Return what `fit` does, from what one pass found in the training rows."""
        if not statistics.count:
            return "it has no value in the training part"
        return cls(
            name, kind, Standardisation.from_statistics(statistics), statistics.missing > 0, BOUND
        )

    @property
    def features(self) -> list[str]:
        """Names of the inputs the column becomes."""
        waves = [f"{self.name}: {w} of the {each}" for each in self.cycles for w in ("sin", "cos")]
        return [self.name, *[f"{self.name} is missing"] * self.indicator, *waves]

    def encode(self, table: Table) -> Encoded:
        """Return the inputs of every row.

        Raises
        ------
        DataError, NonFiniteError
            When a value is text, infinite or out of range; names the column, row and value.
        """
        values = as_numbers(table, self.name, self.kind)
        missing = np.isnan(values)
        scaled = self.standardisation.apply(values, table, self.name)
        if self.bound:
            wide = scaled.astype(np.float64)
            scaled = (wide / np.sqrt(1 + (wide / self.bound) ** 2)).astype(np.float32)
        parts = [scaled, *[missing.astype(np.float32)] * self.indicator]
        for cycle in self.cycles:
            angle = np.where(missing, 0, values) * (2 * np.pi / CYCLES[cycle])
            parts += [np.where(missing, 0, wave(angle)).astype(np.float32) for wave in WAVES]
        features = np.column_stack(parts)
        if self.indicator:
            return Encoded(features, [], [])
        problems = count_rows(table, self.name, missing, "no value, which training never had")
        remedy = f"taken as the mean of the training part, {self.standardisation.mean:.6g}"
        return Encoded(features, problems, [remedy] * len(problems))

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted numbers as plain data."""
        return {
            "type": "numeric",
            "name": self.name,
            "kind": self.kind,
            **self.standardisation.to_dict(),
            "indicator": self.indicator,
            "bound": self.bound,
            "cycles": {name: CYCLES[name] for name in self.cycles},
        }

    @classmethod
    def from_dict(cls, data: Any) -> NumericColumn:
        """Return what `to_dict` described; raises ModelFileError if malformed."""
        return cls(
            read_field(data, "name", is_text, "a string"),
            read_field(data, "kind", KINDS[:3].__contains__, "number, bool or time"),
            Standardisation.from_dict(data),
            read_field(data, "indicator", is_flag, "true or false"),
            read_field({"bound": 0.0, **data}, "bound", is_bound, "a finite float, 0 or above"),
            tuple(read_field({"cycles": {}, **data}, "cycles", _are_cycles, "known cycles")),
        )


def _cycles(seconds: NDArray[np.float64]) -> tuple[str, ...]:
    """Return the cycles that times go through, more than one place of each."""
    span = seconds.max() - seconds.min()
    lengths = CYCLES.items()
    return tuple(
        name
        for name, length in lengths
        if span >= length / 2 and np.ptp(np.mod(seconds, length)) > length / 1000
    )


def _are_cycles(value: Any) -> bool:
    return isinstance(value, dict) and all(CYCLES.get(name) == value[name] for name in value)
