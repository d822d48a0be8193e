"""Backpropagation: forward through the layers, the loss, and back through the layers.

    x  ->  layer 1  ->  ...  ->  last layer  ->  outputs  ->  loss
    dx <-  layer 1  <-  ...  <-  last layer  <-  gradient of the loss by the outputs

What each layer does on the way is in `gpubp.nn.layers`; here they are put one behind the other,
over flat buffers of parameters and gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from gpubp.backends import Array, Scratch
from gpubp.backends.scheduled import Scheduled
from gpubp.nn.buffers import Buffers
from gpubp.nn.layers import Dense
from gpubp.nn.layers.dropout import Rates
from gpubp.nn.losses import Loss, kernel_name
from gpubp.nn.parameter_layout import ParameterLayout


class LayerStack(ParameterLayout):
    """The layers of a network, forward and back through all of them.

    Attributes
    ----------
    kept : Any
        What training keeps from one fit to the next, see `gpubp.training.kept_steps`; forgotten
        when what it was made with lies elsewhere.
    passes : dict
        Forward passes by their rows, see `gpubp.training.prepared_pass`; forgotten likewise.
    """

    def use_seed(self, seed: int) -> None:
        """Decide dropout, and what is drawn from now on, by another seed; parameters stay."""
        self.spec, self.seed = self.spec.with_seed(seed), seed
        for layer in self.layers:
            if isinstance(layer, Dense):
                layer.dropout = replace(layer.dropout, seed=seed)
        self._forget_buffers()  # steps that are kept with them have the old seed

    def _bind(self) -> None:
        """Give the layers their views of the parameters and gradients, and forget all buffers."""
        super()._bind()
        self._buffers: dict[int, Buffers] = {}
        self.passes: dict[int, Any] = {}
        self.kept: Any = None

    def beside(self) -> LayerStack:
        """Return a stack of the same parameters, where they lie, with temporary arrays of its own.

        Another thread may do passes with it meanwhile.
        """
        other = copy(self)
        other.scratch, other.host_scratch = Scratch(self.backend.xp), Scratch(np)
        other.layers = other._make_layers()
        other._bind()
        return other

    def _forget_buffers(self) -> None:
        """Forget the arrays of batches, and steps and passes that use them."""
        self._buffers.clear()
        self.passes.clear()
        self.kept = None

    @property
    def largest_rows(self) -> int:
        """Rows of the largest batch there are buffers for."""
        return max(self._buffers, default=0)

    def buffers(self, rows: int) -> Buffers:
        """Return the buffers for a batch, made on the first call for more rows than before.

        Whoever keeps addresses of them, as a recorded step does, keeps the buffers too: they are
        forgotten here when larger ones are made.
        """
        buffers = self._buffers.get(rows)
        if buffers is None:
            largest = self.largest_rows
            if rows > largest or largest not in self._buffers:
                self._forget_buffers()
                buffers = Buffers(rows, self.layers, self.backend, self.dtype, self.stored)
            else:
                buffers = self._buffers[largest].first(rows)
            self._buffers[rows] = buffers
        return buffers

    def threads_for(self, rows: int) -> AbstractContextManager[None]:
        """Return the context in which passes over so many rows are done one by one."""
        return self.backend.threads_for(
            rows * max(layer.inputs * layer.outputs for layer in self.layers)
        )

    def forward(
        self,
        ops: Any,
        x: Array,
        buffers: Buffers,
        step: Any = None,
        logits: bool = False,
        learning: bool | None = None,
        rates: Rates | None = None,
    ) -> None:
        """Run a batch x (rows, inputs) through all layers.

        Parameters
        ----------
        ops : Backend or Tracer
            What carries the operations out, or notes them.
        step : int, array or None
            Selects the dropout masks; None is a pass without dropout.
        logits : bool
            Whether the last activation is left out.
        learning : bool or None
            Whether batches are normalised by their own statistics; None where dropout is on.
        rates : mapping or None
            For each rate of dropout what it is in each step; None where they stay the same.
        """
        last = self.layers[-1]
        for layer, arrays in zip(self.layers, buffers.layers, strict=True):
            arrays.step, arrays.rates = step, rates
            arrays.learning = step is not None if learning is None else learning
            x = layer.forward(ops, x, arrays, logits and layer is last)

    def loss(
        self,
        ops: Any,
        buffers: Buffers,
        expected: Array,
        loss: Loss,
        weights: Array | None = None,
        scaling: Array | None = None,
        parameter: Scheduled | None = None,
    ) -> None:
        """Write the batch's loss and, into ``buffers.delta``, its gradient.

        A loss with `logits_of` acts on the logits, and its gradient is by them. `parameter` is its
        own setting in each step; None where that stays the same.
        """
        last = buffers.layers[-1]
        ops.loss(
            kernel_name(loss, expected),
            loss.first_parameter if parameter is None else parameter,
            last.z if loss.logits_of else last.y,
            expected,
            last.delta,
            buffers.loss,
            self.scratch,
            None if weights is None else (weights, buffers.weight),
            scaling,
        )

    def backward(
        self,
        ops: Any,
        buffers: Buffers,
        logits: bool = False,
        dx: Array | None = None,
        gradients: bool = True,
        written: Callable[[int], None] | None = None,
    ) -> None:
        """Run ``buffers.delta`` back through all layers.

        Parameters
        ----------
        logits : bool
            Whether that is the gradient by the logits, not by the outputs.
        dx : array, (rows, inputs), or None
            Where the gradient by the batch is to go.
        gradients : bool
            Whether the gradients by the parameters are written.
        written : callable or None
            Called with each layer's number once its gradients are written.
        """
        last = len(self.layers) - 1
        for index in range(last, -1, -1):
            below = buffers.layers[index - 1].delta if index else dx
            self.layers[index].backward(
                ops, buffers.layers[index], below, logits and index == last, gradients
            )
            if written is not None:
                written(index)


def first_non_finite(stack: LayerStack, buffers: Buffers) -> str:
    """Name the first place in a forward pass that holds a number that is not finite."""
    for number, (layer, arrays) in enumerate(zip(stack.layers, buffers.layers, strict=True), 1):
        places = {"inputs": arrays.x}
        places |= {name: getattr(layer, name) for name in layer.parameter_shapes()}
        places |= {"weighted sum": arrays.z, "output": arrays.y}
        for what, array in places.items():
            if not stack.backend.all_finite(array):
                return f"layer {number} ({what})"
    return "the loss"
