"""A step's operations made fewer for a GPU: what a product can do besides goes along with it.

A weighted sum followed by its activation, and a slope followed by the gradient of the weights, are
each handed over as one operation, for which `gpubp.backends.gpu.dense` finds the fastest way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gpubp.backends.program import Operation
from gpubp.backends.scratch import Array


def fused(operations: Sequence[Operation], narrow: Callable[[Array], Array]) -> list[Operation]:
    """Return the same operations, pairs of them as one where a product can do both.

    Parameters
    ----------
    narrow : callable
        Returns the copy in half precision of a view of the parameters, itself where there is none.
    """
    found: list[Operation] = []
    for operation in operations:
        before = found[-1] if found else None
        together = None if before is None else _together(before, operation, narrow)
        if together is None:
            found.append(operation)
        else:
            found[-1] = together
    return found


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
