"""What a backend must provide, and the scratch memory it is lent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = Any  # numpy.ndarray or cupy.ndarray; CuPy cannot be named, it may not be installed


WholeStep = Callable[[Array, Array, tuple[float, ...]], None]


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

    def asarray(self, array: Any, dtype: DTypeLike | None = None) -> Array:
        """Return a C-contiguous array of this backend, copied only when needed."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return an array to be kept and computed in, its content undefined."""

    def to_numpy(self, array: Array) -> NDArray[Any]:
        """Return a NumPy array on the host, waiting for the device."""

    def gather(self, array: Array, rows: Array, out: Array, scale: float, scratch: Scratch) -> None:
        """Write the rows of `array` with the given indices, times `scale`, into `out`."""

    def all_finite(self, array: Array) -> bool:
        """Tell whether no number of a floating array is NaN or infinite."""

    def threads_for(self, multiplications: int) -> AbstractContextManager[None]:
        """Return the context for a step whose largest product has so many multiplications."""

    def activate(self, name: str, z: Array, bias: Array, y: Array, scratch: Scratch) -> None:
        """Add the bias to z and write y = f(z); z keeps the weighted sum unless it is y itself."""

    def activate_backward(
        self, name: str, kept: Array, dy: Array, dz: Array, dbias: Array, scratch: Scratch
    ) -> None:
        """Write dz = f'(kept) * dy and its column sums dbias; dz may be dy.

        `kept` is z or y, as the activation's `keeps` in `gpubp.activations` says.
        """

    def loss(
        self, name: str, y: Array, expected: Array, dy: Array, mean: Array, scratch: Scratch
    ) -> None:
        """Write the batch's mean loss into `mean`, shape (), and its gradient into dy."""

    def dropout(
        self, x: Array, y: Array, rate: float, key: tuple[int, int, int], scratch: Scratch
    ) -> None:
        """Write y = x with elements dropped by the random numbers of key (seed, stream, step)."""

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

        Returns
        -------
        callable or None
            Called with x, expected and the optimizer's scalars. When the loss is not finite the
            parameters and the state are left as they were.
        """

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it."""
