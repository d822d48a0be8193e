"""Arrays checked and brought to a network's backend and dtype."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array, get_backend
from gpubp.backends.interchange import take_in
from gpubp.checks import checked_whole
from gpubp.data.reading import Reader, is_on_host
from gpubp.data.row_weights import ClassWeight, take_weights
from gpubp.data.shards import Shards
from gpubp.data.sparse_rows import is_sparse, take_sparse
from gpubp.errors import DataError, NonFiniteError, ShapeError, brief
from gpubp.nn.losses import Loss, prepare

DEFAULT_BATCH = 128


@cache
def _name(dtype: np.dtype[Any]) -> str:
    """Return the name of a dtype; NumPy makes it anew each time."""
    return dtype.name


def take_inputs(net: Reader, x: Any, name: str = "x") -> Array:
    """Return inputs as a finite array (rows, inputs) on the network's backend.

    They stay in a dtype that batches can be read from (``backend.storage``) and are otherwise
    brought to the network's; those too large for a device's memory stay on the host, and so do
    those of a SciPy sparse matrix, as `SparseRows`.
    `gpubp.data.reading.read_rows` makes a batch of them.

    Raises
    ------
    DeviceError, DataError, NonFiniteError, ShapeError
        When they lie on another device, are no numbers, are not finite, or do not fit.
    """
    inputs = net.sizes[0]
    if is_sparse(x):
        return take_sparse(x, name, inputs, net.dtype)
    array = take_in(x, net.backend, name, large=True)
    if array.ndim != 2 or array.shape[1] != inputs:
        hint = f"; reshape one row to (1, {inputs})" if array.shape == (inputs,) else ""
        raise ShapeError(
            f"{name} has shape {tuple(array.shape)}; (rows, {inputs}) is needed, as the network"
            f" has {inputs} inputs{hint}"
        )
    kind = array.dtype if _name(array.dtype) in net.backend.storage else net.dtype
    with np.errstate(over="ignore"):
        if isinstance(array, np.ndarray):
            values = np.ascontiguousarray(array, kind)  # stays on the host if it was left there
        else:
            values = net.backend.asarray(array, kind)
    check_finite(values, net, name)
    return values


def take_data(
    net: Reader,
    x: Any,
    y: Any,
    loss: Loss,
    name: str = "",
    sample_weight: Any = None,
    class_weight: ClassWeight = None,
    rows: Any = None,
) -> Data:
    """Return inputs, expected values and weights, checked against each other and the network.

    All rows are returned; weights of classes are those among the chosen `rows`, (chosen,).

    Raises
    ------
    DeviceError, DataError, NonFiniteError, ShapeError
        When they cannot be used; an empty data set is a DataError.
    """
    inputs = take_inputs(net, x, f"{name}x")
    expected = take_in(y, net.backend, f"{name}y")
    if len(inputs) != (len(expected) if expected.ndim else 0):
        raise ShapeError(
            f"{name}x has {len(inputs)} rows and {name}y has shape {tuple(expected.shape)};"
            " the same number of rows is needed"
        )
    if len(inputs) == 0:
        raise DataError(f"{name}x has no rows; at least one is needed")
    outputs = net.sizes[-1]
    values = prepare(expected, outputs, loss, net.backend, net.dtype)
    if values.dtype.kind == "i":
        values = values.copy()  # classes are checked once: what is written later must not be read
    one_class = outputs > 1 and expected.size == len(expected)
    weights = take_weights(net, sample_weight, class_weight, expected, name, rows)
    return Data(inputs, values, one_class, weights)


def check_finite(values: Array, net: Reader, name: str) -> None:
    """Raise NonFiniteError naming the first value that is not finite in the network's dtype."""
    if values.dtype.kind != "f" or not values.size:
        return
    limit = float(np.finfo(values.dtype).max)
    largest = min(limit, net.precision.largest)
    wider = limit > largest
    backend = get_backend("cpu") if is_on_host(net, values) else net.backend
    if backend.all_finite(values) and not (
        wider and max(float(values.max()), -float(values.min())) > largest
    ):
        return
    xp = backend.xp
    finite = xp.abs(values) <= largest
    row, column = divmod(int(xp.argmin(finite)), values.shape[1])
    with np.errstate(over="ignore"):
        kind = np.float16 if net.precision.scaled else net.dtype
        value = float(values[row, column].astype(kind))
    raise NonFiniteError(
        f"{name}[{row}, {column}] is {value} in {np.dtype(kind).name}; finite numbers are needed"
    )


@dataclass(frozen=True)
class Data:
    """Inputs (rows, inputs) as stored and expected values (rows, outputs) or class indices (rows,).

    `one_class` tells that class indices were given, one of several classes for each row. `weights`
    (rows,) are those of the rows in the loss; None where all are 1.
    """

    x: Array
    expected: Array
    one_class: bool = False
    weights: Array | None = None

    def __len__(self) -> int:
        return len(self.x)

    def between(self, start: int, stop: int) -> Data:
        """Return rows `start` to before `stop`, without copying."""
        weights = None if self.weights is None else self.weights[start:stop]
        x, expected = self.x[start:stop], self.expected[start:stop]
        return replace(self, x=x, expected=expected, weights=weights)

    def rows(self, net: Reader, chosen: NDArray[np.int64]) -> Data:
        """Return a copy of chosen rows."""
        placed = net.backend.asarray(chosen)
        x = self.x[chosen if is_on_host(net, self.x) else placed]
        weights = None if self.weights is None else self.weights[placed]
        return replace(self, x=x, expected=self.expected[placed], weights=weights)

    def shard(self, count: int, shard: int) -> Data:
        """Return one of `count` shards, without copying."""
        only = Shards(count, shard, shard + 1)
        return self.between(*only.span(len(self)))

    def chunks(self, rows: int) -> Iterator[Data]:
        """Return chunks of at most so many rows, in order, without copying."""
        return (self.between(start, start + rows) for start in range(0, len(self), rows))


def checked_batch_size(batch_size: int | None, rows: int) -> int:
    """Return the batch size, or the default for None: 128, or all rows where there are fewer."""
    if batch_size is None:
        return min(DEFAULT_BATCH, rows)
    batch_size = checked_whole("batch_size", batch_size)
    if batch_size > rows:
        raise DataError(
            f"batch_size is {brief(batch_size)} and the data have {rows} rows; {rows} at most is"
            " needed"
        )
    return batch_size
