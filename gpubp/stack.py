"""A stack of dense layers over flat buffers: forward and backward, the only place they meet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import compress
from typing import Any

import numpy as np

from gpubp.activations import Activation, get_activation
from gpubp.backends import Array, Backend, Scratch, get_backend
from gpubp.errors import ConfigurationError, ShapeError
from gpubp.initializers import get_initializer
from gpubp.layers import Dense, parameter_count, split
from gpubp.losses import Loss, kernel_name
from gpubp.precision import Precision, get_precision
from gpubp.random import DROPOUT, INITIAL_WEIGHTS, checked_seed, generator
from gpubp.sparse_rows import SparseRows


class Buffers:
    """All arrays of one pass over a batch of `rows` rows; made once, views of them for fewer rows.

    Attributes
    ----------
    inputs : list of array
        What each layer reads, (rows, layer inputs); ``inputs[0]`` is the batch itself.
    z, y : list of array
        Weighted sum and output of each layer, (rows, layer outputs); one and the same array
        where the derivative needs the output alone.
    dropped : list of array or None
        Output after dropout.
    delta : list of array
        Gradient of the loss by the layer's output, then by its weighted sum.
    loss : array, ()
        Mean loss of the batch.
    count, weight : array, ()
        Number of rows, and what they weigh where they have weights.
    """

    def __init__(
        self, rows: int, layers: Sequence[Dense], backend: Backend, dtype: Any, stored: Any
    ) -> None:
        last = layers[-1]
        outputs = [((rows, layer.outputs), dtype if layer is last else stored) for layer in layers]
        stored_outputs = [((rows, layer.outputs), stored) for layer in layers]
        twice = [layer is last or layer.activation.keeps == "x" for layer in layers]
        dropping = [layer.dropout > 0 for layer in layers]
        arrays = iter(
            backend.empty_all(
                [
                    *outputs,
                    *compress(outputs, twice),
                    *compress(stored_outputs, dropping),
                    *stored_outputs,
                ]
            )
        )
        self.rows = rows
        self.y = [next(arrays) for _ in layers]
        self.z = [next(arrays) if two else y for two, y in zip(twice, self.y, strict=True)]
        self.dropped = [next(arrays) if drops else None for drops in dropping]
        self.delta = [next(arrays) for _ in layers]
        self.loss = backend.xp.zeros((), dtype)
        self.count = backend.xp.full((), rows, dtype)
        self.weight = backend.xp.zeros((), dtype)
        self.inputs: list[Array] = [None] * len(layers)
        self.dropout_step: Any = None
        self.plans: dict[tuple[Any, ...], Any] = {}  # see gpubp.training.whole_step

    def kept(self, index: int, layer: Dense) -> Array:
        """Return what a layer's derivative is computed from: its weighted sum or its output."""
        return self.z[index] if layer.activation.keeps == "x" else self.y[index]

    def first(self, rows: int) -> Buffers:
        """Return views of the first rows of every array."""
        views = object.__new__(Buffers)
        views.rows = rows
        views.count = self.count.copy()
        views.count.fill(rows)
        views.weight = self.weight
        views.y = [y[:rows] for y in self.y]
        views.z = [
            view if z is y else z[:rows] for z, y, view in zip(self.z, self.y, views.y, strict=True)
        ]
        views.dropped = [None if array is None else array[:rows] for array in self.dropped]
        views.delta = [delta[:rows] for delta in self.delta]
        views.loss = self.loss
        views.inputs = [None] * len(self.inputs)
        views.dropout_step = None
        views.plans = {}
        return views


