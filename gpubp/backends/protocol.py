"""What a backend must provide, in groups, and the scratch memory it is lent.

A method is here only where NumPy and CuPy differ or a kernel exists; everything else goes through
`xp`. All arrays are C-contiguous and of one floating dtype; a method writes into the arrays it is
given and allocates nothing that `scratch` does not keep.

Operations of a training step read what changes from one step to the next from arrays. A *clock* is
an array of int64: the step since the network was made, the batch of the epoch, the row of the
optimizer's settings; then the same three of the step to come, which a GPU may write early. A
*scaling* is an array of float32: what the loss is multiplied by, whether a number was not finite,
the steps since the first was changed. A CPU never multiplies the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpubp.backends.layer_protocol import (
    Categories,
    Embeddings,
    Mixing,
    Normalization,
    PeriodicEmbeddings,
)
from gpubp.backends.precision import Precision
from gpubp.backends.scheduled import Number
from gpubp.backends.scratch import Array, Scratch, Slots
from gpubp.backends.step_protocol import Losses, Regularisation, Updates


class Lockstep(Protocol):
    """Trainings that do their steps together; see `gpubp.backends.gpu.lockstep`."""

    def run(self, works: Sequence[Callable[[], None]], interrupted: Callable[[], object]) -> None:
        """Do trainings, none of which raises, until all have ended; tell them of Ctrl-C."""

    def end_by(self, error: BaseException) -> None:
        """Have every training end by an error when it asks for steps."""


class Addresses(Protocol):
    """Where arrays lie that others may take the place of; see `gpubp.backends.gpu.addresses`."""

    def lead_to(self, arrays: Sequence[Array]) -> bool:
        """Let steps read these arrays; return False, and change nothing, where they cannot."""


class Arrays(Protocol):
    """Making, moving and converting arrays."""

    def asarray(self, array: Any, dtype: DTypeLike | None = None) -> Array:
        """Return a C-contiguous array of this backend, copied only when needed."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return an array to be kept and computed in, its content undefined."""

    def to_numpy(self, array: Array) -> NDArray[Any]:
        """Return a NumPy array on the host, waiting for the device."""

    def put(self, array: Array, values: Any) -> None:
        """Write numbers of the host, an array or a sequence, into an array of the same shape."""

    def slots(self, kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]) -> Slots:
        """Return places for batches of arrays of these shapes and dtypes."""

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

    def gather_batch(
        self, array: Array, order: Array, clock: Array, batch: int, scale: float, out: Array
    ) -> None:
        """Write the rows of the clock's batch, times `scale`, into `out`; `batch` rows a batch."""

    def shuffle(self, seed: int, stream: int, epoch: int, order: Array) -> None:
        """Write the rows as `gpubp.backends.random.permutation` orders them, int64."""


class Dense(Protocol):
    """Products, activations and dropout."""

    def multiply(self, a: Array, b: Array, out: Array, scale: float = 1.0) -> None:
        """Write scale times the matrix product of a and b, either possibly a transposed view."""

    def add(self, a: Array, b: Array, out: Array) -> None:
        """Write the sum of two arrays of one shape; `out` may be a or b, and has the dtype of a."""

    def activate(self, name: str, z: Array, bias: Array, y: Array, scratch: Scratch) -> None:
        """Add the bias to z and write y = f(z); z keeps the weighted sum unless it is y itself."""

    def activate_backward(
        self, name: str, kept: Array, dy: Array, dz: Array, dbias: Array, scratch: Scratch
    ) -> None:
        """Write dz = f'(kept) * dy and its column sums dbias; dz may be dy.

        `kept` is z or y, as the activation's `keeps` in `gpubp.nn.activations` says.
        """

    def dropout(
        self, x: Array, y: Array, rate: Number, key: tuple[int, int, Any], scratch: Scratch
    ) -> None:
        """Write y = x with elements dropped by the random numbers of key (seed, stream, step).

        The rate is a number or a scheduled one, the step a number or a clock.
        """


class Execution(Protocol):
    """How a piece of work is carried out."""

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function at this place among the operations."""

    def addresses(self, arrays: Sequence[Array]) -> Addresses | None:
        """Return what lets recorded steps read these arrays, and later others in their place.

        None where steps are not worth keeping, or must find their arrays where they are.
        """

    def record(
        self,
        work: Callable[[Any], None],
        parameters: Array = None,
        half: Array | None = None,
        addresses: Any = None,
    ) -> Callable[[int], None]:
        """Return what does a training step so many times, the fastest way the backend has.

        Parameters
        ----------
        work : callable
            Does one step with the operations of what it is handed: this backend, or a
            `gpubp.backends.program.Tracer`. It reads what changes from step to step from arrays
            that stay where they are.
        parameters, half : array or None
            All parameters, and their copy in half precision.
        addresses : Addresses or None
            Those of arrays that the step gathers its batch from, see `addresses`.
        """

    def planned(self, work: Callable[[Any], None]) -> Callable[[int], None] | None:
        """Return what does a forward pass so many times, as `record` takes one, in one call.

        None where each operation is done by itself.
        """

    def lockstep(self) -> Lockstep | None:
        """Return what does trainings together; None where each processor does some of them."""

    def threads_for(self, multiplications: int) -> AbstractContextManager[None]:
        """Return the context for a step whose largest product has so many multiplications."""

    def on_device(self) -> AbstractContextManager[Any]:
        """Return the context in which this backend's device is the current one."""

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it."""


@runtime_checkable
class Backend(
    Arrays,
    Dense,
    Normalization,
    Categories,
    Embeddings,
    Mixing,
    PeriodicEmbeddings,
    Losses,
    Regularisation,
    Updates,
    Execution,
    Protocol,
):
    """Array library and kernels for one device."""

    name: str  # "cpu" or "gpu"
    device: str  # what a person calls the device
    reason: str  # why this backend was chosen
    alternative: Backend | None  # what `fit` may take instead; None where this one was named
    xp: Any  # the module, numpy or cupy
    storage: frozenset[str]  # names of dtypes that `gather` reads, besides the arrays' own
    chunk_rows: int  # rows at a time where nothing is learnt
    plans: bool  # whether `planned` is worth asking: else no room is made for a pass
    workspace: int  # bytes that matrix products may use besides their operands
    notes: list[str]  # what is slower than it could be, and why

    def for_precision(self, precision: Precision) -> Backend:
        """Return this backend, computing in a precision.

        Raises
        ------
        BackendUnavailableError
            When it cannot.
        """

    def stored(self, precision: Precision) -> np.dtype[Any]:
        """Return what hidden layers store their outputs in."""
