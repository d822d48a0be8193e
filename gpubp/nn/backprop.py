"""A stack of dense layers over flat buffers: forward and backward, the only place they meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from gpubp.backends import Array, Backend, Scratch, get_backend
from gpubp.backends.precision import Precision, get_precision
from gpubp.backends.random import DROPOUT, INITIAL_WEIGHTS, checked_seed, generator
from gpubp.data.sparse_rows import SparseRows
from gpubp.nn.activations import Activation, get_activation
from gpubp.nn.arguments import (
    checked_dropout,
    checked_normalization,
    checked_scale,
    checked_sizes,
    one_a_layer,
)
from gpubp.nn.buffers import Buffers
from gpubp.nn.initializers import get_initializer
from gpubp.nn.layers import Dense, parameter_count, split
from gpubp.nn.losses import Loss, kernel_name
from gpubp.nn.normalization import normalize, normalize_backward

# Numbers before the gradients, for what goes along where processes add them up; so many that the
# gradients begin where memory is aligned for the widest instructions and products.
HEADER = 64


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
    exchanged : array, (64 + count,)
        The gradients, with the numbers before them that processes exchange along with them.
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
        normalization: str | Sequence[str | None] | None = None,
    ) -> None:
        self.sizes = checked_sizes(sizes)
        self.precision: Precision = get_precision(precision, dtype)
        self.dtype = self.precision.dtype
        self.seed = checked_seed(seed)
        self.initializer = initializer
        self.input_scale = checked_scale(input_scale)
        hidden = len(self.sizes) - 2
        names = one_a_layer("activation", activation, hidden)
        self._activations = tuple(get_activation(str(name)) for name in [*names, output])
        self._dropout = (*checked_dropout(one_a_layer("dropout", dropout, hidden)), 0.0)
        norms = one_a_layer("normalization", normalization, hidden)
        self.normalization = (*map(checked_normalization, norms), None)
        self._normalized = [norm is not None for norm in self.normalization]
        self._place(get_backend(backend), self._initial_parameters())

    def _initial_parameters(self) -> Array:
        parameters = np.zeros(self._trained_count + self._running_count, self.dtype)
        views = split(parameters, self.sizes, self._normalized)
        for index, (activation, (weight, _, gamma)) in enumerate(
            zip(self._activations, views, strict=True)
        ):
            draw = get_initializer(self.initializer, activation.initializer)
            weight[...] = draw(generator(self.seed, INITIAL_WEIGHTS + index), *weight.shape)
            if gamma is not None:
                gamma.fill(1)
        for running in self._running_views(parameters):
            if running is not None:
                running[1] = 1
        return parameters

    @property
    def _trained_count(self) -> int:
        return sum(map(parameter_count, self.sizes, self.sizes[1:], self._normalized))

    @property
    def _running_count(self) -> int:
        batch = [norm == "batch" for norm in self.normalization]
        return sum(2 * size for size, own in zip(self.sizes[1:], batch, strict=True) if own)

    def _running_views(self, parameters: Array) -> list[Array | None]:
        """Return each layer's running mean and variance, which lie behind all that is trained."""
        views: list[Array | None] = []
        start = self._trained_count
        for size, norm in zip(self.sizes[1:], self.normalization, strict=True):
            own = 2 * size if norm == "batch" else 0
            views.append(parameters[start : start + own].reshape(2, size) if own else None)
            start += own
        return views

    def _place(self, backend: Backend, parameters: Array) -> None:
        """Put the parameters on a backend and lay out everything that hangs on them."""
        self.backend = backend.for_precision(self.precision)
        with self.backend.on_device():
            self._lay_out(parameters)

    def _lay_out(self, parameters: Array) -> None:
        backend = self.backend
        self.parameters = backend.empty(parameters.shape, self.dtype)
        self.parameters[...] = backend.asarray(parameters, self.dtype)
        self.trained = self.parameters
        if self._running_count:
            self.trained = self.parameters[: self._trained_count]
        self.exchanged = backend.empty((HEADER + self._trained_count,), self.dtype)
        self.exchanged.fill(0)
        self.gradients = self.exchanged[HEADER:]
        self.stored = self.precision.stored if backend.replays else self.dtype
        self.half: Array | None = None
        if self.stored != self.dtype:
            self.half = backend.empty(self.trained.shape, self.stored)
        self.layers = tuple(
            Dense(weight, bias, dweight, dbias, activation, dropout, norm, gamma, dgamma, running)
            for (weight, bias, gamma), (
                dweight,
                dbias,
                dgamma,
            ), activation, dropout, norm, running in zip(
                split(self.parameters, self.sizes, self._normalized),
                split(self.gradients, self.sizes, self._normalized),
                self._activations,
                self._dropout,
                self.normalization,
                self._running_views(self.parameters),
                strict=True,
            )
        )
        # what products read: the parameters themselves, or their copy in half precision
        read = self.parameters if self.half is None else self.half
        self._read = split(read, self.sizes, self._normalized)
        self._largest_weight = max(layer.weight.size for layer in self.layers)
        self.scratch, self._host_scratch = Scratch(backend.xp), Scratch(np)
        self._buffers: dict[int, Buffers] = {}

    def refresh(self) -> None:
        """Copy the parameters into half precision, if that is used: they may have been written."""
        if self.half is not None:
            self.backend.convert(self.trained, self.half)

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

    def run_forward(
        self,
        x: Array,
        dropout_step: Any = None,
        logits_only: bool = False,
        learning: bool | None = None,
    ) -> Buffers:
        """Run a loaded batch x (rows, inputs) through all layers; with a step, dropout is on.

        With `logits_only` the last activation is left out: ``z[-1]`` is written, ``y[-1]`` not.
        `learning` says whether batches are normalised by their own moments; None for as dropout is.
        """
        if learning is None:
            learning = dropout_step is not None
        buffers = self.buffers(len(x))
        buffers.dropout_step = dropout_step
        for index, layer in enumerate(self.layers):
            buffers.inputs[index] = x
            z, y, name = buffers.z[index], buffers.y[index], layer.activation.name
            if logits_only and index == len(self.layers) - 1:
                name, y = "identity", z
            weight, bias, _ = self._read[index]
            if layer.normalization is None:
                self.backend.dense_forward(x, weight, (layer.bias, bias), name, z, y, self.scratch)
            else:
                self.backend.multiply(x, weight, z)
                kept = buffers.normalized[index]
                normalize(self.backend, layer, kept, z, learning, self.scratch)
                self.backend.activate(name, z, layer.bias, y, self.scratch)
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
        self,
        buffers: Buffers,
        from_logits: bool,
        dx: Array | None = None,
        gradients: bool = True,
        ready: Callable[[int], None] | None = None,
    ) -> None:
        """Run ``buffers.delta[-1]`` back through all layers.

        With `gradients` the flat gradients are written; into `dx`, (rows, inputs), goes the
        gradient by the batch. `ready` is told, for each layer, that its gradients are written.
        """
        for index in reversed(range(len(self.layers))):
            layer, delta = self.layers[index], buffers.delta[index]
            last = index == len(self.layers) - 1
            name = "identity" if last and from_logits else layer.activation.name
            kept, x = buffers.kept(index, layer), buffers.inputs[index]
            if gradients and layer.normalization is None:
                self.backend.dense_backward(
                    name, kept, delta, x, layer.dweight, layer.dbias, self.scratch
                )
            else:
                dbias = layer.dbias
                if not gradients:
                    dbias = self.scratch("dbias", delta.shape[1:], self.dtype)
                self.backend.activate_backward(name, kept, delta, delta, dbias, self.scratch)
                if layer.normalization is not None:
                    dgamma = layer.dgamma
                    if not gradients:
                        dgamma = self.scratch("dgamma", delta.shape[1:], self.dtype)
                    normalize_backward(
                        *(self.backend, layer, buffers.normalized[index], delta),
                        *((dbias, dgamma), self.scratch),
                    )
                if gradients:
                    self.backend.multiply(x.T, delta, layer.dweight)
            if ready is not None:
                ready(index)
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
