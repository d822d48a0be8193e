"""What can be read of a network."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.backends import Array, Backend
from gpubp.backends.precision import Precision
from gpubp.nn.activations import Activation
from gpubp.nn.backprop import LayerStack
from gpubp.nn.layers import Layer
from gpubp.nn.spec import NetworkSpec
from gpubp.text import ShownAsText


class NetworkView(ShownAsText):
    """A network's description, its layers and where they lie, read from its stack of layers."""

    stack: LayerStack

    @property
    def spec(self) -> NetworkSpec:
        """What the network is, as files describe it."""
        return self.stack.spec

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of inputs, of neurons in each hidden layer, of outputs."""
        return self.stack.sizes

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, first to last."""
        return self.stack.layers

    @property
    def output(self) -> Activation:
        """The activation of the last layer."""
        return self.stack.output

    @property
    def parameters(self) -> Array:
        """All weights and biases, (count,), layer after layer; written in place."""
        return self.stack.parameters

    @parameters.setter
    def parameters(self, values: Array) -> None:
        if values is not self.stack.parameters:  # as it is in ``net.parameters += 1``
            self.stack.parameters[...] = values

    @property
    def gradients(self) -> Array:
        """The gradients of the loss by the parameters, (count,)."""
        return self.stack.gradients

    @property
    def backend(self) -> Backend:
        """Where the arrays live; its `reason` says why."""
        return self.stack.backend

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of parameters and results."""
        return self.stack.dtype

    @property
    def precision(self) -> Precision:
        """What a GPU computes in."""
        return self.stack.precision

    @property
    def seed(self) -> int:
        """Decides initial weights, row order and dropout."""
        return self.stack.seed

    @property
    def input_scale(self) -> float:
        """What every input is multiplied by as a batch is read."""
        return self.stack.input_scale

    def __dir__(self) -> list[str]:
        """Leave out what the parts of this package use among themselves."""
        return [name for name in super().__dir__() if name != "stack"]

    def __repr__(self) -> str:
        spec = self.spec
        return (
            f"Network({list(spec.sizes)}, activation={list(spec.activation)},"
            f" output={spec.output!r}, backend={self.backend.name!r}, dtype={spec.dtype!r})"
        )
