"""Tables from whatever holds columns: data frames, dicts of arrays, Arrow tables, matrices."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends.interchange import check_unmasked, host_array, on_gpu
from gpubp.checks import checked_name
from gpubp.errors import ConfigurationError, DataError, ShapeError
from gpubp.tables.table import Table


def table_of(x: Any, categorical: Iterable[Any] = (), name: str = "X") -> Table:
    """Return columns as a table.

    Parameters
    ----------
    x : pandas or polars DataFrame, Arrow table, dict of arrays, Table, or array (rows, columns)
        The columns of an array are called x0, x1, ...
    categorical : iterable of str or int
        Columns whose values are names, whatever they look like: by name, or by number.
    name : str
        What messages call it.

    Raises
    ------
    DataError, ShapeError
        When it holds no columns, or a column holds what no network can be given.
    UnknownNameError
        When there is no such categorical column.
    """
    if isinstance(x, Table):
        columns: dict[str, Any] = dict(x.columns)
        kinds, numbers, orders = dict(x.kinds), x.row_numbers, x.orders
    else:
        pairs = {str(key): _column(str(key), values) for key, values in _columns(x).items()}
        columns = {key: values for key, (values, _) in pairs.items()}
        orders = {
            str(key): order for key, values in _columns(x).items() if (order := _order(values))
        }
        kinds = {key: kind for key, (_, kind) in pairs.items() if kind}
        numbers = np.zeros(0, np.int64)
    if not columns:
        raise DataError(
            f"{name} has no columns: 0 feature(s) (shape=({len(x)}, 0)) while a minimum of 1 is"
            " required."
        )
    names = list(columns)
    for given in categorical:
        key = _named(given, names)
        columns[key] = _as_names(columns[key])
        kinds[key] = "text"
    return Table(name, columns, kinds, row_numbers=numbers, orders=orders)


def _named(given: Any, names: list[str]) -> str:
    if isinstance(given, int | np.integer) and not isinstance(given, bool):
        if not 0 <= given < len(names):
            raise ConfigurationError(
                f"categorical holds {given}; a number from 0 to {len(names) - 1} is needed"
            )
        return names[int(given)]
    return checked_name("column", str(given), names)


def _columns(x: Any) -> Mapping[Any, Any]:
    """Return the columns by name."""
    if hasattr(x, "toarray"):
        raise DataError("X is sparse; a dense array or a data frame is needed")
    if isinstance(x, Mapping):
        return x
    if hasattr(x, "column_names") and hasattr(x, "column"):  # an Arrow table
        return {key: x.column(key) for key in x.column_names}
    if hasattr(x, "columns") and hasattr(x, "__getitem__"):  # pandas, polars
        names = list(map(str, x.columns))
        twice = [name for place, name in enumerate(names) if name in names[:place]]
        if twice:
            raise DataError(f"X has two columns called {twice[0]!r}; different names are needed")
        if hasattr(x, "iloc"):
            return {key: x.iloc[:, place] for place, key in enumerate(x.columns)}
        return {key: x[key] for key in x.columns}
    check_unmasked(x, "X")
    matrix = x if isinstance(x, np.ndarray) or on_gpu(x) else host_array(x)
    if matrix.ndim != 2:
        raise ShapeError(
            f"X has shape {tuple(matrix.shape)}; (rows, columns) is needed. Reshape your data:"
            " X.reshape(-1, 1) makes one column of it, X.reshape(1, -1) one row"
        )
    if matrix.dtype.kind == "c":
        raise DataError("Complex data not supported: X holds complex numbers, real ones are needed")
    return dict(zip(unnamed(matrix.shape[1]), matrix.T, strict=True))


def has_names(x: Any) -> bool:
    """Tell whether columns come with names of their own."""
    return isinstance(x, Table | Mapping) or hasattr(x, "columns") or hasattr(x, "column_names")


def unnamed(columns: int) -> list[str]:
    """Return the names of the columns of an array."""
    return [f"x{place}" for place in range(columns)]


def _column(name: str, values: Any) -> tuple[NDArray[Any], str]:
    """Return a column in a form that `Table` takes, and its kind if the dtype does not say it."""
    try:
        return _taken(name, values)
    except (OverflowError, UnicodeError) as error:
        raise DataError(f"column {name!r} holds what no number or text can be: {error}") from error


def _taken(name: str, values: Any) -> tuple[NDArray[Any], str]:
    if hasattr(values, "cat") and hasattr(values, "iloc"):  # pandas' categories are names
        return _as_names(np.asarray(values.astype(object), object)), "text"
    check_unmasked(values, f"column {name!r}")
    array = _plain(values)
    if array.ndim != 1:
        raise ShapeError(f"column {name!r} has shape {array.shape}; (rows,) is needed")
    if array.dtype == object:
        array = _of_objects(array)
    if array.dtype.kind in "SUO":
        return _as_names(array), "text"
    if array.dtype.kind == "m":
        return array.astype("timedelta64[us]").astype(np.int64).view("datetime64[us]"), "time"
    if array.dtype.kind not in "biufM":
        raise DataError(f"column {name!r} holds {array.dtype}; numbers, names or times are needed")
    return array, ""


def _order(values: Any) -> tuple[str, ...]:
    """Return the categories of an ordered column, least first; none of any other."""
    kind: Any = getattr(values, "dtype", None)
    if getattr(kind, "ordered", False):  # pandas
        return tuple(_as_names(np.asarray(kind.categories, object)))
    if type(kind).__name__ == "Enum":  # polars
        return tuple(kind.categories.to_list())
    return ()


def _plain(values: Any) -> NDArray[Any]:
    """Return a column as an array of NumPy's own dtypes, or of objects with None where missing."""
    if isinstance(getattr(values, "dtype", None), np.dtype):
        return np.asarray(values)
    kind = str(getattr(values, "dtype", getattr(values, "type", ""))).lower()
    if kind.startswith(("int", "uint", "float", "double", "half")):
        if hasattr(values, "iloc"):
            return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
        return np.asarray(values.to_numpy(), np.float64)
    if hasattr(values, "iloc"):  # a dtype that only pandas has
        return np.asarray(values.astype(object), object)
    listed = getattr(values, "to_pylist", None) or getattr(values, "to_list", None)
    if listed is None:
        return np.asarray(values)
    cells = np.empty(len(values), object)
    cells[:] = listed()
    return cells


