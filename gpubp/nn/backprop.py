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
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array, Backend, Scratch
from gpubp.backends.precision import Precision, get_precision
from gpubp.backends.random import DROPOUT, INITIAL_WEIGHTS, generator
from gpubp.backends.scheduled import Scheduled
from gpubp.errors import ShapeError
from gpubp.nn.activations import Activation, get_activation
from gpubp.nn.buffers import Buffers
from gpubp.nn.layers import Dense, Layer
from gpubp.nn.layers.dropout import Dropout, Rates
from gpubp.nn.layers.first import first_layers
from gpubp.nn.layers.layer import cut
from gpubp.nn.losses import Loss, kernel_name
from gpubp.nn.spec import NetworkSpec
from gpubp.nn.spec_checks import check_memory

# Numbers before the gradients, for what goes along where processes add them up; so many that the
# gradients begin where memory is aligned for the widest instructions and products.
HEADER = 64


class LayerStack:
    """The layers of a network, with their parameters in one flat buffer, gradients in another.

    Attributes
    ----------
    spec : NetworkSpec
        What the network is.
    layers : tuple of Layer
        The layers, first to last.
    parameters, gradients : array, (count,)
        All parameters, layer after layer, and the gradients of the loss by those that are trained.
    trained : array
        The parameters without the running statistics, which lie behind what is trained.
    exchanged : array, (64 + count,)
        The gradients, with the numbers before them that processes exchange along with them.
    half : array or None
        A copy of the trained parameters in half precision, which products read.
    backend : Backend
        Where the arrays live.
    scratch : Scratch
        Temporary arrays.
    kept : Any
        What training keeps from one fit to the next, see `gpubp.training.kept_steps`; forgotten
        when what it was made with lies elsewhere.
    passes : dict
        Forward passes by their rows, see `gpubp.training.prepared_pass`; forgotten likewise.
    """

    def __init__(
        self, spec: NetworkSpec, backend: Backend, parameters: NDArray[Any] | None = None
    ) -> None:
        self.spec = spec
        self.sizes, self.seed, self.input_scale = spec.sizes, spec.seed, spec.input_scale
        self.precision: Precision = get_precision(spec.precision, spec.dtype)
        self.dtype = self.precision.dtype
        self.layers: tuple[Layer, ...] = ()
        self.place(backend, parameters)

    def place(self, backend: Backend, parameters: NDArray[Any] | None) -> None:
        """Put the network on a backend, with these parameters or, for None, its initial ones.

        Raises
        ------
        ShapeError
            When it has another number of parameters; nothing is allocated for it then.
        ConfigurationError
            When its initial parameters, with their gradients, need more memory than is free.
        """
        self.backend = backend.for_precision(self.precision)
        with self.backend.on_device():
            self.scratch, self.host_scratch = Scratch(self.backend.xp), Scratch(np)
            self.layers = self._make_layers()
            count = self._trained_count + self._running_count
            if parameters is not None and parameters.shape != (count,):
                raise ShapeError(
                    f"parameters have shape {parameters.shape}; ({count},) is needed for a network"
                    f" {list(self.sizes)}"
                )
            if parameters is None:
                sizes = f"sizes are {list(self.sizes)}"
                check_memory(sizes, 2 * count * self.dtype.itemsize, self.backend)
            first = self._initial_parameters() if parameters is None else parameters
            self._lay_out(first)

    def use_seed(self, seed: int) -> None:
        """Decide dropout, and what is drawn from now on, by another seed; parameters stay."""
        self.spec, self.seed = self.spec.with_seed(seed), seed
        for layer in self.layers:
            if isinstance(layer, Dense):
                layer.dropout = replace(layer.dropout, seed=seed)
        self._forget_buffers()  # steps that are kept with them have the old seed

    def _make_layers(self) -> tuple[Layer, ...]:
        spec, count = self.spec, len(self.sizes) - 1
        names, rates = (*spec.activation, spec.output), (*spec.dropout, 0.0)
        norms, widths = (*spec.normalization, None), list(spec.sizes)
        residual, mixing = (*spec.residual, False), (*spec.mixing, False)
        first = first_layers(spec, self.backend, self.dtype, self.scratch)
        if first:
            widths[0] = first[-1].outputs
        dense = [
            Dense(
                widths[index],
                widths[index + 1],
                get_activation(names[index]),
                Dropout(rates[index], self.seed, DROPOUT + index),
                norms[index],
                spec.initializer,
                self.scratch,
                last=index == count - 1,
                residual=residual[index],
                mixing=mixing[index],
                weights=spec.weights,
            )
            for index in range(count)
        ]
        return (*first, *dense)

    def _initial_parameters(self) -> Array:
        parameters = np.zeros(self._trained_count + self._running_count, self.dtype)
        for index, (layer, values) in enumerate(
            zip(self.layers, self._views(parameters), strict=True)
        ):
            layer.initialize(values, generator(self.seed, INITIAL_WEIGHTS + index))
        return parameters

    def lie_in(self, place: Array) -> None:
        """Move the parameters to a place (count,) on the same backend, such as a part of a buffer.

        Whoever holds views or prepared steps of them from before must make them anew.
        """
        self._lay_out(self.parameters, place)

    def _lay_out(self, parameters: Array, place: Array = None) -> None:
        backend, trained = self.backend, self._trained_count
        self.parameters = backend.empty(parameters.shape, self.dtype) if place is None else place
        self.parameters[...] = backend.asarray(parameters, self.dtype)
        self.trained = self.parameters[:trained] if self._running_count else self.parameters
        self.exchanged = backend.empty((HEADER + trained,), self.dtype)
        self.exchanged.fill(0)
        self.gradients = self.exchanged[HEADER:]
        self.stored = backend.stored(self.precision)
        self.half: Array | None = None
        if self.stored != self.dtype:
            self.half = backend.empty(self.trained.shape, self.stored)
        self._bind()

    def _bind(self) -> None:
        """Give the layers their views of the parameters and gradients, and forget all buffers."""
        values, gradients = self._views(self.parameters), self._views(self.gradients)
        read = values if self.half is None else self._views(self.half)
        for index, layer in enumerate(self.layers):
            layer.bind(values[index].__getitem__, gradients[index].__getitem__)
            layer.bind_read(read[index].__getitem__)
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

    def _views(self, flat: Array) -> list[dict[str, Array]]:
        """Cut a flat buffer into views by name, for each layer; also running statistics it has.

        What is trained lies in front, layer after layer; what follows the batches lies behind.
        """
        views = [
            dict(cut(flat, start, layer.parameter_shapes()))
            for layer, start in zip(self.layers, self.starts, strict=False)
        ]
        place = self._trained_count
        if len(flat) > place:
            for layer, of_layer in zip(self.layers, views, strict=True):
                for name, view in cut(flat, place, layer.running_shapes()):
                    of_layer[name] = view
                    place += view.size
        return views

    @property
    def starts(self) -> list[int]:
        """Where the trained parameters of each layer begin, and where the last layer's end."""
        return list(accumulate((layer.size for layer in self.layers), initial=0))

    @property
    def exchanged_starts(self) -> list[int]:
        """Where the gradients of each layer begin in what is exchanged, and where the last end."""
        return [HEADER + start for start in self.starts]

    @property
    def _trained_count(self) -> int:
        return self.starts[-1]

    @property
    def _running_count(self) -> int:
        shapes = [shape for layer in self.layers for shape in layer.running_shapes().values()]
        return sum(int(np.prod(shape)) for shape in shapes)

    @property
    def output(self) -> Activation:
        """The activation of the last layer."""
        return self.layers[-1].activation

    def refresh(self, ops: Any = None) -> None:
        """Copy the parameters into half precision, if that is used: they may have been written."""
        if self.half is not None:
            (self.backend if ops is None else ops).convert(self.trained, self.half)

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
