"""Tables in what holds more than a table: standard input, zip files, workbooks."""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO

from gpubp.data.csv_form import CsvForm
from gpubp.errors import DataError, import_extra
from gpubp.tables.frames import table_of
from gpubp.tables.table import Table, checked, read_table


def read(source: str | Path, text: Iterable[str], form: CsvForm) -> Table:
    """Return the table in standard input ("-"), a .zip or an .xlsx file; see `read_table`.

    Raises
    ------
    DataError
        When there is no such file, or it is none of its kind, or a zip file holds several files.
    MissingExtraError
        When pandas or openpyxl is not installed, which read .xlsx files.
    """
    if str(source) == "-":
        named = _read_stream(sys.stdin.buffer, "standard input.csv", text, form)
        return replace(named, name="standard input")
    path = Path(source)
    if not path.is_file():
        raise DataError(f"{str(path)!r} is no file; a {path.suffix} file is needed")
    if path.suffix.lower() == ".xlsx":
        return _read_workbook(path, text, form)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [each for each in archive.namelist() if _is_content(each)]
            if len(names) != 1:
                raise DataError(f"{path.name!r} holds {len(names)} files; one table is needed")
            with archive.open(names[0]) as content:
                return _read_stream(content, PurePosixPath(names[0]).name, text, form)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise DataError(f"{path.name!r} cannot be read as a zip file: {error}") from error


def _is_content(name: str) -> bool:
    return not name.endswith("/") and not name.startswith("__MACOSX/")


def _read_stream(stream: IO[bytes], name: str, text: Iterable[str], form: CsvForm) -> Table:
    """Return the table in a stream, which is read like a file of that name."""
    if name.lower().endswith(".zip"):
        raise DataError(f"a zip file in a zip file, {name!r}, is not read; a table is needed")
    with tempfile.TemporaryDirectory(prefix="gpubp-") as folder:
        path = Path(folder) / name
        with open(path, "wb") as file:
            shutil.copyfileobj(stream, file)
        return read_table(path, text, form)


def _read_workbook(path: Path, text: Iterable[str], form: CsvForm) -> Table:
    """Return the first sheet of a workbook."""
    pandas = import_extra("pandas", "excel")
    import_extra("openpyxl", "excel")
    header = 0 if form.header else None
    try:
        frame = pandas.read_excel(path, header=header)
    except Exception as error:  # openpyxl raises whatever its parsers do
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path.name!r} cannot be read as an .xlsx file: {reason}") from error
    if header is None:
        frame.columns = [f"column{place}" for place in range(1, 1 + len(frame.columns))]
    frame.columns = [str(name) for name in frame.columns]
    kept = [name for name in text if name in frame.columns]
    return checked(table_of(frame, kept, path.name))
