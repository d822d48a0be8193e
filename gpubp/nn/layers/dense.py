"""The dense layer: every output is an activation of a weighted sum of all inputs.

z = x W + b         weighted sum        delta = f'(z) dy     error of each unit
y = f(z)            output              dW = x^T delta       gradient of the weights
                                        dx = delta W^T       errors, weighted, for the layer below

In the NTK form of the weights z = x W / sqrt(inputs) + b, W begins as numbers of N(0, 1), and dW
and dx have the same factor (Jacot, Gabriel and Hongler 2018).
A residual layer passes on y = f(z) + x, and dx = delta W^T + dy (He, Zhang, Ren and Sun 2016).
A mixing layer has y = z + a (f(z) - z) with a trained factor a of each unit that begins at 1, and
delta = dy (1 + a (f'(z) - 1)), da = sum over the rows of dy (f(z) - z) (RealMLP's parametric
activations: Holzmueller, Grinsztajn and Steinwart 2024).
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

    `z` and `y` are one array where the derivative needs the output alone; a mixing layer keeps z
    and computes f(z) anew. `kept` is what the derivative is computed from. `passed` is what the
    layer passes on where that is not y: the output after dropout, with the inputs added by a
    residual layer.
    """

    z: Array
    y: Array
    kept: Array
    delta: Array
    passed: Array | None
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
            passed=None if self.passed is None else self.passed[:rows],
            normalized=None if self.normalized is None else self.normalized.first(rows),
            x=None,
        )


