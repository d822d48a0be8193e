"""What every kind of layer is, and how it gets its parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array, Scratch
from gpubp.nn.activations import Activation, get_activation
from gpubp.nn.layers.dropout import Rates

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Room:
    """Where the arrays of one batch are made.

    Attributes
    ----------
    rows : int
        Rows of the batch.
    make : callable
        Returns an array of a shape and a dtype.
    dtype, stored : dtype
        What the network computes in, and what hidden layers store their outputs in.
    """

    rows: int
    make: Callable[[tuple[int, ...], np.dtype[Any]], Array]
    dtype: np.dtype[Any]
    stored: np.dtype[Any]


class LayerArrays(ABC):
    """A layer's arrays of one batch.

    Attributes
    ----------
    x : array, (rows, layer inputs)
        What the layer read in the last forward pass.
    z, y : array, (rows, layer outputs)
        Weighted sum and output.
    delta : array, (rows, layer outputs)
        Gradient of the loss by what the layer passes on, then by its weighted sum.
    step : int, array or None
        The step that selects what dropout drops; None for a pass without dropout.
    rates : mapping or None
        What the rates of dropout are in each step, where they change.
    learning : bool
        Whether batches are normalised by their own statistics.
    """

    x: Array
    z: Array
    y: Array
    delta: Array
    step: Any = None
    rates: Rates | None = None
    learning: bool = False

    @abstractmethod
    def first(self, rows: int) -> LayerArrays:
        """Return views of the first rows."""


class Layer(ABC):
    """One layer of a network.

    A kind of layer is a class that says which parameters it has, how they begin, which arrays a
    batch needs, and how to go forward and back. `ops` is what carries the operations out: a
    backend, or a `gpubp.backends.program.Tracer` that notes them.

    Attributes
    ----------
    kind : str or None
        What a person calls such a layer; None for a dense one.
    inputs, outputs : int
        Numbers that a row has before and after the layer.
    scratch : Scratch
        Temporary arrays of the network.
    activation : Activation
        The function f of y = f(z); identity where a kind has none.
    weight, bias, dweight, dbias : array
        What most kinds have: parameters that penalties act on and such that they leave alone.
    """

    kind: str | None = None
    inputs: int
    outputs: int
    scratch: Scratch
    activation: Activation = get_activation("identity")
    weight: Array
    bias: Array
    dweight: Array
    dbias: Array

    @abstractmethod
    def parameter_shapes(self) -> Shapes:
        """Return the shapes of what is trained, in the order in which it lies in memory."""

    def running_shapes(self) -> Shapes:
        """Return the shapes of what follows the batches without being trained."""
        return {}

    @property
    def size(self) -> int:
        """The number of trained numbers, which lie side by side."""
        return sum(map(prod, self.parameter_shapes().values()))

    @abstractmethod
    def initialize(self, values: Mapping[str, NDArray[Any]], draw: np.random.Generator) -> None:
        """Write the first values of all parameters, which are zero before."""

    @abstractmethod
    def arrays(self, room: Room) -> LayerArrays:
        """Return the arrays that a batch needs."""

    @abstractmethod
    def forward(self, ops: Any, x: Array, p: Any, logits: bool = False) -> Array:
        """Return what the layer makes of x (rows, inputs); with `logits`, without activation."""

    @abstractmethod
    def backward(
        self, ops: Any, p: Any, dx: Array | None, logits: bool = False, gradients: bool = True
    ) -> None:
        """Turn the gradient in ``p.delta`` into those by the parameters and by x.

        `dx`, (rows, inputs), may be None where it is not needed; without `gradients` the gradients
        by the parameters are not written.
        """

    def weights(self) -> list[tuple[Array, Array]]:
        """Return what penalties act on, each with its gradient: matrices, no biases."""
        return [(self.weight, self.dweight)]

    def weighted_sum(self, backend: Any, p: LayerArrays) -> Array:
        """Return the weighted sums of the last forward pass, which are the outputs without f."""
        return p.z

    def output(self, p: Any) -> Array:
        """Return what the layer passed on in the last forward pass, which was without dropout."""
        return p.y

    def slope(self, backend: Any, z: Array, y: Array) -> Array:
        """Return the derivative of the outputs y by the weighted sums z, each by its own."""
        return backend.xp.ones_like(y)

    def follow(self, ops: Any, p: Any, scaling: Array) -> None:  # noqa: B027, most do nothing
        """Let the last batch count in what follows the batches."""

    def bind(self, of: Callable[[str], Array], gradient: Callable[[str], Array]) -> None:
        """Take the arrays of the parameters, by name, as attributes: weight, and dweight."""
        for name in self.parameter_shapes():
            setattr(self, name, of(name))
            setattr(self, f"d{name}", gradient(name))
        for name in self.running_shapes():
            setattr(self, name, of(name))

    def bind_read(self, of: Callable[[str], Array]) -> None:  # noqa: B027
        """Take what products read: the parameters themselves, or their copy in half precision."""


def embedded_names(inputs: Sequence[str], embedded: Sequence[Any], width: int) -> list[str]:
    """Return names of what an embedding hands on: an embedded input's numbered, the others behind.

    Parameters
    ----------
    inputs
        Names of the inputs.
    embedded
        For each input something true where it is embedded.
    width : int
        Numbers that an embedded input becomes.
    """
    pairs = list(zip(inputs, embedded, strict=True))
    numbered = [f"{name} [{k + 1}]" for name, inside in pairs if inside for k in range(width)]
    return numbered + [name for name, inside in pairs if not inside]


def placed(backend: Any, values: Any, dtype: Any) -> Array:
    """Return an array of a backend that holds these values and is to be kept."""
    host = np.asarray(values, dtype)
    array = backend.empty(host.shape, host.dtype)
    array[...] = backend.asarray(host)
    return array


def cut(buffer: Array, start: int, shapes: Shapes) -> Iterator[tuple[str, Array]]:
    """Cut a flat buffer from `start` on into views of these shapes, one after the other."""
    for name, shape in shapes.items():
        stop = start + prod(shape)
        yield name, buffer[start:stop].reshape(shape)
        start = stop
