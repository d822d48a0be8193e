"""A narrow output layer and its loss on a GPU: forward, loss and backward in one kernel.

A product with few outputs leaves most of a device idle, and each of the three kernels waits for the
one before it. Here a block does a few rows: their weighted sums, their loss with the gradient dz by
the sums, and dx = f'(x) dz W', where x are the outputs of the layer below and f its activation; see
`kernels/output.cuh`.

The kernels are made when they are used: there are as many as losses times activations times shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from gpubp.backends.gpu.block_kernel import MOST_MEMORY, BlockKernel, BlockKernels, fours, literal
from gpubp.backends.gpu.elementwise import C_TYPES, LANES, Parameter, parameters_of
from gpubp.backends.gpu.kernel_table import IN_PLACE
from gpubp.backends.gpu.loss_kernels import loss_of_row
from gpubp.backends.gpu.losses import CupyLosses
from gpubp.backends.gpu.products import kinds
from gpubp.backends.program import Operation
from gpubp.backends.scheduled import Number
from gpubp.backends.scratch import Array, Scratch

MOST_OUTPUTS = LANES  # a lane has one output
THREADS = 256  # of a block
ROWS = (1, 2, 4, 8)  # that a block may have: one warp of its eight does the loss of a row
Layer = tuple[Array, Array, Array, Array, float, str]  # x, weight, bias, dx, factor, slope
Shape = tuple[int, int, int]  # rows of a block, inputs, outputs


def shared_bytes(shape: Shape, computed: int, stored: int) -> int:
    """Return the bytes that a block shares, given those of two numbers: see `OutputLayer`."""
    rows, inputs, outputs = shape
    numbers = inputs * outputs + rows * (inputs + THREADS + 2 * outputs)
    return -(-(numbers * computed + rows * outputs * stored) // 16) * 16


def block_rows(rows: int, inputs: int, outputs: int, item: int, multiprocessors: int) -> int:
    """Return how many rows a block has: as few as let all blocks run at once; 0 where none can.

    Parameters
    ----------
    item : int
        Bytes of a number.
    """
    possible = [
        count for count in ROWS if shared_bytes((count, inputs, outputs), item, item) <= MOST_MEMORY
    ]
    enough = [count for count in possible if -(-rows // count) <= multiprocessors]
    return (enough or possible[-1:] or [0])[0]


@cache
def output_kernel(
    loss: str,
    weighted: bool,
    scheduled: bool,
    slope: str,
    dtypes: tuple[str, str],
    shape: Shape,
    aligned: bool,
) -> BlockKernel:
    """Make the kernel of a loss over a layer whose inputs are outputs of the activation `slope`.

    Parameters
    ----------
    dtypes : tuple of str
        Names of those that numbers are computed with and stored as.
    aligned : bool
        Whether the weights can be taken by fours.
    """
    computed, stored = (C_TYPES[dtype] for dtype in dtypes)
    one = loss_of_row(loss, weighted, scheduled, "y", "dy")
    read = parameters_of(one.inputs)
    own = [_declared(each, computed) for each in read]
    kind = f"gpubp::OutputLayer<S, {', '.join(map(str, shape))}, {literal(aligned)}>"
    rows, _, columns = shape
    # what the loss reads of a row is on its way before the layer begins
    fetched = [
        f"gpubp::fetch({each.name} + {_place_of_row(each)});"
        for each in read
        if each.name in ("expected", "weight")
    ]
    body = (
        f"  const gpubp::int64 first = blockIdx.x * {rows}LL, columns = {columns};\n"
        f"  {kind}{{x, weights, bias, factor, rows, first, y_out, dy_out, dx}}.run(\n"
        f"      *reinterpret_cast<typename {kind}::Memory*>(memory),\n"
        "      [=](gpubp::int64 row, const T* y, S* dy, gpubp::Warp lanes) {\n"
        "        const gpubp::int64 at = row * columns; (void)at;\n"
        f"        {one.operation};\n      }},\n"
        f"      [](T x, T y, T dy) {{ return gpubp::{slope}_backward(x, y, dy); }},\n"
        "      [=](int thread) {\n        const gpubp::int64 row = first + thread;\n"
        f"        if (thread < {rows} && row < rows) {{ {' '.join(fetched)} }}\n      }});\n"
    )
    return BlockKernel(
        f"gpubp_output_{one.name}_{slope}",
        (
            *(f"const {stored}* x", f"const {stored}* weights", f"const {computed}* bias"),
            *(f"{computed} factor", "long long rows", *own),
            *(f"{computed}* y_out", f"{stored}* dy_out", f"{computed}* loss", f"{stored}* dx"),
        ),
        body,
        THREADS,
        declarations=f"typedef {computed} T;\ntypedef {stored} S;",
    )


def _place_of_row(parameter: Parameter) -> str:
    """Return where the numbers of a row begin: a class and a weight are one, other values many."""
    single = parameter.name == "weight" or parameter.kind == "int64"
    return "row" if single else "row * columns"


def _declared(parameter: Parameter, computed: str) -> str:
    """Return a parameter of a loss as C declares it."""
    kind = computed if parameter.kind == "T" else C_TYPES[parameter.kind]
    return f"const {kind}* {parameter.name}" if parameter.raw else f"{kind} {parameter.name}"


class CupyOutputLayer(CupyLosses):
    """What the CuPy backend does for a narrow output layer."""

    multiprocessors: int
    _blocks: BlockKernels

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
        (count, outputs), inputs = y.shape, x.shape[1]
        scheduled, given = self._of_loss(count, parameter, scratch, weighting, scaling)
        rows = block_rows(count, inputs, outputs, y.dtype.itemsize, self.multiprocessors)
        shape, dtypes = (rows, inputs, outputs), (y.dtype.name, x.dtype.name)
        form = (slope, dtypes, shape, fours(weight, weight.size))
        kernel = output_kernel(name, weighting is not None, scheduled, *form)
        arguments = (x, weight, bias, factor, count, expected, *given, y, dy, losses, dx)
        memory = shared_bytes(shape, y.dtype.itemsize, x.dtype.itemsize)
        self._blocks.launch(kernel, -(-count // rows), memory, arguments)


def with_output_layer(
    operations: Sequence[Operation],
    pays: Callable[[Sequence[Operation], Sequence[Operation]], bool],
) -> list[Operation]:
    """Return the step with its output layer done by one kernel, where that is offered and pays.

    Parameters
    ----------
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
            together = [
                Operation("output_layer", (*operation.arguments, (*layer, slope))),
                operations[at + 1],
                *rest[: end - at - 3],
            ]
            if pays(operations[start:end], together):
                return [*operations[:start], *together, *operations[end:]]
    return list(operations)


def output_key(together: Sequence[Operation]) -> str:
    """Name what decides whether the one kernel pays."""
    (arguments,) = (one.arguments for one in together if one.name == "output_layer")
    loss, _, y, _, dy, _, _, weighting, _, (x, weight, *_, slope) = arguments
    weighted = weighting is not None
    return f"output {loss} {weighted} {slope} {kinds(x, weight, y, dy)}"


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
    inputs, outputs = weight.shape
    if x.dtype.name not in C_TYPES or not block_rows(1, inputs, outputs, y.dtype.itemsize, 1):
        return None
    return x, weight, bias[0], dx, factor


def _slope_of(operation: Operation, layer: tuple[Any, ...]) -> str:
    """Return the activation of the layer below, if its slope comes next and its outputs are x."""
    if operation.name != "dense_backward":
        return ""
    name, kept, delta, *_ = operation.arguments
    return str(name) if kept is layer[0] and delta is layer[3] else ""
