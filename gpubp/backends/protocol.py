"""What a backend must provide, and the scratch memory it is lent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpubp.backends.gpu.kernel_table import Elementwise
from gpubp.backends.precision import Precision

Array = Any  # numpy.ndarray or cupy.ndarray; CuPy cannot be named, it may not be installed


WholeStep = Callable[[Array, Array, Array | None, tuple[float, ...]], None]


NORM_EPSILON = 1e-5  # added to a variance; PyTorch's


class Normalization(Protocol):
    """Layer and batch normalisation: n = (x - mean) / sqrt(variance + epsilon), in place in n.

    `inverse` is 1 / sqrt(...), of each row or each column.
    """

    def rows(self, n: Array, inverse: Array, scratch: Scratch) -> None:
        """Normalise each row; inverse (rows,)."""

    def columns(self, n: Array, inverse: Array, moments: Array, scratch: Scratch) -> None:
        """Normalise each column; inverse (columns,), mean and unbiased variance (2, columns)."""

    def fixed_columns(self, n: Array, inverse: Array, moments: Array) -> None:
        """Normalise each column by the moments given."""

    def scale_columns(self, n: Array, gamma: Array, z: Array) -> None:
        """Write z = gamma * n; z may be n."""

    def rows_backward(
        self,
        n: Array,
        inverse: Array,
        gamma: Array,
        delta: Array,
        dgamma: Array,
        scratch: Scratch,
    ) -> None:
        """Turn the gradient by gamma * n + bias into that by x, in place, and write dgamma."""

    def columns_backward(
        self,
        n: Array,
        inverse: Array,
        gamma: Array,
        delta: Array,
        dbias: Array,
        dgamma: Array,
        fixed: bool,
        scratch: Scratch,
    ) -> None:
        """Do the same for columns, given dbias; `fixed` where the moments were."""


class Scratch:
    """Temporary arrays of one network, made on first use and then kept.

    A step asks for the same names, shapes and dtypes each time, so it allocates nothing after
    the first. A scratch belongs to one network and is not to be shared between threads.
    """

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._arrays: dict[tuple[str, tuple[int, ...], np.dtype[Any]], Array] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return the array of this name, shape and dtype; its content is undefined."""
        key = (name, shape, dtype)
        array = self._arrays.get(key)
        if array is None:
            array = self._arrays[key] = self._xp.empty(shape, dtype)
        return array

    def arange(self, length: int) -> Array:
        """Return the integers from 0 to length - 1, not to be written to."""
        key = ("arange", (length,), np.dtype(np.intp))
        array = self._arrays.get(key)
        if array is None:
            array = self._arrays[key] = self._xp.arange(length, dtype=np.intp)
        return array


