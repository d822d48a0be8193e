"""CSV files as pyarrow reads them: separators, encodings, rows with too few cells."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv

from gpubp.data.csv_form import AS_USUAL, CsvForm
from gpubp.errors import DataError, brief

# Candidate separators by ending: the first that the header line holds is used.
SEPARATORS = {".csv": ",;\t|", ".csv.gz": ",;\t|", ".tsv": "\t", ".tsv.gz": "\t"}
UTF8, UTF16, WINDOWS = "utf8", "utf-16", "cp1252"  # Windows-1252 holds Latin 1
MARKS_OF_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
BLOCK = 1 << 20  # bytes looked at a time


def csv_ending(path: Path) -> str:
    """Return which of the endings of CSV files a file name has; "" for none."""
    return next((ending for ending in SEPARATORS if path.name.lower().endswith(ending)), "")


def read_csv(path: Path, text: tuple[str, ...], form: CsvForm) -> tuple[Any, list[str]]:
    """Return a CSV file as an Arrow table, its column types found from all rows, and notes.

    Raises
    ------
    DataError
        When the file is empty, a row is too short or too long, or the bytes are no text.
    """
    reading, parse, convert = csv_options(path, dict.fromkeys(text, pa.string()), form)
    try:
        arrow = pa.csv.read_csv(path, reading, parse, convert)
    except UnicodeError as error:
        raise not_encoded(path, reading.encoding) from error
    except pa.ArrowInvalid as error:
        ragged = _ragged_row(path, reading, parse) if "columns, got" in str(error) else ""
        if not ragged:
            raise
        raise DataError(f"{path.name!r}, {ragged}") from error
    check_text(path, arrow.schema)
    guessed = reading.encoding == WINDOWS and not form.encoding
    return arrow, [_encoding_note(path, arrow)] if guessed else []


def csv_options(
    path: Path, types: dict[str, Any], form: CsvForm = AS_USUAL
) -> tuple[Any, Any, Any]:
    """Return how pyarrow is to read and parse a CSV file and convert its columns.

    Raises
    ------
    DataError
        When the file is empty.
    """
    encoding = form.encoding or encoding_of(path)
    header = _first_line(path, encoding)
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


def encoding_of(path: Path) -> str:
    """Return the encoding of a CSV file: UTF-16 by its mark, UTF-8, or else Windows-1252."""
    decoder = codecs.getincrementaldecoder(UTF8)()
    with pa.input_stream(path, compression="detect") as stream:
        block = stream.read(BLOCK)
        if block.startswith(MARKS_OF_UTF16):
            return UTF16
        try:
            while block:
                decoder.decode(block)
                block = stream.read(BLOCK)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return WINDOWS
    return UTF8


def not_encoded(path: Path, encoding: str) -> DataError:
    """Return the error that says that a file is no text in an encoding."""
    names = {UTF8: "not UTF-8", WINDOWS: "neither UTF-8 nor Windows-1252"}
    wrong = names.get(encoding, f"not {encoding}")
    return DataError(
        f"{path.name!r} is {wrong}; --encoding, such as --encoding cp1251, or a file saved as UTF-8"
        " is needed"
    )


def check_text(path: Path, schema: Any) -> None:
    """Raise DataError where pyarrow took text for bytes, which are no UTF-8."""
    if any(pa.types.is_binary(field.type) for field in schema):
        raise not_encoded(path, UTF8)


def separator_of(path: Path, form: CsvForm) -> str:
    """Return what separates the cells of a CSV file, as its first line looks; "" for another."""
    if form.separator or not csv_ending(path):
        return form.separator
    return _separator(path, _first_line(path, form.encoding))


def _separator(path: Path, header: str) -> str:
    candidates = SEPARATORS.get(csv_ending(path), ",")
    return next((mark for mark in candidates if mark in header), candidates[0])


def _first_line(path: Path, encoding: str) -> str:
    """Return the first line of a CSV file; raises DataError if it is empty.

    Without an encoding it is for its separators, which are the same in all but UTF-16.
    """
    with pa.input_stream(path, compression="detect") as stream:
        start = stream.read(1 << 16)
    encoding = encoding or (UTF16 if start.startswith(MARKS_OF_UTF16) else UTF8)
    lines: str = start.decode(encoding, "replace").lstrip("\ufeff\r\n")
    if not lines.strip():
        raise DataError(f"{path.name!r} is empty; a header and at least one row are needed")
    return lines.splitlines()[0]


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


def _encoding_note(path: Path, arrow: Any) -> str:
    """Return a line on a file that was read as Windows-1252, with a word by which to judge."""
    texts = [column for column in arrow.columns if pa.types.is_string(column.type)]
    words = filter(None, map(_beyond_ascii, [pa.chunked_array([arrow.column_names]), *texts]))
    return (
        f"{path.name!r} is not UTF-8 and is read as Windows-1252, with words such as"
        f" {brief(next(words, ''), 40)}; if they look wrong, --encoding names another"
    )


def _beyond_ascii(column: Any) -> str:
    """Return the first cell of a column of text with a letter beyond ASCII; "" for none."""
    place = pa.compute.index(pa.compute.match_substring_regex(column, r"[^\x00-\x7F]"), True)
    return str(column[place.as_py()]) if place.as_py() >= 0 else ""
