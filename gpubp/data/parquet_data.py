"""Numbers in Parquet files as a data set."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gpubp.checks import checked_list, checked_name
from gpubp.data.blocks import BlockDataset
from gpubp.data.parquet_files import ParquetFiles
from gpubp.data.protocol import Rows, Schema
from gpubp.data.statistics import ColumnStatistics
from gpubp.errors import ConfigurationError, DataError, NonFiniteError

KEPT_DTYPES = ("uint8", "float16", "float32", "float64")  # which batches are read from as they are


class ParquetDataset(BlockDataset):
    """Numbers in Parquet files.

    Parameters
    ----------
    path : path, or sequence of path
        A file, a folder, whose .parquet files are taken, or a list of files.
    target : str or sequence of str
        The column of class indices or values, or the columns of several outputs.
    columns : sequence of str or None
        The inputs; None for all other columns.
    weight : str or None
        The column of what each row weighs in the loss.
    missing : {"error", "mean"}
        Refuse missing inputs, or replace them by the mean of their column, and add, for each column
        that has some, an input that is 1 where a value is missing and 0 elsewhere.
    window : int or None
        Row groups whose rows are mixed; None for as many as make 128 MiB, up to 16.

    Raises
    ------
    DataError, UnknownNameError, ConfigurationError, MissingExtraError
        When the files or a column cannot be used, or a setting is out of its range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        target: str | Sequence[str],
        *,
        columns: Sequence[str] | None = None,
        weight: str | None = None,
        missing: str = "error",
        window: int | None = None,
    ) -> None:
        if missing not in ("error", "mean"):
            raise ConfigurationError(f"missing is {missing!r}; 'error' or 'mean' is needed")
        self._files = ParquetFiles(path)
        self.sizes = self._files.sizes
        listed = (target,) if isinstance(target, str) else checked_list("target", target)
        self._targets = list(listed)
        self._weight = [] if weight is None else [weight]
        names, others = self._files.schema.names, {*self._targets, *self._weight}
        self._inputs = [n for n in names if n not in others] if columns is None else list(columns)
        for name in (*self._targets, *self._weight, *self._inputs):
            _check_number(self._files, name)
        if not self._inputs:
            raise DataError(f"{self._files.name} has no column besides the target; one is needed")
        kinds = {_dtype(self._files.schema.field(name).type) for name in self._inputs}
        same = kinds.pop() if len(kinds) == 1 else ""
        self._dtype = np.dtype(same if same in KEPT_DTYPES and missing == "error" else "float32")
        self._missing = missing
        masks = [f"{name} is missing" for name in self._means]
        self.schema = Schema(
            (*self._inputs, *masks), self._dtype.name, tuple(self._targets), weight is not None
        )
        self.choose_window(window)
        warned = self._files.sorted_by(self._targets[0], self.window)
        if warned:
            warnings.warn(f"{warned}, or raise window", stacklevel=2)

    def read(self, block: int) -> Rows:
        """Return all rows of a row group.

        Raises
        ------
        DataError, NonFiniteError
            When values are missing or not finite; names file, row group and column.
        """
        table = self._files.read(block, [*self._inputs, *self._targets, *self._weight])
        masks = []
        for place, name in enumerate(self._inputs):
            column = table.column(place)
            if name in self._means:
                masks.append(column.is_null(nan_is_null=True).to_numpy())
                filled = pa.compute.if_else(
                    column.is_null(nan_is_null=True), self._means[name], column.cast(pa.float64())
                )
                table = table.set_column(place, name, filled.cast(pa.float32()))
            elif column.null_count:
                self._refuse(block, name)
        for name in (*self._targets, *self._weight):
            if table.column(name).null_count:
                self._refuse(block, name)
        x = _matrix(table.select(self._inputs), self._dtype)
        if masks:
            x = np.column_stack([x, *masks]).astype(self._dtype, copy=False)
        self._check_finite(x, block)
        y = _matrix(table.select(self._targets), None)
        y = y[:, 0] if len(self._targets) == 1 else y
        weights = table.column(self._weight[0]).to_numpy() if self._weight else None
        return Rows(x, y, weights)

    def fingerprint(self) -> str:
        """Return a SHA-256 of names, sizes, columns and the sizes of all row groups."""
        columns = [*self._inputs, "->", *self._targets, *self._weight, self._missing]
        return self._files.fingerprint(columns)

    @cached_property
    def _means(self) -> dict[str, float]:
        """Means of the inputs that have missing values, where these are replaced."""
        if self._missing == "error":
            return {}
        statistics = {name: ColumnStatistics() for name in self._inputs}
        for block in range(len(self.sizes)):
            table = self._files.read(block, self._inputs)
            for name, so_far in statistics.items():
                values = table.column(name).cast(pa.float64()).to_numpy()
                statistics[name] = so_far.merged(ColumnStatistics.of(values))
        for name, so_far in statistics.items():
            if not so_far.count:
                raise DataError(f"column {name!r} of {self._files.name} has no value in any row")
        return {name: so_far.mean for name, so_far in statistics.items() if so_far.missing}

    def _refuse(self, block: int, name: str) -> None:
        row = int(np.argmax(self._files.read(block, [name]).column(0).is_null().to_numpy()))
        hint = (
            "; missing='mean' replaces it and says so in an input" if name in self._inputs else ""
        )
        raise DataError(
            f"{self._files.groups[block]}: column {name!r} has no value in row {row + 1}; a number"
            f" is needed{hint}"
        )

    def _check_finite(self, x: NDArray[Any], block: int) -> None:
        if x.dtype.kind != "f":
            return
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(np.add.reduce(x, axis=None)):
                return  # a sum is finite only if all numbers are
        finite = np.isfinite(x)
        if finite.all():
            return
        row, column = divmod(int(np.argmin(finite)), x.shape[1])
        name, value = self.schema.inputs[column], x[row, column]
        raise NonFiniteError(
            f"{self._files.groups[block]}: column {name!r} is {value} in row {row + 1}; finite"
            " numbers are needed"
        )


def _dtype(kind: pa.DataType) -> str:
    return str(kind.to_pandas_dtype().__name__) if _is_number(kind) else ""


def _is_number(kind: pa.DataType) -> bool:
    known = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    return any(test(kind) for test in known)


def _check_number(files: ParquetFiles, name: str) -> None:
    checked_name("column", name, files.schema.names)
    kind = files.schema.field(name).type
    if not _is_number(kind):
        raise DataError(
            f"column {name!r} of {files.name} holds {kind}; numbers are needed (`gpubp train`"
            " encodes text)"
        )


def _matrix(table: pa.Table, dtype: np.dtype[Any] | None) -> NDArray[Any]:
    """Return numeric columns as (rows, columns)."""
    kinds = {field.type for field in table.schema}
    if dtype is not None and kinds != {pa.from_numpy_dtype(dtype)}:
        target = pa.from_numpy_dtype(dtype)
        table = table.cast(pa.schema([(name, target) for name in table.column_names]), safe=False)
    elif len(kinds) > 1 or pa.bool_() in kinds:
        target = pa.float64() if any(map(pa.types.is_floating, kinds)) else pa.int64()
        table = table.cast(pa.schema([(name, target) for name in table.column_names]), safe=False)
    batch = table.combine_chunks().to_batches()[0]
    if batch.num_columns == 1:
        return np.asarray(batch.column(0).to_numpy(zero_copy_only=False)).reshape(-1, 1)
    return np.asarray(batch.to_tensor(row_major=True).to_numpy())
