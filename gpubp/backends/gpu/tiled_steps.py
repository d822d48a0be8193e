"""A step whose gradients of weights are one kernel: see `tiled_gradients`."""

from __future__ import annotations

from collections.abc import Sequence

from gpubp.backends.gpu.branching import DOWNWARD
from gpubp.backends.gpu.tiled_gradients import Layer
from gpubp.backends.gpu.tiles import STORED
from gpubp.backends.program import Operation

LARGEST = 1_200_000_000  # multiplications of a step: with more the library's products are faster
# What may come between gradients of weights that are computed together: it reads none of them
BETWEEN = (*DOWNWARD, "multiply_slope", "derivative", "output_layer_rows")


def with_slopes(operations: Sequence[Operation]) -> list[Operation]:
    """Return the same step with each slope part of the product that it is of."""
    changed = list(operations)
    for at in range(len(operations) - 1):
        product, slope = operations[at : at + 2]
        if (product.name, slope.name) == ("multiply", "dense_backward"):
            name, kept, delta, *rest = slope.arguments
            if product.arguments[2] is delta and name != "identity":
                given = (*product.arguments, name, kept)
                changed[at] = Operation("multiply_slope", given)
                changed[at + 1] = slope._replace(arguments=("identity", kept, delta, *rest))
    return changed


def with_gradients_together(operations: Sequence[Operation]) -> list[Operation] | None:
    """Return the same step with gradients of weights at the end of the way down, all at once.

    None where there are none, or none that can be.
    """
    changed: list[Operation] = []
    layers: list[Layer] = []
    for one in operations:
        if one.name == "dense_backward" and _is_tiled(one):
            name, kept, delta, x, dweight, dbias, _, scale = one.arguments
            if name != "identity":
                changed.append(Operation("derivative", (name, kept, delta)))
            layers.append(Layer(x, delta, dweight, dbias, scale))
            continue
        if layers and one.name not in BETWEEN:
            changed.append(Operation("tiled_gradients", (tuple(layers),)))
            layers = []
        changed.append(one)
    tiled = any(one.name.startswith("tiled") for one in changed)
    return changed if tiled else None


def _is_tiled(operation: Operation) -> bool:
    """Tell whether gradients of a layer's weights can be computed by tiles."""
    _, _, delta, x, dweight, *_ = operation.arguments
    dtypes = {delta.dtype.name, x.dtype.name}
    return len(dtypes) == 1 and dtypes <= set(STORED) and bool(delta.size and dweight.size)
