"""A step's operations made fewer for a GPU: what a product can do besides goes along with it.

A weighted sum followed by its activation, and a slope followed by the gradient of the weights, are
each handed over as one operation, for which `gpubp.backends.gpu.dense` finds the fastest way. What
begins and ends a step, each a few numbers, goes along with its first gather and its update: a
kernel of its own would take as long as a product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpubp.backends.gpu.elementwise import LANES
from gpubp.backends.program import Operation
from gpubp.backends.scratch import Array

# What writes a mean loss, and what writes the losses of the rows instead
BY_ROWS = {"loss": "row_losses", "output_layer": "output_layer_rows"}


def fused(operations: Sequence[Operation], narrow: Callable[[Array], Array]) -> list[Operation]:
    """Return the same operations, pairs of them as one where a product can do both.

    Parameters
    ----------
    narrow : callable
        Returns the copy in half precision of a view of the parameters, itself where there is none.
    """
    pairs: list[Operation] = []
    for operation in operations:
        before = pairs[-1] if pairs else None
        together = None if before is None else _together(before, operation, narrow)
        if together is None:
            pairs.append(operation)
        else:
            pairs[-1] = together
    return pairs


def _together(
    first: Operation, second: Operation, narrow: Callable[[Array], Array]
) -> Operation | None:
    """Return two operations as one; None where they do not belong together."""
    if (first.name, second.name) == ("multiply", "activate"):
        x, weight, out, scale = first.arguments
        name, z, bias, y, scratch = second.arguments
        if out is z:
            both = (bias, narrow(bias))
            return Operation("dense_forward", (x, weight, both, name, z, y, scratch, scale))
    if (first.name, second.name) == ("activate_backward", "multiply"):
        name, kept, dy, delta, dbias, scratch = first.arguments
        x_transposed, factor, dweight, scale = second.arguments
        if factor is delta and dy is delta:
            arguments = (name, kept, delta, x_transposed.T, dweight, dbias, scratch, scale)
            return Operation("dense_backward", arguments)
    return None


def narrower(parameters: Array, half: Array | None) -> Callable[[Array], Array]:
    """Return what finds a view's copy in half precision, given that of all parameters."""

    def narrow(view: Array) -> Array:
        if half is None:
            return view
        start = (view.data.ptr - parameters.data.ptr) // parameters.dtype.itemsize
        return half[start : start + view.size].reshape(view.shape)

    return narrow


def ended_with_update(operations: Sequence[Operation]) -> list[Operation]:
    """Return the same step with its end beside its last update, and its first gathers as one.

    The first warp of the update adds up the losses of the rows and writes the clock of the step to
    come, which the first gather takes from there: no kernel reads a clock that another of its
    threads writes. A step that scales its mean loss, or uses it, stays as it is.
    """
    names = [operation.name for operation in operations]
    if names[:2] != ["gather_batch"] * 2 or names[-2:] != ["update", "finish_step"]:
        return list(operations)
    if "accumulate" in names:  # the other steps of the update end in a kernel of their own
        return list(operations)
    x, y = (operation.arguments for operation in operations[:2])
    update, (mean, noted, clock, _, growth, updated) = (one.arguments for one in operations[-2:])
    of_mean = [number for number, one in enumerate(operations[:-1]) if _is_among(mean, one)]
    together = x[2] is y[2] is clock and x[1] is y[1]
    if not together or growth or not updated or _length(update) < LANES or len(of_mean) != 1:
        return list(operations)
    at = of_mean[0]
    by_rows = BY_ROWS.get(operations[at].name)
    if by_rows is None:
        return list(operations)
    name, parameter, z, expected, dz, _, scratch, *others = operations[at].arguments
    losses = scratch("row loss", (len(z),), z.dtype)
    row_losses = (name, parameter, z, expected, dz, losses, scratch, *others)
    array, order, _, batch, scale, out = x
    return [
        Operation("first_gather", (array, y[0], order, clock, batch, scale, out, y[-1])),
        *operations[2:at],
        Operation(by_rows, row_losses),
        *operations[at + 1 : -2],
        Operation("last_update", (*update, losses, noted)),
    ]


def _is_among(array: Array, operation: Operation) -> bool:
    return any(argument is array for argument in operation.arguments)


def _length(update: tuple[Any, ...]) -> int:
    """Return how many parameters an update is of."""
    *_, span = update
    return span[1] - span[0] if span else int(update[2].size)
