"""Arrays checked and brought to a network's backend and dtype, and cut into batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array, get_backend
from gpubp.backends.interchange import take_in
from gpubp.backends.random import permutation
from gpubp.data.row_weights import ClassWeight, take_weights
from gpubp.data.shards import ALL, Shards
from gpubp.data.sparse_rows import is_sparse, take_sparse
from gpubp.errors import ConfigurationError, DataError, NonFiniteError, ShapeError
from gpubp.nn.backprop import LayerStack
from gpubp.nn.losses import Loss, prepare

DEFAULT_BATCH = 128
# Whether to shuffle, or what returns the order of the rows for an epoch's number.
Shuffle = bool | Callable[[int], Any]


def take_inputs(stack: LayerStack, x: Any, name: str = "x") -> Array:
    """Return inputs as a finite array (rows, inputs) on the network's backend.

    They stay in a dtype that batches can be read from (``backend.storage``) and are otherwise
    brought to the network's; those too large for a device's memory stay on the host, and so do
    those of a SciPy sparse matrix, as `SparseRows`.
    `LayerStack.read_rows` makes a batch of them.

    Raises
    ------
    DeviceError, DataError, NonFiniteError, ShapeError
        When they lie on another device, are no numbers, are not finite, or do not fit.
    """
    inputs = stack.sizes[0]
    if is_sparse(x):
        return take_sparse(x, name, inputs, stack.dtype)
    array = take_in(x, stack.backend, name, large=True)
    if array.ndim != 2 or array.shape[1] != inputs:
        hint = f"; reshape one row to (1, {inputs})" if array.shape == (inputs,) else ""
        raise ShapeError(
            f"{name} has shape {tuple(array.shape)}; (rows, {inputs}) is needed, as the network"
            f" has {inputs} inputs{hint}"
        )
    kind = array.dtype if array.dtype.name in stack.backend.storage else stack.dtype
    with np.errstate(over="ignore"):
        if isinstance(array, np.ndarray):
            values = np.ascontiguousarray(array, kind)  # stays on the host if it was left there
        else:
            values = stack.backend.asarray(array, kind)
    check_finite(values, stack, name)
    return values


def take_data(
    stack: LayerStack,
    x: Any,
    y: Any,
    loss: Loss,
    name: str = "",
    sample_weight: Any = None,
    class_weight: ClassWeight = None,
) -> Data:
    """Return inputs, expected values and weights, checked against each other and the network.

    Raises
    ------
    DeviceError, DataError, NonFiniteError, ShapeError
        When they cannot be used; an empty data set is a DataError.
    """
    inputs = take_inputs(stack, x, f"{name}x")
    expected = take_in(y, stack.backend, f"{name}y")
    if len(inputs) != (len(expected) if expected.ndim else 0):
        raise ShapeError(
            f"{name}x has {len(inputs)} rows and {name}y has shape {tuple(expected.shape)};"
            " the same number of rows is needed"
        )
    if len(inputs) == 0:
        raise DataError(f"{name}x has no rows; at least one is needed")
    outputs = stack.sizes[-1]
    values = prepare(expected, outputs, loss, stack.backend, stack.dtype)
    one_class = outputs > 1 and expected.size == len(expected)
    weights = take_weights(stack, sample_weight, class_weight, expected, name)
    return Data(inputs, values, one_class, weights)


def check_finite(values: Array, stack: LayerStack, name: str) -> None:
    """Raise NonFiniteError naming the first value that is not finite in the network's dtype."""
    if values.dtype.kind != "f" or not values.size:
        return
    own = float(np.finfo(values.dtype).max)
    largest = min(own, stack.precision.largest)
    wider = own > largest
    on_host = stack.backend.replays and isinstance(values, np.ndarray)
    backend = get_backend("cpu") if on_host else stack.backend
    if backend.all_finite(values) and not (
        wider and max(float(values.max()), -float(values.min())) > largest
    ):
        return
    xp = backend.xp
    finite = xp.abs(values) <= largest
    row, column = divmod(int(xp.argmin(finite)), values.shape[1])
    with np.errstate(over="ignore"):
        kind = np.float16 if stack.precision.scaled else stack.dtype
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

    def part(self, start: int, stop: int) -> Data:
        """Return rows `start` to before `stop`, without copying."""
        weights = None if self.weights is None else self.weights[start:stop]
        x, expected = self.x[start:stop], self.expected[start:stop]
        return replace(self, x=x, expected=expected, weights=weights)

    def shard(self, count: int, shard: int) -> Data:
        """Return one of `count` shards, without copying."""
        only = Shards(count, shard, shard + 1)
        return self.part(*only.span(len(self)))

    def chunks(self, rows: int) -> list[Data]:
        """Cut into parts of at most so many rows, in order, without copying."""
        return [self.part(start, start + rows) for start in range(0, len(self), rows)]


