"""Files that pyarrow reads, as the columns of a `gpubp.tables.table.Table`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet
from numpy.typing import NDArray

from gpubp.data.csv_files import SEPARATORS, csv_ending, read_csv
from gpubp.data.csv_form import AS_USUAL, CsvForm
from gpubp.errors import DataError

# What Arrow raises where a file is torn, foreign or made to do harm
UNREADABLE = (pa.ArrowException, OSError, EOFError, ValueError, OverflowError, MemoryError)


class Columns(NamedTuple):
    """What a file holds: values and kinds by column, and why the others are left out."""

    values: dict[str, NDArray[Any]]
    kinds: dict[str, str]
    left_out: dict[str, str]


def read_file(
    path: Path, text: tuple[str, ...] = (), form: CsvForm = AS_USUAL
) -> tuple[Columns, list[str]]:
    """Return the columns of a file, which is recognised by the end of its name, and notes.

    Raises
    ------
    DataError
        When the file is empty, torn, not a table, or names two columns alike.
    """
    kind, read = ("CSV", None) if csv_ending(path) else _READERS[_ending(path)]
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path.name!r} is empty; a header and at least one row are needed")
        arrow, notes = read_csv(path, text, form) if read is None else (read(path), [])
        check_names(path, arrow.column_names)
    except DataError:
        raise
    except UNREADABLE as error:
        raise unreadable(repr(path.name), kind, error) from error
    return columns_of(path, arrow), notes


def unreadable(what: str, kind: str, error: BaseException) -> DataError:
    """Return the error that says why a file cannot be read."""
    return DataError(f"{what} cannot be read as a {kind} file: {reason_of(error)}")


def reason_of(error: BaseException) -> str:
    """Return the first line of what Arrow says is wrong with a file; the others are its sources."""
    return (str(error).splitlines() or ["unreadable"])[0]


def _ending(path: Path) -> str:
    """Return the ending by which a file that is no CSV file is read."""
    for ending in _READERS:
        if path.name.lower().endswith(ending):
            return ending
    raise DataError(
        f"{path.name!r} is not known as a table by its name; a file ending in"
        f" {', '.join(ENDINGS)}, .xlsx or .zip is needed"
    )


# Files of other kinds by ending: what the kind is called, and what reads it
_READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    ".parquet": ("Parquet", lambda path: pa.parquet.read_table(path, partitioning=None)),
    ".feather": ("Feather", pa.feather.read_table),
    ".arrow": ("Feather", pa.feather.read_table),
    ".jsonl": ("JSON lines", pa.json.read_json),
    ".ndjson": ("JSON lines", pa.json.read_json),
}
ENDINGS = (*SEPARATORS, *_READERS)


def check_names(path: Path, names: list[str]) -> None:
    """Raise DataError when two columns share a name."""
    double = [name for name, count in Counter(names).items() if count > 1]
    if double:
        raise DataError(
            f"{path.name!r} has more than one column named {double[0]!r}; names must differ"
        )


def columns_of(path: Path, arrow: Any) -> Columns:
    """Return the columns of an Arrow table as NumPy arrays."""
    columns = Columns({}, {}, {})
    for name, column in zip(arrow.column_names, arrow.columns, strict=True):
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
