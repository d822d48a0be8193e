"""The dense layer: every output is an activation of a weighted sum of all inputs.

z = x W + b         weighted sum        delta = f'(z) dy     error of each unit
y = f(z)            output              dW = x^T delta       gradient of the weights
                                        dx = delta W^T       errors, weighted, for the layer below
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array, Scratch
from gpubp.nn.activations import Activation
from gpubp.nn.initializers import get_initializer
from gpubp.nn.layers.dropout import Dropout
from gpubp.nn.layers.layer import Layer, LayerArrays, Room, Shapes
from gpubp.nn.layers.normalization import (
    Normalization,
    NormalizationArrays,
    normalization_arrays,
)


@dataclass
class DenseArrays(LayerArrays):
    """A dense layer's arrays of one batch; see `LayerArrays`.

    `z` and `y` are one array where the derivative needs the output alone. `kept` is what the
    derivative is computed from, `dropped` the output after dropout.
    """

    z: Array
    y: Array
    kept: Array
    delta: Array
    dropped: Array | None
    normalized: NormalizationArrays | None
    x: Array = None

    def first(self, rows: int) -> DenseArrays:
        """Return views of the first rows."""
        z, y = self.z[:rows], self.y[:rows]
        y = z if self.y is self.z else y
        return replace(
            self,
            z=z,
            y=y,
            kept=z if self.kept is self.z else y,
            delta=self.delta[:rows],
            dropped=None if self.dropped is None else self.dropped[:rows],
            normalized=None if self.normalized is None else self.normalized.first(rows),
            x=None,
        )


class Dense(Layer):
    """A layer y = f(x W + b), or y = f(gamma normalised(x W) + b).

    Attributes
    ----------
    weight, bias : array, (inputs, outputs) and (outputs,)
        W and b, views into the network's parameters.
    dweight, dbias : array
        Views into the network's gradients, of the same shapes.
    activation : Activation
        The function f.
    dropout : Dropout
        What is done to the outputs in training.
    normalization : {"layer", "batch"} or None
        Whether the sums are normalised over the units of a row or over the batch.
    gamma, dgamma, running : array
        See `gpubp.nn.layers.normalization.Normalization`; only there with normalisation.
    """

    gamma: Array
    dgamma: Array

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: Activation,
        dropout: Dropout,
        normalization: str | None,
        initializer: str,
        scratch: Scratch,
        last: bool,
    ) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.activation, self.dropout, self.normalization = activation, dropout, normalization
        self.initializer, self.scratch, self._last = initializer, scratch, last
        self.running: Array | None = None
        self._norm: Normalization | None = None

    def forward(self, ops: Any, x: Array, p: DenseArrays, logits: bool = False) -> Array:
        """Return y = f(z), z = x W + b; with `logits`, z."""
        p.x = x
        f, y = ("identity", p.z) if logits else (self.activation.name, p.y)
        ops.multiply(x, self._weight_read, p.z)  # z = x W
        if self._norm is not None:
            self._norm.forward(ops, p.z, self._kept_by_norm(p), p.learning)
        ops.activate(f, p.z, self.bias, y, self.scratch)  # z = z + b, y = f(z)
        return self.dropout.apply(ops, y, p.dropped, p, self.scratch)

    def backward(
        self,
        ops: Any,
        p: DenseArrays,
        dx: Array | None,
        logits: bool = False,
        gradients: bool = True,
    ) -> None:
        """Turn dy, in ``p.delta``, into delta, dW, db and dx."""
        delta, dbias = p.delta, self.dbias if gradients else self._unused("dbias", self.dbias)
        f = "identity" if logits else self.activation.name
        self.dropout.apply(ops, delta, delta, p, self.scratch)
        ops.activate_backward(f, p.kept, delta, delta, dbias, self.scratch)  # delta = f'(z) dy
        if self._norm is not None:
            dgamma = self.dgamma if gradients else self._unused("dgamma", self.dgamma)
            kept = self._kept_by_norm(p)
            self._norm.backward(ops, delta, kept, dbias, dgamma, p.learning)
        if gradients:
            ops.multiply(p.x.T, delta, self.dweight)  # dW = x^T delta
        if dx is not None:
            ops.multiply(delta, self._weight_read.T, dx)  # dx = delta W^T

    def follow(self, ops: Any, p: DenseArrays, scaling: Array) -> None:
        """Let the moments of the last batch count in the running ones."""
        if self._norm is not None:
            self._norm.follow(ops, self._kept_by_norm(p), scaling)

    def parameter_shapes(self) -> Shapes:
        """Return the shapes of weight, bias and gamma."""
        shapes: Shapes = {"weight": (self.inputs, self.outputs), "bias": (self.outputs,)}
        return shapes | ({"gamma": (self.outputs,)} if self.normalization else {})

    def running_shapes(self) -> Shapes:
        """Return the shape of the running mean and variance of batch normalisation."""
        return {"running": (2, self.outputs)} if self.normalization == "batch" else {}

    def initialize(self, values: Mapping[str, NDArray[Any]], draw: np.random.Generator) -> None:
        """Draw the weights; biases begin at 0, gamma and the running variance at 1."""
        weight = values["weight"]
        initializer = get_initializer(self.initializer, self.activation.initializer)
        weight[...] = initializer(draw, *weight.shape)
        if "gamma" in values:
            values["gamma"].fill(1)
        if "running" in values:
            values["running"][1] = 1

    def arrays(self, room: Room) -> DenseArrays:
        """Return the arrays of one batch."""
        shape = (room.rows, self.outputs)
        kind = room.dtype if self._last else room.stored
        y = room.make(shape, kind)
        keeps_sum = self.activation.keeps == "x"
        z = room.make(shape, kind) if self._last or keeps_sum else y
        return DenseArrays(
            z,
            y,
            z if keeps_sum else y,
            room.make(shape, room.stored),
            room.make(shape, kind) if self.dropout.rate else None,
            normalization_arrays(self.normalization == "batch", room, self.outputs)
            if self.normalization
            else None,
        )

    def bind(self, of: Callable[[str], Array], gradient: Callable[[str], Array]) -> None:
        """Take the arrays of the parameters as attributes."""
        super().bind(of, gradient)
        if self.normalization:
            over_batch = self.normalization == "batch"
            self._norm = Normalization(
                over_batch, self.scratch, self.gamma, self.dgamma, self.running
            )

    def bind_read(self, of: Callable[[str], Array]) -> None:
        """Take the weight that products read."""
        self._weight_read = of("weight")

    def weighted_sum(self, backend: Any, p: LayerArrays) -> Array:
        """Return z = x W + b anew: z itself may have been overwritten by y."""
        return backend.xp.dot(p.x, self.weight) + self.bias

    def slope(self, backend: Any, z: Array, y: Array) -> Array:
        """Return the derivative of the outputs y by the weighted sums z, each by its own."""
        if self.activation.name == "softmax":
            return y * (1 - y)
        ones = backend.xp.ones_like(y)
        kept = z if self.activation.keeps == "x" else y
        unused = backend.xp.empty_like(self.bias)
        backend.activate_backward(self.activation.name, kept, ones, ones, unused, self.scratch)
        return ones

    def __repr__(self) -> str:
        norm = f", {self.normalization} norm" if self.normalization else ""
        return f"Dense({self.inputs} -> {self.outputs}, {self.activation.name}{norm})"

    def _unused(self, name: str, like: Array) -> Array:
        return self.scratch(name, like.shape, like.dtype)

    @staticmethod
    def _kept_by_norm(p: DenseArrays) -> NormalizationArrays:
        assert p.normalized is not None, "arrays were made for a layer that normalises"
        return p.normalized
