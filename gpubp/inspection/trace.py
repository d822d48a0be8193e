"""One step of backpropagation, number by number, in the words of the introductory texts.

For every layer: weighted sum z = inputs @ weight + bias, output y = f(z), slope f'(z), error
(delta) and weight update. The error of an output neuron is (expected - actual) * slope for squared
error, that of a hidden neuron the weighted errors of the next layer * slope; the weights become
weight + rate * mean over the batch of inputs.T @ error.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array
from gpubp.checks import check_positive
from gpubp.data.batches import Data
from gpubp.data.feeds import read_rows
from gpubp.inspection.page import PageNames, trace_model, write_page
from gpubp.inspection.trace_table import trace_table
from gpubp.nn.backprop import LayerStack
from gpubp.nn.buffers import Buffers
from gpubp.nn.layers import Layer
from gpubp.nn.losses import Loss
from gpubp.text import ShownAsText


@dataclass(frozen=True)
class LayerTrace:
    """The numbers of one layer in one step.

    Attributes
    ----------
    inputs, weighted_sum, output, slope, error : array, (rows, layer inputs or outputs)
        Slope is f'(z); error is the loss's gradient by the weighted sum with its sign turned.
        For softmax, whose outputs depend on all weighted sums, slope is the diagonal y (1 - y).
    weight_gradient, bias_gradient : array
        Gradient of the mean loss, (inputs, outputs) and (outputs,).
    weight_before, weight_after, bias_before, bias_after : array
        The parameters around the update.
    table_gradient, table_before, table_after : array or None
        The same of the table of an embedding of numbers.
    frequency_gradient, frequency_before, frequency_after : array or None
    phase_gradient, phase_before, phase_after : array or None
        The same of a periodic embedding.
    kind : str or None
        What a layer is that is not dense. Its bias is empty where it has none.
    mix_gradient, mix_before, mix_after : array or None
        The same of the mixing factors of a layer that has them.
    residual : bool or None
        True of a layer that adds its inputs to its outputs.
    weight_factor : float or None
        What products with the weights are multiplied by, where it is not 1.
    """

    activation: str
    inputs: NDArray[Any]
    weighted_sum: NDArray[Any]
    output: NDArray[Any]
    slope: NDArray[Any]
    error: NDArray[Any]
    weight_gradient: NDArray[Any]
    bias_gradient: NDArray[Any]
    weight_before: NDArray[Any]
    weight_after: NDArray[Any]
    bias_before: NDArray[Any]
    bias_after: NDArray[Any]
    table_gradient: NDArray[Any] | None = None
    table_before: NDArray[Any] | None = None
    table_after: NDArray[Any] | None = None
    frequency_gradient: NDArray[Any] | None = None
    frequency_before: NDArray[Any] | None = None
    frequency_after: NDArray[Any] | None = None
    phase_gradient: NDArray[Any] | None = None
    phase_before: NDArray[Any] | None = None
    phase_after: NDArray[Any] | None = None
    kind: str | None = None
    mix_gradient: NDArray[Any] | None = None
    mix_before: NDArray[Any] | None = None
    mix_after: NDArray[Any] | None = None
    residual: bool | None = None
    weight_factor: float | None = None


@dataclass(frozen=True)
class Trace(ShownAsText):
    """One step of gradient descent: prints as tables, gives JSON, holds NumPy arrays.

    Attributes
    ----------
    loss, loss_after : float
        Mean loss of the batch before and after the update.
    expected : array, (rows, outputs)
        Expected values; classes as one-hot rows.
    layers : tuple of LayerTrace
        First to last.
    loss_parameter : float
        The loss's own setting where it has one.
    optimizer : str
        What trained the network; "" where that is not known.
    """

    loss_name: str
    learning_rate: float
    loss: float
    loss_after: float
    expected: NDArray[Any]
    layers: tuple[LayerTrace, ...]
    loss_parameter: float = 0.0
    optimizer: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as nested lists."""
        return {
            "loss_name": self.loss_name,
            "learning_rate": self.learning_rate,
            "loss": self.loss,
            "loss_after": self.loss_after,
            "expected": self.expected.tolist(),
            "layers": [
                {
                    name: value.tolist() if isinstance(value, np.ndarray) else value
                    for name, value in vars(layer).items()
                    if value is not None
                }
                for layer in self.layers
            ],
        }

    def to_json(self, indent: int | None = None) -> str:
        """Return all numbers as JSON."""
        return json.dumps(self.to_dict(), indent=indent)

    def table(self, max_rows: int = 12, row: int = 0) -> str:
        """Return tables for people; a layer with more neurons or weights is cut short.

        Parameters
        ----------
        max_rows : int
            Lines a table at most.
        row : int
            Which row of the batch to show.
        """
        return trace_table(self.to_dict(), max_rows, row)

    def to_html(
        self,
        path: str | os.PathLike[str],
        names: PageNames | None = None,
        language: str = "en",
    ) -> None:
        """Write a page of its own in which a person walks through the step; see docs/explain.md.

        Parameters
        ----------
        path : path
            The file to write; nothing else is needed to read it.
        names : PageNames or None
            What inputs and outputs are called.
        language : {"en", "fa"}
            The language it opens in.

        Raises
        ------
        UnknownNameError, ShapeError, OutputPathError
            When there is no such language, names do not fit, or the file cannot be written.
        """
        write_page(path, [trace_model(self, names or PageNames())], language)

    def __str__(self) -> str:
        return self.table()


