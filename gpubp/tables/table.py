"""Tables of named columns, read from files and scikit-learn's bundled sets."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.checks import checked_name
from gpubp.data.csv_form import AS_USUAL, CsvForm
from gpubp.data.idx_files import idx_columns, is_idx
from gpubp.errors import DataError, ShapeError, import_extra

BUNDLED = {
    "breast_cancer": "target",
    "diabetes": "target",
    "digits": "target",
    "iris": "target",
    "wine": "target",
}
KINDS = ("number", "bool", "time", "text")


@dataclass(eq=False)
class Table:
    """Named columns of equal length.

    Numbers are float64 with NaN where missing; booleans are float64 0/1 and times float64 seconds
    (since 1970 for dates); text is an object array of `str`, or None where missing.

    Attributes
    ----------
    name : str
        Where the table comes from, for messages.
    columns : dict of str to array (rows,)
        Arrays of other dtypes are brought to the form above.
    kinds : dict of str to str
        What each column holds: "number", "bool", "time" or "text"; found from the dtype if absent.
    left_out : dict of str to str
        Columns of the source that hold neither numbers nor text, with what they hold instead.
    orders : dict of str to tuple of str
        The names of those columns of text whose names have an order, least first.
    row_numbers : array of int (rows,)
        Number of each row in the source, for messages: data rows counted from 1, without the
        header and blank lines.
    notes : tuple of str
        What is to be said of how a file was read.
    """

    name: str
    columns: dict[str, NDArray[Any]]
    kinds: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    row_numbers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    orders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kinds = dict(self.kinds)
        columns = {}
        for name, values in self.columns.items():
            check_text(name)
            columns[name], kind = _standard_form(name, np.asarray(values))
            kinds.setdefault(name, kind)
        self.columns, self.kinds = columns, kinds
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ShapeError(f"columns differ in length: {lengths}; all need the same")
        rows = next(iter(lengths.values()), 0)
        if len(self.row_numbers) != rows:
            self.row_numbers = np.arange(1, rows + 1)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.row_numbers)

    def column(self, name: str) -> NDArray[Any]:
        """Return the values of one column, shape (rows,).

        Raises
        ------
        UnknownNameError
            When there is no such column; suggests the nearest.
        DataError
            When the column holds neither numbers nor text.
        """
        if isinstance(name, str) and name in self.left_out:
            raise DataError(f"column {name!r} of {self.name} holds {self.left_out[name]}")
        return self.columns[checked_name("column", name, self.columns)]

    def missing(self, name: str) -> NDArray[np.bool_]:
        """Return where one column has no value, shape (rows,).

        Raises
        ------
        UnknownNameError, DataError
            As for `column`.
        """
        values = self.column(name)
        if values.dtype == object:
            return np.array([value is None for value in values], dtype=bool)
        return np.asarray(np.isnan(values))

    def renamed(self, names: Iterable[str]) -> Table:
        """Return the table with other names for its columns, in their order."""
        pairs = dict(zip(self.columns, names, strict=True))
        columns = {pairs[name]: values for name, values in self.columns.items()}
        kinds = {pairs[name]: kind for name, kind in self.kinds.items()}
        orders = {pairs[name]: order for name, order in self.orders.items()}
        return Table(self.name, columns, kinds, self.left_out, self.row_numbers, orders)

    def with_column(self, name: str, values: NDArray[Any]) -> Table:
        """Return the table with one column more."""
        values = values.astype(object) if values.dtype.kind == "U" else values
        return Table(
            *(self.name, {**self.columns, name: values}, dict(self.kinds), self.left_out),
            *(self.row_numbers, self.orders),
        )

    def without(self, name: str) -> Table:
        """Return the table without one column.

        Raises
        ------
        UnknownNameError, DataError
            As for `column`.
        """
        self.column(name)
        columns = {key: values for key, values in self.columns.items() if key != name}
        kinds = {key: kind for key, kind in self.kinds.items() if key != name}
        return Table(self.name, columns, kinds, self.left_out, self.row_numbers, self.orders)

    def take(self, rows: NDArray[Any]) -> Table:
        """Return the rows of an index array or mask; they keep their numbers for messages."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Table(
            self.name, columns, self.kinds, self.left_out, self.row_numbers[rows], self.orders
        )


