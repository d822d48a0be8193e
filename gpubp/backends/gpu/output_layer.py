"""A narrow output layer and its loss on a GPU: forward, loss and backward in one kernel.

A product with few outputs leaves most of a device idle, and each of the three kernels waits for the
one before it. Here a warp does a row: its weighted sums, its loss with the gradient dz by the sums,
and dx = f'(x) dz W', where x are the outputs of the layer below and f its activation.

The kernels are made when they are used: there are as many as losses times activations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from gpubp.backends.gpu.elementwise import LANES, Elementwise, row_kernel
from gpubp.backends.gpu.kernel_table import IN_PLACE, loss_of_row
from gpubp.backends.gpu.losses import CupyLosses
from gpubp.backends.gpu.products import kinds
from gpubp.backends.program import Operation
from gpubp.backends.scheduled import Number
from gpubp.backends.scratch import Array, Scratch

MOST_OUTPUTS = LANES  # a lane has one output
Layer = tuple[Array, Array, Array, Array, float, str]  # x, weight, bias, dx, factor, slope


@cache
def output_kernel(loss: str, weighted: bool, scheduled: bool, slope: str) -> Elementwise:
    """Make the kernel of a loss over a layer whose inputs are outputs of the activation `slope`."""
    one = loss_of_row(loss, weighted, scheduled)
    own = "&x[row * inputs], &weights[0]"
    return row_kernel(
        f"raw S x, raw S weights, raw T bias, T factor, int64 inputs, {one.inputs}",
        "raw T y, raw S dy, raw T loss, raw S dx",
        f"gpubp_output_{one.name}_{slope}",
        f"gpubp::output_row({own}, &bias[0], factor, &y[at], inputs, columns, lanes);"
        f" {one.operation};"
        " gpubp::output_backward_row(&dy[at], &weights[0], &x[row * inputs], factor,"
        " &dx[row * inputs], inputs, columns, lanes,"
        f" [](T x, T y, T dy) {{ return gpubp::{slope}_backward(x, y, dy); }})",
    )


class CupyOutputLayer(CupyLosses):
    """What the CuPy backend does for a narrow output layer."""

    kernel: Callable[[Elementwise], Any]

    def output_layer(
        self,
        name: str,
        parameter: Number,
        y: Array,
        expected: Array,
        dy: Array,
        mean: Array,
        scratch: Scratch,
        weighting: tuple[Array, Array] | None,
        scaling: Array | None,
        layer: Layer,
    ) -> None:
        """Do the layer forward, its loss as `loss` does it, and the layer backward.

        Parameters
        ----------
        layer : tuple
            The layer's inputs x, weights, bias, where the gradient by x goes, the factor of the
            weights, and the activation whose slope at x that gradient is multiplied by.
        """
        losses = scratch("row loss", (len(y),), y.dtype)
        self.output_layer_rows(
            name, parameter, y, expected, dy, losses, scratch, weighting, scaling, layer
        )
        self.add_up(losses, mean, scratch)

    def output_layer_rows(
        self,
        name: str,
        parameter: Number,
        y: Array,
        expected: Array,
        dy: Array,
        losses: Array,
        scratch: Scratch,
        weighting: tuple[Array, Array] | None,
        scaling: Array | None,
        layer: Layer,
    ) -> None:
        """Do the same, and write each row's share of the mean loss."""
        x, weight, bias, dx, factor, slope = layer
        (count, columns), inputs = y.shape, x.shape[1]
        scheduled, given = self._of_loss(count, parameter, scratch, weighting, scaling)
        made = output_kernel(name, weighting is not None, scheduled, slope)
        kernel = self._kernels.get(made.name)
        if kernel is None:
            kernel = self._kernels[made.name] = self.kernel(made)
        kernel(
            *(x, weight, bias, factor, inputs, expected, *given, columns, y, dy, losses, dx),
            size=count * LANES,
        )


def with_output_layer(
    operations: Sequence[Operation],
    masked: Sequence[Operation],
    pays: Callable[[Sequence[Operation], Sequence[Operation]], bool],
) -> list[Operation]:
    """Return the step with its output layer done by one kernel, where that is offered and pays.

    Parameters
    ----------
    masked : sequence of Operation
        The same operations, some of them with masks, which the step has where it does not pay.
    pays : callable
        Told the operations as they would be and those with the one kernel, which it may carry out,
        tells whether the latter are to be taken.
    """
    for at, operation in enumerate(operations):
        if operation.name == "loss" and 0 < at < len(operations) - 2:
            layer = _layer_of(*operations[at - 1 : at + 3])
            if layer is None:
                continue
            start, end = at - 1, at + 3
            slope, rest = "identity", list(operations[end:])
            if rest and _slope_of(rest[0], layer) in IN_PLACE:
                slope = rest[0].arguments[0]
                rest[0] = rest[0]._replace(arguments=("identity", *rest[0].arguments[1:]))
                end += 1
                # the product of the layer below may have noted a mask, which none would read
                start -= 1 if start and operations[start - 1].name == "dense_forward" else 0
            arguments = (*operation.arguments, (*layer, slope))
            together = [
                *operations[start : at - 1],
                Operation("output_layer", arguments),
                operations[at + 1],
                *rest[: end - at - 3],
            ]
            if pays(masked[start:end], together):
                return [*masked[:start], *together, *masked[end:]]
    return list(masked)


def output_key(together: Sequence[Operation]) -> str:
    """Name what decides whether the one kernel pays."""
    (arguments,) = (one.arguments for one in together if one.name == "output_layer")
    loss, _, y, _, dy, _, _, weighting, _, (x, weight, *_, slope) = arguments
    below = together[0].name == "dense_forward"
    weighted = weighting is not None
    return f"output {loss} {weighted} {slope} {below} {kinds(x, weight, y, dy)}"


def _layer_of(
    forward: Operation, loss: Operation, backward: Operation, product: Operation
) -> tuple[Array, Array, Array, Array, float] | None:
    """Return x, weights, bias, dx and factor of a layer done by these four; None if it is not."""
    names = (forward.name, loss.name, backward.name, product.name)
    if names != ("dense_forward", "loss", "dense_backward", "multiply"):
        return None
    x, weight, bias, activation, _, y, _, factor = forward.arguments
    _, _, of_loss, _, dy, *_ = loss.arguments
    derivative, _, delta, *_ = backward.arguments
    a, b, dx, of_dx = product.arguments
    same = of_loss is y and delta is dy is a and b.shape == weight.T.shape and factor == of_dx
    same = same and b.data.ptr == weight.data.ptr
    plain = activation == derivative == "identity" and dx.dtype == dy.dtype == x.dtype
    if not (same and plain and 0 < y.shape[1] <= MOST_OUTPUTS and y.size):
        return None
    return x, weight, bias[0], dx, factor


def _slope_of(operation: Operation, layer: tuple[Any, ...]) -> str:
    """Return the activation of the layer below, if its slope comes next and its outputs are x."""
    if operation.name != "dense_backward":
        return ""
    name, kept, delta, *_ = operation.arguments
    return str(name) if kept is layer[0] and delta is layer[3] else ""