def trace(stack: LayerStack, data: Data, loss: Loss, learning_rate: float, apply: bool) -> Trace:
    """Do one plain step on a batch, note all numbers, and undo it unless it is to stay."""
    check_positive(learning_rate=learning_rate)
    before, gradients = stack.parameters.copy(), stack.gradients.copy()
    x, ops = read_rows(stack, data.x), stack.backend
    buffers = stack.buffers(len(x))
    stack.forward(ops, x, buffers)
    stack.loss(ops, buffers, data.expected, loss)
    stack.backward(ops, buffers, bool(loss.logits_of))
    loss_before = float(buffers.loss) + 0.0  # no -0
    notes = [_note(stack, buffers, index) for index in range(len(stack.layers))]
    step = (learning_rate,)
    ops.update_now("sgd", stack.gradients, stack.parameters, (), step, stack.scratch)
    layers = tuple(
        LayerTrace(**note, **_parameters(stack, layer, "after"))
        for note, layer in zip(notes, stack.layers, strict=True)
    )
    stack.forward(ops, x, buffers)
    stack.loss(ops, buffers, data.expected, loss)
    loss_after = float(buffers.loss) + 0.0
    if not apply:
        stack.parameters[...] = before
        stack.gradients[...] = gradients
    expected = _one_hot(stack, data.expected)
    numbers = (learning_rate, loss_before, loss_after, expected, layers)
    return Trace(loss.name, *numbers, loss.first_parameter)


def _note(stack: LayerStack, buffers: Buffers, index: int) -> dict[str, Any]:
    """Note one layer's numbers after the backward pass and before the update."""
    layer, arrays = stack.layers[index], buffers.layers[index]
    weighted_sum = layer.weighted_sum(stack.backend, arrays)
    numbers = {
        "inputs": arrays.x,
        "weighted_sum": weighted_sum,
        "output": layer.output(arrays),
        "slope": layer.slope(stack.backend, weighted_sum, arrays.y),
        "error": -arrays.delta * buffers.rows,  # the loss is a mean over the batch
    }
    noted = {name: _host(stack, array) for name, array in numbers.items()}
    noted |= _parameters(stack, layer, "before") | {"bias_gradient": np.empty(0, stack.dtype)}
    for name in layer.parameter_shapes():
        noted[f"{name}_gradient"] = _host(stack, getattr(layer, f"d{name}"))
    factor = getattr(layer, "scale", 1.0)
    form = {
        "activation": layer.activation.name,
        "kind": layer.kind,
        "residual": getattr(layer, "residual", False) or None,
        "weight_factor": None if factor == 1 else factor,
    }
    return form | noted


def _parameters(stack: LayerStack, layer: Layer, when: str) -> dict[str, Any]:
    names = layer.parameter_shapes()
    none = {f"bias_{when}": np.empty(0, stack.dtype)}
    return none | {f"{name}_{when}": _host(stack, getattr(layer, name)) for name in names}


def _one_hot(stack: LayerStack, expected: Array) -> NDArray[Any]:
    values = _host(stack, expected)
    if values.ndim == 1:
        values = np.eye(stack.sizes[-1], dtype=stack.dtype)[values]
    return values


def _host(stack: LayerStack, array: Array) -> NDArray[Any]:
    return np.array(stack.backend.to_numpy(array))