def _of_objects(values: NDArray[Any]) -> NDArray[Any]:
    """Return objects of one kind as an array of that: booleans, numbers, times; else themselves."""
    missing = np.array([is_missing(value) for value in values], bool)
    present = values[~missing]
    kinds = {type(value) for value in present}
    if all(issubclass(kind, bool | np.bool_) for kind in kinds) and kinds and not missing.any():
        return values.astype(bool)
    if all(issubclass(kind, Number | np.number | np.bool_) for kind in kinds):
        numbers = np.full(len(values), np.nan)
        numbers[~missing] = [float(value) for value in present]
        return numbers
    if all(issubclass(kind, datetime.date | np.datetime64) for kind in kinds):
        times = np.full(len(values), np.datetime64("NaT", "us"))
        times[~missing] = [_utc(value) for value in present]
        return times
    if all(issubclass(kind, datetime.timedelta | np.timedelta64) for kind in kinds):
        spans = np.full(len(values), np.timedelta64("NaT", "us"))
        spans[~missing] = [np.timedelta64(value) for value in present]
        return spans
    values = values.copy()
    values[missing] = None
    return values


def _utc(value: Any) -> np.datetime64:
    zone = getattr(value, "tzinfo", None)
    return np.datetime64(value.astimezone(datetime.UTC).replace(tzinfo=None) if zone else value)


def _as_names(values: NDArray[Any]) -> NDArray[Any]:
    """Return values as text, numbers written as in a CSV file; None where missing."""
    names = np.empty(len(values), object)
    names[:] = [value if type(value) is str else _name(value) for value in values.tolist()]
    return names


def _name(value: Any) -> str | None:
    if is_missing(value):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.decode() if isinstance(value, bytes) else str(value)


def is_missing(value: Any) -> bool:
    """Tell whether a value stands for none: None, NaN, NaT, pandas' NA."""
    if value is None or isinstance(value, str):
        return value is None
    try:
        return bool(value != value)
    except TypeError:  # pandas' NA
        return True
