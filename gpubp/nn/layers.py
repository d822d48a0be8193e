"""One dense layer: its place in the flat buffers, its activation, its dropout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gpubp.backends import Array
from gpubp.nn.activations import Activation


@dataclass(frozen=True, eq=False)
class Dense:
    """A layer y = f(x @ weight + bias), or y = f(gamma * normalised(x @ weight) + bias).

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
    normalization : {"layer", "batch"} or None
        Whether what the units sum up is normalised over the units or over the batch.
    gamma, dgamma : array, (outputs,), or None
        What the normalised sums are multiplied by, and the gradient by it.
    running : array, (2, outputs), or None
        Mean and variance of the sums over batches, for batch normalisation.
    """

    weight: Array
    bias: Array
    dweight: Array
    dbias: Array
    activation: Activation
    dropout: float = 0.0
    normalization: str | None = None
    gamma: Array | None = None
    dgamma: Array | None = None
    running: Array | None = None

    @property
    def size(self) -> int:
        """Number of its trained parameters, which lie side by side."""
        return parameter_count(self.inputs, self.outputs, self.normalization is not None)

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return int(self.weight.shape[0])

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return int(self.weight.shape[1])

    def __repr__(self) -> str:
        norm = f", {self.normalization} norm" if self.normalization else ""
        return f"Dense({self.inputs} -> {self.outputs}, {self.activation.name}{norm})"


def parameter_count(inputs: int, outputs: int, normalized: bool) -> int:
    """Count the trained numbers of one layer: its weight, its bias, its gamma."""
    return (inputs + 1 + normalized) * outputs


def split(
    buffer: Array, sizes: tuple[int, ...], normalized: Sequence[bool]
) -> list[tuple[Array, Array, Array | None]]:
    """Cut a flat buffer into (weight, bias, gamma) views, layer after layer."""
    views, start = [], 0
    for (inputs, outputs), own in zip(pairwise(sizes), normalized, strict=True):
        middle = start + inputs * outputs
        stop = middle + outputs
        gamma = buffer[stop : stop + outputs] if own else None
        views.append((buffer[start:middle].reshape(inputs, outputs), buffer[middle:stop], gamma))
        start = stop + outputs * own
    return views