class Dense(Layer):
    """A layer y = f(x W + b), or y = f(gamma normalised(x W) + b); with x added, if residual.

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
    residual : bool
        Whether the inputs, as many as the outputs, are added to the outputs, after dropout.
    mixing : bool
        Whether a trained factor of each unit mixes f(z) with z.
    ntk : bool
        Whether the weights have the NTK form.
    scale : float
        What products with W are multiplied by: 1 / sqrt(inputs) in that form, else 1.
    mix, dmix : array, (outputs,)
        Those factors and their gradients; only there with mixing.
    gamma, dgamma, running : array
        See `gpubp.nn.layers.normalization.Normalization`; only there with normalisation.
    """

    mix: Array
    dmix: Array
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
        residual: bool = False,
        mixing: bool = False,
        weights: str = "standard",
    ) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.activation, self.dropout, self.normalization = activation, dropout, normalization
        self.initializer, self.scratch, self._last = initializer, scratch, last
        self.residual, self.mixing = residual, mixing
        self.ntk = weights == "ntk"
        self.scale = inputs**-0.5 if self.ntk else 1.0
        self.running: Array | None = None
        self._norm: Normalization | None = None

    def forward(self, ops: Any, x: Array, p: DenseArrays, logits: bool = False) -> Array:
        """Return y = f(z), z = x W + b, and x added if residual; with `logits`, z."""
        p.x = x
        ops.multiply(x, self._weight_read, p.z, self.scale)  # z = x W
        if self._norm is not None:
            self._norm.forward(ops, p.z, self._kept_by_norm(p), p.learning)
        y = self._activate(ops, p, logits)
        y = self.dropout.apply(ops, y, p.passed, p, self.scratch)
        if not self.residual:
            return y
        ops.add(y, x, p.passed)  # y = f(z) + x
        return p.passed

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
        dy = self._kept_aside(ops, delta) if self.residual and dx is not None else None
        self.dropout.apply(ops, delta, delta, p, self.scratch)
        if self.mixing:
            dmix = self.dmix if gradients else self._unused("dmix", self.dmix)
            self._mix_backward(ops, p.z, delta, dbias, dmix)
        else:
            f = "identity" if logits else self.activation.name
            ops.activate_backward(f, p.kept, delta, delta, dbias, self.scratch)  # delta = f'(z) dy
        if self._norm is not None:
            dgamma = self.dgamma if gradients else self._unused("dgamma", self.dgamma)
            kept = self._kept_by_norm(p)
            self._norm.backward(ops, delta, kept, dbias, dgamma, p.learning)
        if gradients:
            ops.multiply(p.x.T, delta, self.dweight, self.scale)  # dW = x^T delta
        if dx is not None:
            ops.multiply(delta, self._weight_read.T, dx, self.scale)  # dx = delta W^T
        if dy is not None:
            ops.add(dx, dy, dx)  # dx = delta W^T + dy

    def follow(self, ops: Any, p: DenseArrays, scaling: Array) -> None:
        """Let the statistics of the last batch count in the running ones."""
        if self._norm is not None:
            self._norm.follow(ops, self._kept_by_norm(p), scaling)

    def parameter_shapes(self) -> Shapes:
        """Return the shapes of weight, bias, mix and gamma."""
        shapes: Shapes = {"weight": (self.inputs, self.outputs), "bias": (self.outputs,)}
        optional = {"mix": self.mixing, "gamma": self.normalization}
        return shapes | {name: (self.outputs,) for name, used in optional.items() if used}

    def running_shapes(self) -> Shapes:
        """Return the shape of the running mean and variance of batch normalisation."""
        return {"running": (2, self.outputs)} if self.normalization == "batch" else {}

    def initialize(self, values: Mapping[str, NDArray[Any]], draw: np.random.Generator) -> None:
        """Draw the weights; biases begin at 0, mix, gamma and the running variance at 1.

        In the NTK form it is the scaled weights that have the initializer's distribution:
        ``"auto"``, there ``"lecun_normal"``, is N(0, 1) for the weights themselves.
        """
        weight = values["weight"]
        automatic = "lecun_normal" if self.ntk else self.activation.initializer
        initializer = get_initializer(self.initializer, automatic)
        weight[...] = initializer(draw, *weight.shape) / self.scale  # scaled, it is what was drawn
        for name in {"mix", "gamma"} & values.keys():
            values[name].fill(1)
        if "running" in values:
            values["running"][1] = 1

    def arrays(self, room: Room) -> DenseArrays:
        """Return the arrays of one batch."""
        shape = (room.rows, self.outputs)
        kind = room.dtype if self._last else room.stored
        y = room.make(shape, kind)
        keeps_sum = self.activation.keeps == "x" or self.mixing
        z = room.make(shape, kind) if self._last or keeps_sum else y
        return DenseArrays(
            z,
            y,
            z if keeps_sum else y,
            room.make(shape, room.stored),
            room.make(shape, kind) if self.dropout.rate or self.residual else None,
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
        return self.scale * backend.xp.dot(p.x, self.weight) + self.bias

    def output(self, p: DenseArrays) -> Array:
        """Return y, or f(z) + x of a residual layer, of a forward pass without dropout."""
        return p.passed if self.residual else p.y

    def slope(self, backend: Any, z: Array, y: Array) -> Array:
        """Return the derivative of the outputs y by the weighted sums z, each by its own."""
        if self.activation.name == "softmax":
            return y * (1 - y)
        ones = backend.xp.ones_like(y)
        if self.mixing:
            unused = (backend.xp.empty_like(self.bias) for _ in range(2))
            self._mix_backward(backend, z, ones, *unused)
            return ones
        kept = z if self.activation.keeps == "x" else y
        unused = backend.xp.empty_like(self.bias)
        backend.activate_backward(self.activation.name, kept, ones, ones, unused, self.scratch)
        return ones

    def __repr__(self) -> str:
        norm = f", {self.normalization} norm" if self.normalization else ""
        forms = "".join(
            f", {name}" for name in ("residual", "mixing", "ntk") if getattr(self, name)
        )
        return f"Dense({self.inputs} -> {self.outputs}, {self.activation.name}{norm}{forms})"

    def _activate(self, ops: Any, p: DenseArrays, logits: bool) -> Array:
        """Return y = f(z) or z + a (f(z) - z), z = z + b; with `logits`, z."""
        if self.mixing and not logits:
            ops.mix(self.activation.name, p.z, self.bias, self.mix, p.y, self.scratch)
            return p.y
        f, y = ("identity", p.z) if logits else (self.activation.name, p.y)
        ops.activate(f, p.z, self.bias, y, self.scratch)
        return y

    def _mix_backward(self, ops: Any, z: Array, delta: Array, dbias: Array, dmix: Array) -> None:
        """Turn dy, in delta, into dy (1 + a (f'(z) - 1)), and write db and da."""
        f = self.activation.name
        ops.mix_backward(f, z, self.mix, delta, delta, dbias, dmix, self.scratch)

    def _kept_aside(self, ops: Any, delta: Array) -> Array:
        """Return a copy of the gradient by what the layer passes on, which delta is no more."""
        dy = self.scratch("skipped", delta.shape, delta.dtype)
        ops.convert(delta, dy)
        return dy

    def _unused(self, name: str, like: Array) -> Array:
        return self.scratch(name, like.shape, like.dtype)

    @staticmethod
    def _kept_by_norm(p: DenseArrays) -> NormalizationArrays:
        assert p.normalized is not None, "arrays were made for a layer that normalises"
        return p.normalized
