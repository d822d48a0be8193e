"""Tables larger than memory: fitted in one pass over their row groups, read as inputs in others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends.random import SPLIT, generator
from gpubp.checks import checked_name
from gpubp.data.arrow_files import columns_of
from gpubp.data.blocks import BlockDataset
from gpubp.data.parquet_files import ParquetFiles
from gpubp.data.protocol import Rows, Schema
from gpubp.data.statistics import ColumnStatistics
from gpubp.errors import DataError
from gpubp.tables.categorical_column import CategoricalColumn
from gpubp.tables.columns import Column
from gpubp.tables.numeric_column import NumericColumn
from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.standardisation import as_numbers
from gpubp.tables.table import Table
from gpubp.tables.targets import target_from_counts

PARTS = ("train", "validation", "test")
SAMPLED_BLOCKS = 8  # row groups that bins are found in
MOST_TEXTS = 100_000  # different values of a column that are counted; one with more is left out


class TableFiles:
    """Parquet files as tables, a row group each, and the part that every row was dealt to.

    Parameters
    ----------
    path : path or sequence of path
        See `gpubp.data.parquet_files.ParquetFiles`.
    target : str
        Rows without a value of it are left out.
    test, validation : float
        Share of the rows in these parts; a row's part depends on the seed and its place alone.
    """

    def __init__(self, path: Any, target: str, test: float, validation: float, seed: int) -> None:
        self.files = ParquetFiles(path)
        checked_name("column", target, self.files.schema.names)
        self.target, self._seed = target, seed
        self._shares = (1 - test - validation, validation, test)
        self._first_rows = np.cumsum([0, *self.files.sizes])

    @property
    def blocks(self) -> int:
        """Number of row groups."""
        return len(self.files.sizes)

    def table(self, block: int) -> Table:
        """Return a row group; rows are numbered through all files."""
        arrow = self.files.read(block, self.files.schema.names)
        columns, kinds, left_out = columns_of(self.files.groups[block].file, arrow)
        first = self._first_rows[block] + 1
        numbers = np.arange(first, first + self.files.sizes[block])
        return Table(self.files.name, columns, kinds, left_out, numbers)

    def parts(self, table: Table, block: int) -> NDArray[np.int8]:
        """Return for each row of a block the number of its part; -1 where the target is missing."""
        drawn = generator(self._seed, SPLIT, block).random(table.rows)
        parts = np.searchsorted(np.cumsum(self._shares)[:-1], drawn, side="right").astype(np.int8)
        parts[table.missing(self.target)] = -1
        return parts


@dataclass
class Summary:
    """What one pass finds in some row groups.

    Attributes
    ----------
    statistics : dict of str to ColumnStatistics
        Of the training rows, by column of numbers; of the target too.
    texts : dict of str to Counter or None
        How often each text comes in the training rows; None where there are too many.
    labels : Counter
        How often each value of the target comes in any row; cut off at 100,000.
    trained : set
        Values of the target in the training rows, cut off alike.
    counts : array of int, (3,)
        Rows of each part.
    """

    statistics: dict[str, ColumnStatistics] = field(default_factory=dict)
    texts: dict[str, Counter[str | None] | None] = field(default_factory=dict)
    labels: Counter[Any] = field(default_factory=Counter)
    trained: set[Any] = field(default_factory=set)
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, np.int64))
    kinds: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, files: TableFiles, block: int) -> Summary:
        """Return what a row group holds.

        Raises
        ------
        NonFiniteError
            When a number is infinite; names column and row.
        """
        table = files.table(block)
        part = files.parts(table, block)
        train = part == 0
        counted = cls(kinds=table.kinds, left_out=table.left_out)
        counted.counts += [int((part == number).sum()) for number in range(3)]
        for name, kind in table.kinds.items():
            if kind == "text":
                counted.texts[name] = Counter(table.column(name)[train].tolist())
            else:
                counted.statistics[name] = ColumnStatistics.of(as_numbers(table, name, kind)[train])
        values = table.column(files.target)[part >= 0]
        counted.labels = Counter(values.tolist())
        counted.trained = set(table.column(files.target)[train].tolist())
        return counted

    def add(self, other: Summary) -> None:
        """Take in what a later row group holds."""
        self.kinds, self.left_out = other.kinds, other.left_out
        self.counts += other.counts
        for name, statistics in other.statistics.items():
            self.statistics[name] = self.statistics.get(name, ColumnStatistics()).merged(statistics)
        for name, texts in other.texts.items():
            known = self.texts.setdefault(name, Counter())
            if known is not None and texts is not None:
                known.update(texts)
                if len(known) > MOST_TEXTS:
                    self.texts[name] = None
        if len(self.labels) <= MOST_TEXTS:
            self.labels.update(other.labels)
            self.trained |= other.trained


@dataclass(frozen=True)
class StreamedTable:
    """A table made ready for training outside memory; see `gpubp.tables.model.Prepared`."""

    files: TableFiles
    preprocessing: Preprocessing
    counts: NDArray[np.int64]  # rows of each part, (parts, row groups)
    notes: tuple[str, ...]

    def rows(self, part: str) -> int:
        """Return the number of rows of a part."""
        return int(self.counts[PARTS.index(part)].sum())

    def dataset(self, part: str) -> TableDataset:
        """Return the rows of a part as inputs and expected values of a network."""
        return TableDataset(self.files, self.preprocessing, self.counts, PARTS.index(part))

    def unused(self, member: int = 0) -> NDArray[np.int64]:
        """Return inputs that are zero in every training row: the slots of unknown categories."""
        names = enumerate(self.preprocessing.features)
        return np.array([index for index, name in names if name.endswith("=(unknown)")], np.int64)

    def sample(self, member: int = 0) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Return training rows of a few row groups and their targets, to find bins in."""
        dataset = self.dataset("train")
        filled = np.flatnonzero(dataset.sizes)
        chosen = filled[:: -(-len(filled) // SAMPLED_BLOCKS)]
        read = [dataset.read(int(block)) for block in chosen]
        return np.concatenate([rows.x for rows in read]), np.concatenate([rows.y for rows in read])


class TableDataset(BlockDataset):
    """One part of a table as a data set: preprocessed as its row groups are read."""

    def __init__(
        self, files: TableFiles, preprocessing: Preprocessing, counts: Any, part: int
    ) -> None:
        self._files, self._preprocessing, self._part = files, preprocessing, part
        self.sizes = counts[part].tolist()
        self.schema = Schema(
            tuple(preprocessing.features), "float32", (preprocessing.target,), weighted=False
        )
        self.choose_window(None)

    def read(self, block: int) -> Rows:
        """Return the rows of the part in a row group."""
        table = self._files.table(block)
        own = table.take(self._files.parts(table, block) == self._part)
        return Rows(self._preprocessing.transform(own).x, self._preprocessing.targets(own))

    def fingerprint(self) -> str:
        """Return what tells the data, the part and the columns from others."""
        return self._files.files.fingerprint([*self.schema.inputs, PARTS[self._part]])


def prepare_stream(
    path: Any,
    target: str,
    task: str,
    test: float,
    validation: float,
    seed: int,
    share: Callable[[list[Summary]], list[list[Summary]]] | None = None,
    own: tuple[int, int] = (0, 1),
) -> StreamedTable:
    """Fit the preprocessing in one pass over the row groups.

    Parameters
    ----------
    share : callable or None
        Returns what all processes give it, by rank, where several read the row groups together.
    own : (rank, size)
        Of this process; it reads every size-th row group.

    Raises
    ------
    GpubpError
        When the files, the target or a column cannot be used.
    """
    files = TableFiles(path, target, test, validation, seed)
    rank, size = own
    read = [Summary.of(files, block) for block in range(rank, files.blocks, size)]
    by_rank = [read] if share is None else share(read)
    in_order = [by_rank[block % size][block // size] for block in range(files.blocks)]
    counts = np.stack([summary.counts for summary in in_order], axis=1)
    merged = Summary()
    for summary in in_order:
        merged.add(summary)
    for number, wanted in ((0, 1.0), (1, validation), (2, test)):
        if wanted and not merged.counts[number]:
            raise DataError(
                f"{files.files.name} leaves the {PARTS[number]} part empty; more rows are needed"
            )
    preprocessing = _fitted(files, merged, task)
    without = sum(files.files.sizes) - int(merged.counts.sum())
    note = f"{without} rows have no {target!r} and are left out"
    notes = (*[note] * bool(without), *preprocessing.notes)
    streamed = StreamedTable(files, preprocessing, counts, notes)
    in_order_of_target = files.files.sorted_by(target, streamed.dataset("train").window)
    return replace(streamed, notes=(*notes, *[in_order_of_target] * bool(in_order_of_target)))


def _fitted(files: TableFiles, counted: Summary, task: str) -> Preprocessing:
    target = files.target
    if target in counted.left_out:
        raise DataError(f"column {target!r} of {files.files.name} holds {counted.left_out[target]}")
    labels = counted.labels if len(counted.labels) <= MOST_TEXTS else None
    statistics = counted.statistics.get(target, ColumnStatistics())
    kind = counted.kinds[target]
    goal = target_from_counts(target, kind, task, labels, counted.trained, statistics)
    notes = [
        f"column {name!r} is left out: it holds {what}" for name, what in counted.left_out.items()
    ]
    columns: list[Column] = []
    trained = int(counted.counts[0])
    for name, kind in counted.kinds.items():
        if name == target:
            continue
        column: Column | str
        if kind == "text":
            column = CategoricalColumn.from_counts(name, counted.texts[name], trained)
        else:
            column = NumericColumn.from_statistics(name, kind, counted.statistics[name])
        if isinstance(column, str):
            notes.append(f"column {name!r} is left out: {column}")
        else:
            columns.append(column)
    if not columns:
        raise DataError(
            f"{files.files.name} has no column to learn from besides the target {target!r}"
        )
    return Preprocessing(goal, tuple(columns), tuple(notes))