def read_table(source: str | Path, text: Iterable[str] = (), form: CsvForm = AS_USUAL) -> Table:
    """Return the table in a file or standard input, or a data set bundled with scikit-learn.

    Parameters
    ----------
    source
        Path of a .csv, .tsv, .csv.gz, .tsv.gz, .parquet, .feather, .arrow, .jsonl, .ndjson or .xlsx
        file, of a .zip file with one of them, or of images as MNIST comes; "-" for standard input,
        which holds CSV; or a name in `BUNDLED`. A CSV file without a comma in its header line may
        be separated by semicolons, tabs or bars. Empty cells, NA, N/A, NaN and null are missing
        values.
    text
        Columns of a CSV file to keep as text even where all values look like numbers.
    form
        What is said of a CSV file: separator, whether it has a header, decimal mark, encoding.

    Raises
    ------
    DataError
        When there is no such file, or it is empty, has no rows, or is not a table.
    MissingExtraError
        When pyarrow (files), pandas and openpyxl (.xlsx) or scikit-learn (bundled sets) is not
        installed.
    """
    if isinstance(source, str) and source in BUNDLED:
        return _bundled(source)
    path = Path(source)
    if str(source) == "-" or path.suffix.lower() in (".zip", ".xlsx"):
        from gpubp.tables import containers

        return containers.read(source, text, form)
    if not path.is_file():
        what = "is a directory" if path.is_dir() else "does not exist"
        near = difflib.get_close_matches(str(source), BUNDLED, n=1)
        hint = f"did you mean the bundled data set {near[0]!r}? " if near else ""
        raise DataError(
            f"{str(source)!r} {what}; {hint}a CSV or Parquet file is needed, or one of"
            f" {', '.join(BUNDLED)}"
        )
    if is_idx(path):
        return checked(Table(path.name, idx_columns(path)))
    import_extra("pyarrow", "cli")
    from gpubp.data.arrow_files import read_file

    found, notes = read_file(path, tuple(text), form)
    return checked(Table(path.name, *found, notes=tuple(notes)))


def checked(table: Table) -> Table:
    """Return a table that was read; raises DataError if it has no columns or no rows."""
    if not table.columns:
        raise DataError(
            f"{table.name!r} has no column of numbers or text; it holds {table.left_out}"
        )
    if table.rows == 0:
        raise DataError(f"{table.name!r} has a header but no rows; at least one row is needed")
    return table


def _bundled(name: str) -> Table:
    """Return a bundled data set; its target holds class names where scikit-learn has them."""
    bunch = getattr(import_extra("sklearn.datasets", "cli"), f"load_{name}")()
    columns = dict(zip(map(str, bunch.feature_names), bunch.data.T, strict=True))
    names = np.asarray(bunch.get("target_names", []))
    named = names.dtype.kind == "U"
    return Table(name, {**columns, BUNDLED[name]: names[bunch.target] if named else bunch.target})


def _standard_form(name: str, values: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """Return an array (rows,) in the form that `Table` promises, and its kind."""
    if values.ndim != 1:
        raise ShapeError(f"column {name!r} has shape {values.shape}; (rows,) is needed")
    if values.dtype.kind == "U":
        values = values.astype(object)
    if values.dtype.kind == "M":
        return _seconds(values), "time"
    if values.dtype.kind in "biuf":
        return values.astype(np.float64), "bool" if values.dtype.kind == "b" else "number"
    if values.dtype == object and all(value is None or isinstance(value, str) for value in values):
        check_text(name, *filter(None, values))
        return values, "text"
    raise DataError(
        f"column {name!r} has dtype {values.dtype}; numbers, or an object array of str and None,"
        " are needed"
    )


def check_text(name: str, *texts: str) -> None:
    """Raise DataError where a column's name or text holds half of a character, written nowhere."""
    for text in (name, "".join(texts)):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"column {name!r} holds half of a character, {text[error.start]!r}; text that"
                " UTF-8 can write is needed"
            ) from error


def _seconds(times: NDArray[Any]) -> NDArray[np.float64]:
    """Return datetime64 values as seconds since 1970, NaN where missing."""
    seconds = times.astype("datetime64[us]").astype(np.int64) / 1e6
    return np.where(np.isnat(times), np.nan, seconds)


def cell_text(value: Any, kind: str) -> str:
    """Return a value of a column for people; times are kept as seconds, and none is empty."""
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return ""
    if kind == "time":
        moment = str(np.datetime64(int(value), "s"))
        return moment.removesuffix("T00:00:00").replace("T", " ")
    if isinstance(value, float | np.floating):
        return f"{value:.12g}" if float(value).is_integer() else f"{value:.6g}"
    return str(value)