class LayerStack:
    """Dense layers with their parameters in one flat buffer and their gradients in another.

    Attributes
    ----------
    sizes : tuple of int
        Number of inputs, of neurons in each hidden layer, of outputs.
    layers : tuple of Dense
        The layers, first to last.
    parameters, gradients : array, (count,)
        All weights and biases, layer after layer, and the gradients of the loss by them.
    backend : Backend
        Where the arrays live.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Sequence[str],
        output: str,
        backend: str | Backend,
        dtype: Any,
        seed: int | None,
        dropout: float | Sequence[float],
        initializer: str,
        input_scale: float,
        precision: str | None,
    ) -> None:
        self.sizes = _checked_sizes(sizes)
        self.precision: Precision = get_precision(precision, dtype)
        self.dtype = self.precision.dtype
        self.seed = checked_seed(seed)
        self.initializer = initializer
        self.input_scale = _checked_scale(input_scale)
        hidden = len(self.sizes) - 2
        names = _one_a_layer("activation", activation, hidden)
        self._activations = tuple(get_activation(str(name)) for name in [*names, output])
        self._dropout = (*_checked_dropout(_one_a_layer("dropout", dropout, hidden)), 0.0)
        self._place(get_backend(backend), self._initial_parameters())

    def _initial_parameters(self) -> Array:
        count = sum(map(parameter_count, self.sizes, self.sizes[1:]))
        parameters = np.zeros(count, self.dtype)
        views = split(parameters, self.sizes)
        for index, (activation, (weight, _)) in enumerate(
            zip(self._activations, views, strict=True)
        ):
            draw = get_initializer(self.initializer, activation.initializer)
            weight[...] = draw(generator(self.seed, INITIAL_WEIGHTS + index), *weight.shape)
        return parameters

    def _place(self, backend: Backend, parameters: Array) -> None:
        """Put the parameters on a backend and lay out everything that hangs on them."""
        self.backend = backend.for_precision(self.precision)
        with self.backend.on_device():
            self._lay_out(parameters)

    def _lay_out(self, parameters: Array) -> None:
        backend = self.backend
        self.parameters = backend.empty(parameters.shape, self.dtype)
        self.parameters[...] = backend.asarray(parameters, self.dtype)
        self.gradients = backend.empty(parameters.shape, self.dtype)
        self.gradients.fill(0)
        self.stored = self.precision.stored if backend.replays else self.dtype
        self.half: Array | None = None
        if self.stored != self.dtype:
            self.half = backend.empty(parameters.shape, self.stored)
        self.layers = tuple(
            Dense(weight, bias, dweight, dbias, activation, dropout)
            for (weight, bias), (dweight, dbias), activation, dropout in zip(
                split(self.parameters, self.sizes),
                split(self.gradients, self.sizes),
                self._activations,
                self._dropout,
                strict=True,
            )
        )
        # what products read: the parameters themselves, or their copy in half precision
        self._read = split(self.parameters if self.half is None else self.half, self.sizes)
        self._largest_weight = max(layer.weight.size for layer in self.layers)
        self.scratch, self._host_scratch = Scratch(backend.xp), Scratch(np)
        self._buffers: dict[int, Buffers] = {}

    def refresh(self) -> None:
        """Copy the parameters into half precision, if that is used: they may have been written."""
        if self.half is not None:
            self.backend.convert(self.parameters, self.half)

    @property
    def largest_rows(self) -> int:
        """Rows of the largest batch there are buffers for."""
        return max(self._buffers, default=0)

    @property
    def output(self) -> Activation:
        """The activation of the last layer."""
        return self._activations[-1]

    def buffers(self, rows: int) -> Buffers:
        """Return the buffers for a batch, made on the first call for more rows than before."""
        found = self._buffers.get(rows)
        if found is None:
            largest = max(self._buffers, default=0)
            if rows > largest:
                self._buffers.clear()
                found = Buffers(rows, self.layers, self.backend, self.dtype, self.stored)
            else:
                found = self._buffers[largest].first(rows)
            self._buffers[rows] = found
        return found

    def read_rows(self, x: Array, start: int = 0, stop: int | None = None) -> Array:
        """Return rows of stored inputs as the first layer reads them, without a copy if so.

        What is copied lies in a buffer that the next call writes over.
        """
        part = x[start:stop]
        if isinstance(part, SparseRows):
            part = part.dense(self._host_scratch("sparse rows", part.shape, part.dtype))
        if self._on_host(part):
            part = self.backend.asarray(part)
        if part.dtype == self.stored and self.input_scale == 1:
            return part
        return self.gather_rows(part, self.scratch.arange(len(part)))

    def _on_host(self, x: Array) -> bool:
        """Tell whether inputs were too large for the device's memory."""
        return isinstance(x, SparseRows) or (self.backend.replays and isinstance(x, np.ndarray))

    def gather_rows(self, x: Array, rows: Array) -> Array:
        """Return these rows of stored inputs as `read_rows` does, in a buffer."""
        if self._on_host(x):
            return self.read_rows(x[self.backend.to_numpy(rows)])
        out = self.scratch("batch x", (len(rows), x.shape[1]), self.stored)
        self.backend.gather(x, rows, out, self.input_scale, self.scratch)
        return out

    def threads_for(self, rows: int) -> AbstractContextManager[None]:
        """Return the context to run passes over so many rows in."""
        return self.backend.threads_for(rows * self._largest_weight)

    def run_forward(self, x: Array, dropout_step: Any = None, logits_only: bool = False) -> Buffers:
        """Run a loaded batch x (rows, inputs) through all layers; with a step, dropout is on.

        With `logits_only` the last activation is left out: ``z[-1]`` is written, ``y[-1]`` not.
        """
        buffers = self.buffers(len(x))
        buffers.dropout_step = dropout_step
        for index, layer in enumerate(self.layers):
            buffers.inputs[index] = x
            z, y, name = buffers.z[index], buffers.y[index], layer.activation.name
            if logits_only and index == len(self.layers) - 1:
                name, y = "identity", z
            weight, bias = self._read[index]
            self.backend.dense_forward(x, weight, (layer.bias, bias), name, z, y, self.scratch)
            x = self._drop(index, y, buffers.dropped[index], dropout_step)
        return buffers

    def run_loss(
        self,
        buffers: Buffers,
        expected: Array,
        loss: Loss,
        weights: Array | None = None,
        scaling: Array | None = None,
    ) -> bool:
        """Write the batch's loss and its gradient; return whether that is by the logits."""
        fused = bool(loss.logits_of)
        outputs = buffers.z[-1] if fused else buffers.y[-1]
        self.backend.loss(
            kernel_name(loss, expected),
            loss.parameter,
            outputs,
            expected,
            buffers.delta[-1],
            buffers.loss,
            self.scratch,
            None if weights is None else (weights, buffers.weight),
            scaling,
        )
        return fused

    def run_backward(
        self, buffers: Buffers, from_logits: bool, dx: Array | None = None, gradients: bool = True
    ) -> None:
        """Run ``buffers.delta[-1]`` back through all layers.

        With `gradients` the flat gradients are written; into `dx`, (rows, inputs), goes the
        gradient by the batch.
        """
        for index in reversed(range(len(self.layers))):
            layer, delta = self.layers[index], buffers.delta[index]
            last = index == len(self.layers) - 1
            name = "identity" if last and from_logits else layer.activation.name
            kept, x = buffers.kept(index, layer), buffers.inputs[index]
            if gradients:
                self.backend.dense_backward(
                    name, kept, delta, x, layer.dweight, layer.dbias, self.scratch
                )
            else:
                dbias = self.scratch("dbias", delta.shape[1:], self.dtype)
                self.backend.activate_backward(name, kept, delta, delta, dbias, self.scratch)
            below = buffers.delta[index - 1] if index else dx
            if below is not None:
                self.backend.multiply(delta, self._read[index][0].T, below)
            if index:
                # the mask of the layer below is drawn again from its counter, not stored
                self._drop(index - 1, below, below, buffers.dropout_step)

    def slope(self, index: int, z: Array, y: Array) -> Array:
        """Return the derivative of a layer's outputs y by its weighted sums z, each by its own."""
        layer = self.layers[index]
        if layer.activation.name == "softmax":
            return y * (1 - y)
        ones = self.backend.xp.ones_like(y)
        unused = self.backend.xp.empty_like(layer.bias)
        kept = z if layer.activation.keeps == "x" else y
        self.backend.activate_backward(
            layer.activation.name, kept, ones, ones, unused, self.scratch
        )
        return ones

    def _drop(self, index: int, array: Array, out: Array | None, step: Any) -> Array:
        rate = self.layers[index].dropout
        if step is None or not rate:
            return array
        self.backend.dropout(array, out, rate, (self.seed, DROPOUT + index, step), self.scratch)
        return out


