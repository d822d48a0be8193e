"""Files that pyarrow reads, as the columns of a `gpubp.tables.table.Table`."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet
from numpy.typing import NDArray

from gpubp.data.csv_form import AS_USUAL, CsvForm
from gpubp.errors import DataError

# What Arrow raises where a file is torn, foreign or made to do harm
UNREADABLE = (pa.ArrowException, OSError, EOFError, ValueError, OverflowError, MemoryError)


class Columns(NamedTuple):
    """What a file holds: values and kinds by column, and why the others are left out."""

    values: dict[str, NDArray[Any]]
    kinds: dict[str, str]
    left_out: dict[str, str]


def read_file(path: Path, text: tuple[str, ...] = (), form: CsvForm = AS_USUAL) -> Columns:
    """Return the columns of a file, which is recognised by the end of its name.

    Raises
    ------
    DataError
        When the file is empty, torn, not a table, or names two columns alike.
    """
    ending = _ending(path)
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path.name!r} is empty; a header and at least one row are needed")
        arrow = _read_csv(path, text, form) if ending in _SEPARATORS else _READERS[ending][1](path)
        check_names(path, arrow.column_names)
    except DataError:
        raise
    except UNREADABLE as error:
        kind = "CSV" if ending in _SEPARATORS else _READERS[ending][0]
        raise unreadable(repr(path.name), kind, error) from error
    return columns_of(path, arrow, is_csv=ending in _SEPARATORS)


def unreadable(what: str, kind: str, error: BaseException) -> DataError:
    """Return the error that says why a file cannot be read."""
    if isinstance(error, UnicodeDecodeError):
        return DataError(f"{what} has a header that is not UTF-8; save it as UTF-8")
    return DataError(f"{what} cannot be read as a {kind} file: {reason_of(error)}")


def reason_of(error: BaseException) -> str:
    """Return the first line of what Arrow says is wrong with a file; the others are its sources."""
    return (str(error).splitlines() or ["unreadable"])[0]


def _ending(path: Path) -> str:
    """Return which of the known endings a file name has."""
    name = path.name.lower()
    for ending in ENDINGS:
        if name.endswith(ending):
            return ending
    raise DataError(
        f"{path.name!r} is not known as a table by its name; a file ending in"
        f" {', '.join(ENDINGS)}, .xlsx or .zip is needed"
    )


# Candidate separators by ending: the first that the header line holds is used.
_SEPARATORS = {".csv": ",;\t|", ".csv.gz": ",;\t|", ".tsv": "\t", ".tsv.gz": "\t"}
# Files of other kinds by ending: what the kind is called, and what reads it
_READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    ".parquet": ("Parquet", lambda path: pa.parquet.read_table(path, partitioning=None)),
    ".feather": ("Feather", pa.feather.read_table),
    ".arrow": ("Feather", pa.feather.read_table),
    ".jsonl": ("JSON lines", pa.json.read_json),
    ".ndjson": ("JSON lines", pa.json.read_json),
}
ENDINGS = (*_SEPARATORS, *_READERS)


def _read_csv(path: Path, text: tuple[str, ...], form: CsvForm) -> Any:
    """Return a CSV file as an Arrow table, its column types found from all rows."""
    reading, parse, convert = csv_options(path, dict.fromkeys(text, pa.string()), form)
    try:
        return pa.csv.read_csv(path, reading, parse, convert)
    except pa.ArrowInvalid as error:
        ragged = _ragged_row(path, reading, parse) if "columns, got" in str(error) else ""
        if not ragged:
            raise
        raise DataError(f"{path.name!r}, {ragged}") from error


def _ragged_row(path: Path, reading: Any, parse: Any) -> str:
    """Return where a CSV file has the first row with too few or too many cells; "" if nowhere."""
    expected = len(reading.column_names or ())
    with pa.input_stream(path, compression="detect") as stream:
        text = io.TextIOWrapper(stream, reading.encoding, "replace", newline="")
        lines = csv.reader(text, delimiter=parse.delimiter)
        for cells in lines:
            expected = expected or len(cells)
            if cells and len(cells) != expected:
                return (
                    f"line {lines.line_num}: cells are {len(cells)} and columns {expected}; one"
                    f" for each is needed, in quotes where it holds {parse.delimiter!r}"
                )
    return ""


def csv_options(
    path: Path, types: dict[str, Any], form: CsvForm = AS_USUAL
) -> tuple[Any, Any, Any]:
    """Return how pyarrow is to read and parse a CSV file and convert its columns.

    Raises
    ------
    DataError
        When the file is empty, or its name has no known ending.
    """
    header, encoding = _first_line(path)
    separator = form.separator or _separator(path, header)
    names = None
    if not form.header:
        cells = next(csv.reader([header], delimiter=separator))
        names = [f"column{place}" for place in range(1, len(cells) + 1)]
    return (
        pa.csv.ReadOptions(column_names=names, encoding=encoding),
        pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        pa.csv.ConvertOptions(
            strings_can_be_null=True, column_types=types, decimal_point=form.decimal
        ),
    )


def separator_of(path: Path) -> str:
    """Return what separates the cells of a CSV file, as its first line looks; "" for another."""
    return _separator(path, _first_line(path)[0]) if _ending(path) in _SEPARATORS else ""


def _separator(path: Path, header: str) -> str:
    candidates = _SEPARATORS.get(_ending(path), ",")
    return next((mark for mark in candidates if mark in header), candidates[0])


def _first_line(path: Path) -> tuple[str, str]:
    """Return the first line of a CSV file, and its encoding; raises DataError if it is empty."""
    with pa.input_stream(path, compression="detect") as stream:
        start = stream.read(1 << 16)
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf8"
    lines = start.decode(encoding, "replace").lstrip("\ufeff\r\n")
    if not lines.strip():
        raise DataError(f"{path.name!r} is empty; a header and at least one row are needed")
    return lines.splitlines()[0], encoding


def check_names(path: Path, names: list[str]) -> None:
    """Raise DataError when two columns share a name."""
    double = [name for name, count in Counter(names).items() if count > 1]
    if double:
        raise DataError(
            f"{path.name!r} has more than one column named {double[0]!r}; names must differ"
        )


def columns_of(path: Path, arrow: Any, is_csv: bool) -> Columns:
    """Return the columns of an Arrow table as NumPy arrays."""
    columns = Columns({}, {}, {})
    for name, column in zip(arrow.column_names, arrow.columns, strict=True):
        if is_csv and pa.types.is_binary(column.type):
            raise DataError(f"column {name!r} of {path.name!r} is not UTF-8; save it as UTF-8")
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        converter = next((row for row in _CONVERTERS if row[0](column.type)), None)
        if converter is None:
            columns.left_out[name] = f"{column.type} values, neither numbers nor text"
        else:
            _, columns.kinds[name], convert = converter
            try:
                columns.values[name] = convert(column)
            except UNREADABLE as error:
                raise DataError(
                    f"column {name!r} of {path.name!r} cannot be read: {reason_of(error)}"
                ) from error
    return columns


def _numbers(column: Any) -> NDArray[np.float64]:
    """Return a numeric Arrow column as float64, NaN where missing."""
    return np.array(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _booleans(column: Any) -> NDArray[np.float64]:
    """Return a boolean Arrow column as 0.0 and 1.0, NaN where missing."""
    return _numbers(column.cast(pa.int8()))


def _seconds_as(unit: Any) -> Any:
    """Return a conversion to seconds by way of an Arrow type that counts microseconds."""

    def convert(column: Any) -> NDArray[np.float64]:
        zone = getattr(column.type, "tz", None)
        counted = pa.timestamp("us", zone) if zone else unit
        return _numbers(column.cast(counted, safe=False).cast(pa.int64())) / 1e6

    return convert


def _texts(column: Any) -> NDArray[np.object_]:
    """Return a text Arrow column as an object array, None where missing or empty."""
    values = np.empty(len(column), dtype=object)
    values[:] = [value or None for value in column.to_pylist()]
    return values


def _is_text(type_: Any) -> bool:
    return bool(
        pa.types.is_string(type_) or pa.types.is_large_string(type_) or type_ == pa.string_view()
    )


# What a column of an Arrow type becomes: first row that fits (test of the type, kind, conversion).
_CONVERTERS: tuple[tuple[Any, str, Any], ...] = (
    (pa.types.is_null, "number", _numbers),
    (pa.types.is_boolean, "bool", _booleans),
    (pa.types.is_integer, "number", _numbers),
    (pa.types.is_floating, "number", _numbers),
    (pa.types.is_decimal, "number", _numbers),
    (pa.types.is_timestamp, "time", _seconds_as(pa.timestamp("us"))),
    (pa.types.is_date, "time", _seconds_as(pa.timestamp("us"))),
    (pa.types.is_time, "number", _seconds_as(pa.time64("us"))),
    (pa.types.is_duration, "number", _seconds_as(pa.duration("us"))),
    (_is_text, "text", _texts),
)
