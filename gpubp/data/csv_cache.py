"""CSV files converted once to Parquet, block by block, in a cache folder."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from gpubp.checks import checked_path
from gpubp.data.arrow_files import check_names, reason_of
from gpubp.data.csv_files import WINDOWS, check_text, csv_options, encoding_of, not_encoded
from gpubp.data.csv_form import AS_USUAL, CsvForm
from gpubp.data.parquet_data import ParquetDataset
from gpubp.errors import DataError, OutputPathError
from gpubp.files import cache_folder, replacing

BLOCK_BYTES = 16 << 20  # of the CSV file, read at a time
ROWS = 65_536  # of a row group
_WIDER = {pa.int64(): pa.float64(), pa.null(): pa.float64()}  # else text
_WHERE = re.compile(r"In CSV column #(\d+)")


def csv(
    path: str | os.PathLike[str],
    target: str,
    *,
    cache: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> ParquetDataset:
    """Return the data set of a CSV file, which is converted once to Parquet.

    Parameters
    ----------
    path, target
        The file and the column of expected values.
    cache : path or None
        The folder for the Parquet file; None for ``gpubp/tables`` in the user's cache folder.
    settings
        See `ParquetDataset`.

    Raises
    ------
    DataError, OutputPathError, MissingExtraError
        When the file is none or the folder cannot be written to, and as `ParquetDataset`.
    """
    return ParquetDataset(converted(path, cache), target, **settings)


def converted(path: str | os.PathLike[str], cache: str | os.PathLike[str] | None = None) -> Path:
    """Return the Parquet file of a CSV file, made on the first call and said on standard error."""
    source = checked_path("path", path)
    if not source.is_file():
        raise DataError(f"{str(path)!r} does not exist; a CSV file is needed")
    folder = cache_folder() / "tables" if cache is None else Path(cache)
    cached = folder / f"{source.stem}-{_key(source)}.parquet"
    if not cached.exists():
        print(f"gpubp: converting {source} to {cached}, once", file=sys.stderr)
        _convert(source, cached)
    return cached


def _key(source: Path) -> str:
    """Return what changes when the file does."""
    about = source.stat()
    text = f"{source.resolve()} {about.st_size} {about.st_mtime_ns}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _convert(source: Path, target: Path) -> None:
    types: dict[str, pa.DataType] = {}
    form = AS_USUAL._replace(encoding=encoding_of(source))
    if form.encoding == WINDOWS:
        print(f"gpubp: {source} is not UTF-8 and is read as Windows-1252", file=sys.stderr)
    while True:
        try:
            return _write(source, target, types, form)
        except UnicodeError as error:
            raise not_encoded(source, form.encoding) from error
        except pa.ArrowInvalid as error:
            # types are found from the first block: a later one may hold what does not fit them
            where = _WHERE.match(str(error))
            if where is None:
                raise DataError(
                    f"{source.name!r} cannot be read as a CSV file: {reason_of(error)}"
                ) from error
            _widen(source, types, form, int(where[1]))


def _widen(source: Path, types: dict[str, pa.DataType], form: CsvForm, place: int) -> None:
    with _reader(source, types, form) as reader:
        field = reader.schema.field(place)
    if field.type == pa.string():  # nothing is wider
        raise not_encoded(source, form.encoding)
    types[field.name] = _WIDER.get(field.type, pa.string())


def _reader(source: Path, types: dict[str, pa.DataType], form: CsvForm) -> Any:
    reading, parse, convert = csv_options(source, types, form)
    reading.block_size = BLOCK_BYTES
    return pa.csv.open_csv(source, reading, parse, convert)


def _write(source: Path, target: Path, types: dict[str, pa.DataType], form: CsvForm) -> None:
    """Write the Parquet file whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as file, _reader(source, types, form) as reader:
            check_names(source, reader.schema.names)
            check_text(source, reader.schema)
            with pq.ParquetWriter(file, reader.schema) as writer:
                _copy(reader, writer)
    except pa.ArrowInvalid:
        raise
    except OSError as error:
        raise _cannot_write(target, error) from error


def _copy(reader: Any, writer: Any) -> None:
    """Write row groups of one size, whatever the blocks read."""
    waiting: list[pa.Table] = []
    rows = 0
    for batch in reader:
        waiting.append(pa.Table.from_batches([batch]))
        rows += batch.num_rows
        while rows >= ROWS:
            table = pa.concat_tables(waiting)
            writer.write_table(table.slice(0, ROWS))
            waiting, rows = [table.slice(ROWS)], rows - ROWS
    if rows:
        writer.write_table(pa.concat_tables(waiting))


def _cannot_write(target: Path, error: OSError) -> OutputPathError:
    return OutputPathError(
        f"cannot write {target}: {error.strerror or error}; a cache folder with room is needed:"
        " set XDG_CACHE_HOME, or cache"
    )
