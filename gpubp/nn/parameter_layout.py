"""Where the parameters of a network and their gradients lie: in one flat buffer each."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array, Backend, Scratch
from gpubp.backends.precision import Precision, get_precision
from gpubp.backends.random import DROPOUT, INITIAL_WEIGHTS, generator
from gpubp.errors import ShapeError
from gpubp.nn.activations import Activation, get_activation
from gpubp.nn.layers import Dense, Layer
from gpubp.nn.layers.dropout import Dropout
from gpubp.nn.layers.first import first_layers
from gpubp.nn.layers.layer import cut
from gpubp.nn.spec import NetworkSpec
from gpubp.nn.spec_checks import check_memory

# Numbers before the gradients, for what goes along where processes add them up; so many that the
# gradients begin where memory is aligned for the widest instructions and products.
HEADER = 64


class ParameterLayout:
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
        """Give the layers their views of the parameters and gradients."""
        values, gradients = self._views(self.parameters), self._views(self.gradients)
        read = values if self.half is None else self._views(self.half)
        for index, layer in enumerate(self.layers):
            layer.bind(values[index].__getitem__, gradients[index].__getitem__)
            layer.bind_read(read[index].__getitem__)

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
