"""Parquet files as a data set: row group by row group, its schema checked before training."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from gpubp.checks import checked_list, checked_path
from gpubp.data.arrow_files import UNREADABLE, check_names, reason_of, unreadable
from gpubp.errors import DataError


class RowGroup(NamedTuple):
    """A row group: its file and its number there."""

    file: Path
    number: int

    def __str__(self) -> str:
        return f"{self.file.name!r}, row group {self.number}"


class ParquetFiles:
    """Row groups of one or more Parquet files of one schema.

    Attributes
    ----------
    files : list of Path
        In the order given, or by name where a folder was.
    schema : pyarrow.Schema
        Of the first file, and by its names and types of all.
    groups : list of RowGroup
        All row groups that have rows, file after file.
    sizes : list of int
        Rows of each.

    Raises
    ------
    DataError
        When there is no such file, one is torn, or a schema is not that of the first; names file,
        column and both types.
    """

    def __init__(self, path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> None:
        self.files = _files(path)
        self._open: dict[Path, pq.ParquetFile] = {}
        self._lock = threading.Lock()
        self.groups: list[RowGroup] = []
        self.sizes: list[int] = []
        for file in self.files:
            opened = self._opened(file)
            with _reading(file):
                schema = opened.schema_arrow
                check_names(file, schema.names)
            if file == self.files[0]:
                self.schema = schema
            check_schema(self.schema, schema, self.files[0], file)
            for number in range(opened.num_row_groups):
                rows = opened.metadata.row_group(number).num_rows
                if rows:
                    self.groups.append(RowGroup(file, number))
                    self.sizes.append(rows)
        if not self.groups:
            raise DataError(f"{_named(self.files)} has no rows; at least one is needed")

    @property
    def name(self) -> str:
        """What the files are called in messages."""
        return _named(self.files)

    def read(self, index: int, columns: list[str]) -> pa.Table:
        """Return columns of one row group.

        Raises
        ------
        DataError
            When it cannot be read; names file and row group.
        """
        group = self.groups[index]
        try:
            with self._lock:  # a reader serves one thread at a time
                table = self._opened(group.file).read_row_group(group.number, columns=columns)
        except UNREADABLE as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{group} cannot be read: {reason_of(error)}") from error
        return table.select(columns)

    def statistics(self, index: int, column: str) -> Any:
        """Return pyarrow's statistics of a column in a row group, or None where there are none.

        Raises
        ------
        DataError
            When the metadata of the column cannot be read.
        """
        group = self.groups[index]
        place = self.schema.get_field_index(column)
        with _reading(group.file):  # what metadata name a column may be torn
            chunk = self._opened(group.file).metadata.row_group(group.number).column(place)
            return chunk.statistics if chunk.path_in_schema == column else None

    def sorted_by(self, column: str, window: int) -> str:
        """Say that rows lie in the order of a column, more than a window can mix; "" if not."""
        groups = len(self.sizes)
        known = [self.statistics(index, column) for index in range(groups)]
        filled = [each for each in known if each is None or each.num_values]  # with any value
        if len(filled) <= window or not all(each and each.has_min_max for each in filled):
            return ""
        with _reading(self.files[0]):  # least and greatest texts may be torn
            lows, highs = [each.min for each in filled], [each.max for each in filled]
        rising = all(high <= low for high, low in zip(highs, lows[1:], strict=False))
        falling = all(low >= high for low, high in zip(lows, highs[1:], strict=False))
        if not (rising or falling) or lows[0] == highs[-1]:
            return ""
        return (
            f"{self.name} is sorted by {column!r} and has {groups} row groups, of which {window}"
            " are mixed at a time: batches will hold few of its values; shuffle the rows before"
            " writing"
        )

    def fingerprint(self, columns: Iterable[str]) -> str:
        """Return a SHA-256 of names, sizes, the columns and what metadata say of each row group."""
        digest = hashlib.sha256(repr([*columns]).encode())
        for file in self.files:
            metadata = self._opened(file).metadata
            digest.update(f"{file.name} {file.stat().st_size} {metadata.num_rows}".encode())
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                digest.update(f"{group.num_rows} {group.total_byte_size}".encode())
        return digest.hexdigest()[:16]

    def _opened(self, file: Path) -> pq.ParquetFile:
        if file not in self._open:
            with _reading(file):
                # with buffers made ahead, every open file would keep its last row group
                self._open[file] = pq.ParquetFile(file, pre_buffer=False)
        return self._open[file]


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn what Arrow raises about a file into DataError."""
    try:
        yield
    except DataError:
        raise
    except UNREADABLE as error:
        raise unreadable(str(file), "Parquet", error) from error


def check_schema(first: pa.Schema, other: pa.Schema, where: Path, other_path: Path) -> None:
    """Raise DataError when a file's columns are not those of the first; names both types."""
    lacking = [name for name in first.names if name not in other.names]
    added = [name for name in other.names if name not in first.names]
    if lacking or added:
        what = f"lacks the column {lacking[0]!r}" if lacking else f"has a column {added[0]!r} more"
        raise DataError(f"{other_path} {what} than {where}; all files need the same columns")
    for name in first.names:
        mine, its = first.field(name).type, other.field(name).type
        if mine != its:
            raise DataError(
                f"column {name!r} is {its} in {other_path} and {mine} in {where}; all files"
                " need the same types"
            )


def _files(path: Any) -> list[Path]:
    if isinstance(path, str | os.PathLike):
        folder = checked_path("path", path)
        files = sorted(folder.rglob("*.parquet")) if folder.is_dir() else [folder]
        if not files:
            raise DataError(f"{folder} holds no .parquet file; at least one is needed")
    else:
        files = [checked_path("path", each) for each in checked_list("path", path)]
        if not files:
            raise DataError("the list of Parquet files is empty; at least one is needed")
    for file in files:
        if not file.is_file():
            raise DataError(f"{str(file)!r} does not exist; a Parquet file is needed")
    return files


def _named(files: list[Path]) -> str:
    return repr(files[0].name) if len(files) == 1 else f"{len(files)} files from {files[0].name!r}"
