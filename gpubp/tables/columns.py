"""How one column of a table becomes inputs of a network, fitted on the training part."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpubp.data.statistics import Moments
from gpubp.tables.json_fields import is_bound, is_flag, is_text, is_texts, read_field
from gpubp.tables.standardisation import Standardisation, as_numbers, parse_number
from gpubp.tables.table import KINDS, Table

BOUND = 3.0  # of standardised numbers
CYCLES = {"day": 86_400.0, "week": 604_800.0, "year": 31_556_952.0}  # seconds
WAVES = (np.sin, np.cos)
LARGEST_VOCABULARY = 256
MANY_DISTINCT = 50  # text with more values than this is left out if most rows differ


class Encoded(NamedTuple):
    """Inputs (rows, features) made of one column, and rows that training had no like of."""

    features: NDArray[np.float32]
    problems: list[str]  # what is wrong, without what is done about it
    remedies: list[str]  # what is done about it, one for each problem


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
    def from_moments(cls, name: str, kind: str, moments: Moments) -> NumericColumn | str:
        """Return what `fit` does, from what one pass found in the training rows."""
        if not moments.count:
            return "it has no value in the training part"
        return cls(name, kind, Standardisation.from_moments(moments), moments.missing > 0, BOUND)

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
        problems = _count_rows(table, self.name, missing, "no value, which training never had")
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


@dataclass(frozen=True)
class CategoricalColumn:
    """A column of text as one input for each category: 1 for the row's own, 0 for the others.

    Attributes
    ----------
    name : str
        Name of the column.
    vocabulary : tuple of str
        The most frequent categories of the training part, sorted.
    missing : bool
        Whether missing values have an input of their own; so if some were in training.
    """

    name: str
    vocabulary: tuple[str, ...]
    missing: bool

    @classmethod
    def fit(cls, table: Table, name: str, rows: NDArray[np.int64]) -> CategoricalColumn | str:
        """Fit to the training rows, or return why the column has to be left out."""
        return cls.from_counts(name, Counter(table.column(name)[rows].tolist()), len(rows))

    @classmethod
    def from_counts(
        cls, name: str, found: Counter[str | None] | None, rows: int
    ) -> CategoricalColumn | str:
        """Return what `fit` does, from how often each text comes in so many training rows.

        None stands for missing; no counts at all for too many different texts to count.
        """
        if found is None:
            return "it is text with too many different values to count"
        counts = Counter({text: count for text, count in found.items() if text is not None})
        if not counts:
            return "it has no value in the training part"
        if len(counts) > MANY_DISTINCT and 2 * len(counts) > rows:
            return (
                f"it is text with {len(counts)} different values in {rows} training rows,"
                f" such as {next(iter(counts))!r:.60}"
            )
        frequent = sorted(counts, key=lambda value: (-counts[value], value))[:LARGEST_VOCABULARY]
        return cls(name, tuple(sorted(frequent)), sum(counts.values()) < rows)

    @property
    def features(self) -> list[str]:
        """Names of the inputs the column becomes; the last is for unknown categories."""
        slots = [*self.vocabulary, *["(missing)"][: self.missing], "(unknown)"]
        return [f"{self.name}={slot}" for slot in slots]

    def encode(self, table: Table) -> Encoded:
        """Return the inputs of every row; raises UnknownNameError if the column is absent."""
        values = as_texts(table, self.name)
        slots: dict[str | None, int] = {word: slot for slot, word in enumerate(self.vocabulary)}
        if self.missing:
            slots[None] = len(slots)
        unknown = len(slots)
        taken = np.fromiter((slots.get(value, unknown) for value in values), np.int64, len(values))
        features = np.zeros((len(values), unknown + 1), np.float32)
        features[np.arange(len(values)), taken] = 1
        absent = np.array([value is None for value in values], dtype=bool) & (taken == unknown)
        problems = _count_rows(table, self.name, absent, "no value, which training never had")
        unseen = (taken == unknown) & ~absent
        if unseen.any():
            what = f"a category that training did not keep, such as {values[unseen][0]!r:.60}"
            problems += _count_rows(table, self.name, unseen, what)
        return Encoded(features, problems, ["taken as unknown"] * len(problems))

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted vocabulary as plain data."""
        return {
            "type": "categorical",
            "name": self.name,
            "vocabulary": list(self.vocabulary),
            "missing": self.missing,
        }

    @classmethod
    def from_dict(cls, data: Any) -> CategoricalColumn:
        """Return what `to_dict` described; raises ModelFileError if malformed."""
        return cls(
            read_field(data, "name", is_text, "a string"),
            tuple(read_field(data, "vocabulary", is_texts, "a list of different strings")),
            read_field(data, "missing", is_flag, "true or false"),
        )


Column = NumericColumn | CategoricalColumn
COLUMN_TYPES: dict[str, type[NumericColumn] | type[CategoricalColumn]] = {
    "numeric": NumericColumn,
    "categorical": CategoricalColumn,
}


def fit_column(table: Table, name: str, rows: NDArray[np.int64]) -> Column | str:
    """Fit a feature column to the training rows, or return why it has to be left out.

    Raises
    ------
    NonFiniteError
        When a value of a numeric column is infinite.
    """
    kind = "categorical" if table.kinds[name] == "text" else "numeric"
    return COLUMN_TYPES[kind].fit(table, name, rows)


def column_from_dict(data: Any) -> Column:
    """Return the column that its `to_dict` described; raises ModelFileError if malformed."""
    expected = " or ".join(COLUMN_TYPES)
    known = read_field(data, "type", lambda value: value in [*COLUMN_TYPES], expected)
    return COLUMN_TYPES[known].from_dict(data)


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
    values = table.column(name)
    strays = [row for row, text in enumerate(values) if text and parse_number(text) is None]
    present = sum(text is not None for text in values)
    if not strays or 2 * len(strays) > present:
        return ""
    return (
        f"column {name!r} is taken as text, because row {table.row_numbers[strays[0]]} holds"
        f" {values[strays[0]]!r:.60}; most of its values are numbers"
    )


def _written(value: float, kind: str) -> str:
    """Return a number as a CSV file would hold it."""
    if kind == "bool":
        return "true" if value else "false"
    return str(int(value)) if value.is_integer() else repr(value)


def _count_rows(table: Table, name: str, chosen: NDArray[np.bool_], what: str) -> list[str]:
    """Return a line saying how many rows are concerned, or nothing if none is."""
    count = int(chosen.sum())
    if not count:
        return []
    first = table.row_numbers[np.argmax(chosen)]
    return [f"column {name!r}: {count} of {table.rows} rows (first: row {first}) hold {what}"]
