"""CSV and Parquet files read by pyarrow into the columns of a `gpubp.tables.table.Table`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from gpubp.errors import DataError

# What Arrow raises where a file is torn, foreign or made to do harm
UNREADABLE = (pa.ArrowException, OSError, EOFError, ValueError, OverflowError, MemoryError)


class Columns(NamedTuple):
    """What a file holds: values and kinds by column, and why the others are left out."""

    values: dict[str, NDArray[Any]]
    kinds: dict[str, str]
    left_out: dict[str, str]


def read_file(path: Path, text: tuple[str, ...] = ()) -> Columns:
    """Return the columns of a CSV or Parquet file, recognised by the end of its name.

    Raises
    ------
    DataError
        When the file is empty, torn, not a table, or names two columns alike.
    """
    ending = _ending(path)
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path.name!r} is empty; a header and at least one row are needed")
        arrow = (
            pa.parquet.read_table(path, partitioning=None)
            if ending == ".parquet"
            else _read_csv(path, text)
        )
        check_names(path, arrow.column_names)
    except DataError:
        raise
    except UNREADABLE as error:
        kind = "Parquet" if ending == ".parquet" else "CSV"
        raise unreadable(repr(path.name), kind, error) from error
    return columns_of(path, arrow, is_csv=ending != ".parquet")


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
    for ending in (*_SEPARATORS, ".parquet"):
        if name.endswith(ending):
            return ending
    raise DataError(
        f"{path.name!r} is not known as a table by its name; a file ending in"
        f" {', '.join(_SEPARATORS)} or .parquet is needed"
    )


# Candidate separators by ending: the first that the header line holds is used.
_SEPARATORS = {".csv": ",;\t|", ".csv.gz": ",;\t|", ".tsv": "\t", ".tsv.gz": "\t"}


def _read_csv(path: Path, text: tuple[str, ...]) -> Any:
    """Return a CSV file as an Arrow table, its column types found from all rows."""
    parse, convert = csv_options(path, dict.fromkeys(text, pa.string()))
    return pa.csv.read_csv(path, parse_options=parse, convert_options=convert)


def csv_options(path: Path, types: dict[str, Any]) -> tuple[Any, Any]:
    """Return how pyarrow is to parse a CSV file and convert its columns.

    Raises
    ------
    DataError
        When the file is empty, or its name has no known ending.
    """
    candidates = _SEPARATORS.get(_ending(path), ",")
    with pa.input_stream(path, compression="detect") as stream:
        start = stream.read(1 << 16)
    if not start.strip(b"\xef\xbb\xbf\r\n\t "):
        raise DataError(f"{path.name!r} is empty; a header and at least one row are needed")
    header = start.lstrip(b"\xef\xbb\xbf\r\n").split(b"\n", 1)[0]
    separator = next((mark for mark in candidates if mark.encode() in header), candidates[0])
    return (
        pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        pa.csv.ConvertOptions(strings_can_be_null=True, column_types=types),
    )


def check_names(path: Path, names: list[str]) -> None:
    """Raise DataError when two columns share a name."""
    double = [name for name, count in Counter(names).items() if count > 1]
    if double:
        raise DataError(
            f"{path.name!r} has more than one column named {double[0]!r}; names must differ"
        )


def columns_of(path: Path, arrow: Any, is_csv: bool) -> Columns:
    """Return the columns of an Arrow table as NumPy arrays."""
    found = Columns({}, {}, {})
    for name, column in zip(arrow.column_names, arrow.columns, strict=True):
        if is_csv and pa.types.is_binary(column.type):
            raise DataError(f"column {name!r} of {path.name!r} is not UTF-8; save it as UTF-8")
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        converter = next((row for row in _CONVERTERS if row[0](column.type)), None)
        if converter is None:
            found.left_out[name] = f"{column.type} values, neither numbers nor text"
        else:
            _, found.kinds[name], convert = converter
            try:
                found.values[name] = convert(column)
            except UNREADABLE as error:
                raise DataError(
                    f"column {name!r} of {path.name!r} cannot be read: {reason_of(error)}"
                ) from error
    return found


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