class Batches:
    """The batches of every epoch; batch k of epoch e is the same whenever it is asked for.

    Attributes
    ----------
    size, steps : int
        Rows of a whole batch, and batches of an epoch.
    sizes, own_sizes : list of int
        Rows of each batch, and how many of them are those of one's own shards.

    Raises
    ------
    ConfigurationError
        When the batch size is no whole number above 0.
    DataError
        When it is larger than the data.
    """

    def __init__(
        self,
        data: Data,
        batch_size: int | None,
        shuffle: Shuffle,
        stack: LayerStack,
        shards: Shards = ALL,
    ) -> None:
        self.size = checked_batch_size(batch_size, len(data))
        self.steps = -(-len(data) // self.size)
        self.data, self.shards = data, shards
        self.sizes = [min(self.size, len(data) - step * self.size) for step in range(self.steps)]
        spans = map(shards.span, self.sizes)
        self.own_sizes = [stop - start for start, stop in spans]
        self._stack = stack
        self.backend, self.seed = stack.backend, stack.seed
        self.shuffle = shuffle
        self._epoch = -1
        self._order: Array = None

    @property
    def rows(self) -> int:
        """Rows of an epoch."""
        return len(self.data)

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        return self.data.weights is not None

    @property
    def same_sizes(self) -> bool:
        """Whether the rows of each batch are known before it is read: `sizes` is what they are."""
        return True

    def close(self) -> None:
        """Do nothing: there are no threads and no files."""

    def batch(self, epoch: int, index: int) -> Data:
        """Return one's own rows of a batch; a later call may write over them."""
        first, last = self.shards.span(self.sizes[index])
        start, stop = index * self.size + first, index * self.size + last
        data, stack = self.data, self._stack
        if not self.shuffle:
            weights = None if data.weights is None else data.weights[start:stop]
            x = stack.read_rows(data.x, start, stop)
            return Data(x, data.expected[start:stop], weights=weights)
        if epoch != self._epoch:
            self._order = stack.backend.asarray(self.order(epoch))
            self._epoch = epoch
        rows = self._order[start:stop]
        weights = None if data.weights is None else self._gather("weights", data.weights, rows)
        expected = self._gather("expected", data.expected, rows)
        return Data(stack.gather_rows(data.x, rows), expected, weights=weights)

    def own_order(self, epoch: int, shuffled: bool = True) -> NDArray[np.int64]:
        """Return one's own rows of all batches of an epoch, one after the other."""
        order = np.arange(len(self.data))
        if self.shuffle and shuffled:
            order = self.order(epoch)
        if self.shards == ALL:
            return order
        starts = range(0, len(order), self.size)
        spans = map(self.shards.span, self.sizes)
        pairs = zip(starts, spans, strict=True)
        return np.concatenate([order[start + low : start + high] for start, (low, high) in pairs])

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the order of the rows in an epoch, shape (rows,)."""
        if not callable(self.shuffle):
            return permutation(self._stack.seed, epoch, len(self.data))
        order = np.asarray(self.shuffle(epoch))
        if order.shape != (len(self.data),) or order.dtype.kind not in "iu":
            raise ShapeError(
                f"shuffle returned {order.dtype} of shape {order.shape}; the numbers of"
                f" {len(self.data)} rows are needed"
            )
        if not 0 <= int(order.min()) <= int(order.max()) < len(self.data):
            raise DataError(
                f"shuffle returned rows {order.min()} to {order.max()}; rows from 0 to"
                f" {len(self.data) - 1} are needed"
            )
        return order.astype(np.int64)

    def _gather(self, name: str, array: Array, rows: Array) -> Array:
        stack = self._stack
        out = stack.scratch(f"batch {name}", (len(rows), *array.shape[1:]), array.dtype)
        stack.backend.gather(array, rows, out, 1.0, stack.scratch)
        return out


def checked_batch_size(batch_size: int | None, rows: int) -> int:
    """Return the batch size, or the default for None: 128, or all rows where there are fewer."""
    if batch_size is None:
        return min(DEFAULT_BATCH, rows)
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ConfigurationError(f"batch_size is {batch_size!r}; a whole number above 0 is needed")
    if batch_size > rows:
        raise DataError(
            f"batch_size is {batch_size} and the data have {rows} rows; {rows} at most is needed"
        )
    return int(batch_size)
