"""One dense layer: its place in the flat buffers, its activation, its dropout."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from gpubp.activations import Activation
from gpubp.backends import Array


@dataclass(frozen=True, eq=False)
class Dense:
    """A layer y = f(x @ weight + bias).

    Attributes
    ----------
    weight, bias : array
        Views into the network's parameters, shapes (inputs, outputs) and (outputs,).
    dweight, dbias : array
        Views into the network's gradients, same shapes.
    activation : Activation
        The function f.
    dropout : float
        Share of the outputs dropped in training.
    """

    weight: Array
    bias: Array
    dweight: Array
    dbias: Array
    activation: Activation
    dropout: float = 0.0

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return int(self.weight.shape[0])

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return int(self.weight.shape[1])

    def __repr__(self) -> str:
        return f"Dense({self.inputs} -> {self.outputs}, {self.activation.name})"


def parameter_count(inputs: int, outputs: int) -> int:
    """Count the numbers of one layer: its weight and its bias."""
    return (inputs + 1) * outputs


def split(buffer: Array, sizes: tuple[int, ...]) -> list[tuple[Array, Array]]:
    """Cut a flat buffer into (weight, bias) views, layer after layer."""
    views, start = [], 0
    for inputs, outputs in pairwise(sizes):
        middle = start + inputs * outputs
        stop = middle + outputs
        views.append((buffer[start:middle].reshape(inputs, outputs), buffer[middle:stop]))
        start = stop
    return views