def _checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    checked = tuple(sizes)
    whole = all(isinstance(size, int | np.integer) and size >= 1 for size in checked)
    if len(checked) < 2 or not whole:
        raise ConfigurationError(
            f"sizes are {list(checked)!r}; at least two whole numbers above 0 are needed: inputs,"
            " hidden layers, outputs"
        )
    return tuple(int(size) for size in checked)


def _one_a_layer(what: str, value: Any, hidden: int) -> list[Any]:
    """Spread one value over the hidden layers, or check that there is one for each."""
    if isinstance(value, str | int | float):
        return [value] * hidden
    values = list(value)
    if len(values) != hidden:
        raise ShapeError(
            f"{what} has {len(values)} entries; one, or one for each of the {hidden} hidden"
            " layers, is needed"
        )
    return values


def _checked_scale(scale: float) -> float:
    if not 0 < scale < math.inf:
        raise ConfigurationError(
            f"input_scale is {scale!r}; a finite number above 0 is needed, such as 1 / 255"
        )
    return float(scale)


def _checked_dropout(rates: list[float]) -> list[float]:
    for rate in rates:
        if not 0 <= rate < 1:
            raise ConfigurationError(f"dropout is {rate!r}; a number from 0 to below 1 is needed")
    return [float(rate) for rate in rates]
