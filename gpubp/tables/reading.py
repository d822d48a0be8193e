"""How the cells of a table are read: found when a model is trained, kept in its file."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import DataError, brief
from gpubp.tables.cell_formats import MISSING, NUMBERS, CellFormat, recognised
from gpubp.tables.encoding import rows_with
from gpubp.tables.json_fields import is_texts, read_field
from gpubp.tables.standardisation import parse_number
from gpubp.tables.table import Table

OTHER = {".": ",", ",": "."}  # the other decimal mark


@dataclass(frozen=True)
class Reading:
    """How the cells of a table are read.

    Attributes
    ----------
    missing : tuple of str
        Cells that hold no value in any column, as the user said.
    formats : dict of str to CellFormat
        How columns are written that are text as they stand and hold numbers or days.
    """

    missing: tuple[str, ...] = ()
    formats: dict[str, CellFormat] = field(default_factory=dict)

    def apply(self, table: Table) -> Table:
        """Return a table whose cells are read so; what is read already stays as it is.

        Raises
        ------
        DataError
            When a cell is not written as those of the training; names column and row.
        """
        if not self.missing and not self.formats:
            return table  # a new one would look at every cell again
        columns, kinds = dict(table.columns), dict(table.kinds)
        for name in columns:
            columns[name] = self._without_missing(columns[name])
            if name in self.formats and kinds[name] == "text":
                columns[name] = _values(table, name, columns[name], self.formats[name])
                kinds[name] = self.formats[name].kind
        return replace(table, columns=columns, kinds=kinds)

    def also_missing(self, marks: Iterable[str]) -> Reading:
        """Return the reading with more cells that hold no value."""
        return replace(self, missing=tuple(dict.fromkeys([*self.missing, *marks])))

    def _without_missing(self, values: NDArray[Any]) -> NDArray[Any]:
        if not self.missing:
            return values
        if values.dtype == object:
            cells = values.tolist()
            told = [cell is not None and cell.strip() in self.missing for cell in cells]
            kept = values.copy()
            kept[told] = None
            return kept
        numbers = [number for number in map(parse_number, self.missing) if number is not None]
        return np.asarray(np.where(np.isin(values, numbers), np.nan, values))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data; empty where nothing is to be done."""
        if not self.missing and not self.formats:
            return {}
        formats = {name: each.to_dict() for name, each in self.formats.items()}
        return {"missing": list(self.missing), "formats": formats}

    @classmethod
    def from_dict(cls, data: Any) -> Reading:
        """Return what `to_dict` described; raises ModelFileError if malformed."""
        if data == {}:
            return cls()
        formats = read_field(data, "formats", lambda value: isinstance(value, dict), "formats")
        return cls(
            tuple(read_field(data, "missing", is_texts, "a list of different strings")),
            {name: CellFormat.from_dict(each) for name, each in formats.items()},
        )


def recognise(
    table: Table,
    missing: Iterable[str] = (),
    decimal: str = "",
    likely: str = ".",
    names: Iterable[str] = (),
) -> tuple[Table, Reading, list[str]]:
    """Read the cells of a table, finding out how numbers and days are written.

    Parameters
    ----------
    missing
        Cells that hold no value, besides those of `gpubp.tables.cell_formats.MISSING` in columns
        of numbers.
    decimal
        The decimal mark of the whole table, "." or ","; "" where it is not known.
    likely
        The decimal mark to think of where both are possible.
    names
        Columns whose cells are names, whatever they look like.

    Returns
    -------
    table, reading, notes
        The notes say what was done, a line for each column.
    """
    told = Reading().also_missing(missing)
    given, table = table, told.apply(table)
    formats, notes = {}, []
    for name in table.columns:
        if table.kinds[name] != "text":
            if decimal == "," and table.kinds[name] == "number":
                formats[name] = CellFormat("1.234,5")
            continue
        cells = _cells(table, name)
        cell_format = None if name in names else recognised(cells, decimal, likely)
        if cell_format is None or (not decimal and _is_plain(_cells(given, name))):
            continue
        formats[name] = cell_format
        notes.append(_note(table, name, cells, cell_format, decimal))
    reading = replace(told, formats=formats)
    return reading.apply(table), reading, notes


def _cells(table: Table, name: str) -> Counter[str]:
    """Return how often each text of a column comes."""
    return Counter(text for text in table.column(name).tolist() if text is not None)


def _is_plain(texts: Iterable[str]) -> bool:
    """Tell whether all cells are numbers as they stand, so that they are text on purpose."""
    return all(parse_number(text) is not None for text in texts)


def _note(table: Table, name: str, cells: Counter[str], found: CellFormat, decimal: str) -> str:
    line = f"column {name!r} is read as {found.words}"
    marks = {text: count for text, count in cells.items() if text.strip() in MISSING}
    if marks:
        count, shown = sum(marks.values()), sorted({text.strip() for text in marks})
        rows = "1 row is" if count == 1 else f"{count} rows are"
        line += f"; {', '.join(map(repr, shown))} in {rows} missing"
    words = [word for word in found.missing if word not in MISSING]
    if words:
        shown = [f"{brief(word, 40)} in {rows_with(table, name, word)}" for word in words]
        line += (
            f"; what is none is taken as missing: {', '.join(shown)}; --types"
            f" {shlex.quote(f'{name}=category')} takes all as names"
        )
    if found.name in NUMBERS and not decimal:
        other = OTHER[found.mark]
        rest = Counter({text: count for text, count in cells.items() if not found.is_missing(text)})
        instead = recognised(rest, other, other)
        if instead is not None and instead.kind == "number" and any("," in text for text in rest):
            line += f"; --decimal {other} reads them like {instead.name}"
    return line


def _values(table: Table, name: str, texts: NDArray[Any], form: CellFormat) -> NDArray[np.float64]:
    """Return what the cells of a column of text say, NaN where missing."""
    known: dict[str | None, float] = {None: np.nan}
    for row, text in enumerate(texts):
        if text in known:
            continue
        value = np.nan if form.is_missing(text) else form.value(text)
        if value is None:
            raise DataError(
                f"column {name!r}, row {table.row_numbers[row]}: {brief(text)} is not one of the"
                f" {form.words} that the column held in training"
            )
        known[text] = value
    return np.array([known[text] for text in texts], np.float64)