@runtime_checkable
class Backend(Protocol):
    """Array library and kernels for one device.

    A method is here only where NumPy and CuPy differ or a kernel exists; everything else goes
    through `xp`. All arrays are C-contiguous and of one floating dtype; a method writes into the
    arrays it is given and allocates nothing that `scratch` does not keep.
    """

    name: str  # "cpu" or "gpu"
    device: str  # what a person calls the device
    reason: str  # why this backend was chosen
    xp: Any  # the module, numpy or cupy
    storage: frozenset[str]  # names of dtypes that `gather` reads, besides the arrays' own
    chunk_rows: int  # rows at a time where nothing is learnt
    replays: bool  # whether steps are to be recorded: then it is a ReplayBackend
    workspace: int  # bytes that matrix products may use besides their operands
    notes: list[str]  # what is slower than it could be, and why
    normalization: Normalization

    def for_precision(self, precision: Precision) -> Backend:
        """Return this backend, computing in a precision.

        Raises
        ------
        BackendUnavailableError
            When it cannot.
        """

    def on_device(self) -> AbstractContextManager[Any]:
        """Return the context in which this backend's device is the current one."""

    def asarray(self, array: Any, dtype: DTypeLike | None = None) -> Array:
        """Return a C-contiguous array of this backend, copied only when needed."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return an array to be kept and computed in, its content undefined."""

    def to_numpy(self, array: Array) -> NDArray[Any]:
        """Return a NumPy array on the host, waiting for the device."""

    def empty_all(self, kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]) -> list[Array]:
        """Return arrays of these shapes and dtypes that are kept and given up together."""

    def free_memory(self) -> int:
        """Return how many bytes of the device's memory are free; 0 where that is not known."""

    def holds(self, size: int) -> bool:
        """Tell whether data of so many bytes had better lie in the device's memory."""

    def convert(self, array: Array, out: Array) -> None:
        """Copy an array into one of another dtype; uint16 holds bfloat16."""

    def gather(self, array: Array, rows: Array, out: Array, scale: float, scratch: Scratch) -> None:
        """Write the rows of `array` with the given indices, times `scale`, into `out`."""

    def all_finite(self, array: Array) -> bool:
        """Tell whether no number of a floating array is NaN or infinite."""

    def threads_for(self, multiplications: int) -> AbstractContextManager[None]:
        """Return the context for a step whose largest product has so many multiplications."""

    def multiply(self, a: Array, b: Array, out: Array) -> None:
        """Write the matrix product of a and b, either of them possibly a transposed view."""

    def dense_forward(
        self,
        x: Array,
        weight: Array,
        bias: tuple[Array, Array],
        name: str,
        z: Array,
        y: Array,
        scratch: Scratch,
    ) -> None:
        """Do a layer: z = x @ weight, then `activate`; `bias` comes as computed and as stored."""

    def dense_backward(
        self,
        name: str,
        kept: Array,
        delta: Array,
        x: Array,
        dweight: Array,
        dbias: Array,
        scratch: Scratch,
    ) -> None:
        """Do `activate_backward` in place in delta, then dweight = x.T @ delta."""

    def activate(self, name: str, z: Array, bias: Array, y: Array, scratch: Scratch) -> None:
        """Add the bias to z and write y = f(z); z keeps the weighted sum unless it is y itself."""

    def activate_backward(
        self, name: str, kept: Array, dy: Array, dz: Array, dbias: Array, scratch: Scratch
    ) -> None:
        """Write dz = f'(kept) * dy and its column sums dbias; dz may be dy.

        `kept` is z or y, as the activation's `keeps` in `gpubp.nn.activations` says.
        """

    def loss(
        self,
        name: str,
        parameter: float,
        y: Array,
        expected: Array,
        dy: Array,
        mean: Array,
        scratch: Scratch,
        weighting: tuple[Array, Array] | None = None,
        scaling: Array | None = None,
    ) -> None:
        """Write the batch's mean loss into `mean`, shape (), and its gradient into dy.

        Parameters
        ----------
        name, parameter : str, float
            The loss, and its own setting where it has one.
        weighting : tuple of array or None
            The weights of the rows, (rows,), and where their sum is to go, (); the mean is weighted
            with them, and 0 where their sum is.
        scaling : array or None
            Loss and gradient are multiplied by its first number; for a ReplayBackend alone.
        """

    def dropout(
        self, x: Array, y: Array, rate: float, key: tuple[int, int, Any], scratch: Scratch
    ) -> None:
        """Write y = x with elements dropped by the random numbers of key (seed, stream, step).

        A ReplayBackend may be given its clock for the step.
        """

    def penalize(
        self,
        weight: Array,
        dweight: Array,
        l1: float,
        l2: float,
        scratch: Scratch,
        scaling: Array | None = None,
        per: Array | None = None,
    ) -> None:
        """Add l1 sign(weight) + l2 weight to a weight's gradient, divided by `per`, shape ().

        `scaling` as in `loss`. Where `per` is 0 nothing is added.
        """

    def add_squares(
        self,
        weights: Sequence[Array],
        factor: float,
        per: Array,
        mean: Array,
        scratch: Scratch,
        scaling: Array | None = None,
    ) -> None:
        """Add factor * (sum of the squares of all weights) / per to `mean`; as `penalize` does."""

    def clip(self, gradients: Array, limit: float, scaling: Array | None = None) -> None:
        """Hold each gradient to -limit..limit."""

    def clip_norm(
        self, gradients: Array, limit: float, scratch: Scratch, scaling: Array | None = None
    ) -> None:
        """Shorten the vector of all gradients to this norm."""

    def accumulate(self, gradients: Array, share: float, first: bool, total: Array) -> None:
        """Add share * gradients to `total`, or write them there if they are the first.

        The gradients are lost.
        """

    def average(
        self,
        values: Array,
        decay: float,
        mean: Array,
        scratch: Scratch,
        scaling: Array | None = None,
    ) -> None:
        """Move a running mean on: mean = decay * mean + (1 - decay) * values.

        Where the scaling notes that a value was not finite, it stays.
        """

    def limit_norms(self, weight: Array, limit: float, scratch: Scratch) -> None:
        """Shorten each column of a weight, what leads into a unit, to this norm."""

    def update(
        self,
        name: str,
        gradients: Array,
        parameters: Array,
        state: tuple[Array, ...],
        scalars: tuple[float, ...],
        scratch: Scratch,
    ) -> None:
        """Do one optimizer step on the flat buffers, in place."""

    def plan_step(
        self,
        layers: Sequence[tuple[Any, ...]],
        loss: str,
        on_logits: bool,
        update: str,
        flat: tuple[Array, ...],
        mean: Array,
        parameter: float = 0.0,
        alpha: float = 0.0,
    ) -> WholeStep | None:
        """Return a whole training step in one call; None where passes one by one are as fast.

        Parameters
        ----------
        layers
            For each layer (weight, bias, dweight, dbias, z, y, delta, kept, activation).
        loss, update : str
            Their kernels.
        on_logits : bool
            Whether the loss acts on the last z, and the last activation is left out.
        flat : tuple of array
            Parameters, gradients, and the optimizer's state.
        mean : array, ()
            Where the mean loss goes.
        parameter : float
            The loss's own setting.
        alpha : float
            Of a penalty alpha / 2 * sum(weight**2), divided by the weight of the batch and counted
            in the loss.

        Returns
        -------
        callable or None
            Called with x, expected, the weights of the rows or None, and the optimizer's scalars.
            When the loss is not finite the parameters and the state are left as they were.
        """

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it."""


class ReplayBackend(Backend, Protocol):
    """A backend whose steps are recorded: what changes between them lies in device memory.

    A clock is an array of int64: the step since the network was made, the batch of the epoch, the
    row of the optimizer's settings. A scaling is an array of float32: what gradients are multiplied
    by, whether one of them was not finite, steps since the first was changed.
    """

    def kernel(self, kernel: Elementwise) -> Any:
        """Return a kernel to call, made of its text."""

    def choose(self, key: str, ways: Mapping[str, Callable[[], None]]) -> str:
        """Name the fastest of several ways to do the same, the same one in every run."""

    def add_up(self, values: Array, total: Array, scratch: Scratch) -> None:
        """Write the sum of a vector into `total`, shape ()."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return the work as something to call, which is recorded once and then replayed."""

    def shuffle(self, seed: int, stream: int, epoch: int, order: Array) -> None:
        """Write the rows as `gpubp.backends.random.permutation` orders them, int64."""

    def gather_batch(
        self, array: Array, order: Array, clock: Array, batch: int, scale: float, out: Array
    ) -> None:
        """Write the rows of the clock's batch, times `scale`, into `out`; `batch` rows a batch."""

    def find_overflow(self, values: Array, scaling: Array) -> None:
        """Note in the scaling whether a value is not finite; the update then changes nothing."""

    def update_on_clock(
        self,
        name: str,
        gradients: Array,
        parameters: Array,
        state: tuple[Array, ...],
        settings: Array,
        clock: Array,
        scaling: Array,
        half: Array | None,
    ) -> None:
        """Do `update` with the clock's row of the settings; copy the parameters into `half`."""

    def finish_step(
        self,
        mean: Array,
        losses: Array,
        clock: Array,
        scaling: Array,
        growth: int,
        updated: bool = True,
    ) -> None:
        """Note the loss, move the clock on, and adapt the scale unless `growth` is 0.

        A step that has not `updated` the parameters leaves settings and scale as they are.
        The scale is halved after an overflow and doubled after `growth` steps without one.
        """
