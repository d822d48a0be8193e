"""A forward pass over so many rows that is prepared once and then done again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gpubp.backends import Array
from gpubp.nn.backprop import LayerStack
from gpubp.nn.buffers import Buffers

MOST_PASSES = 8  # that a network keeps; each has a place for its rows


@dataclass
class PreparedPass:
    """A pass that reads its rows from one place.

    It reads the parameters where they lie, so it follows further training.

    Attributes
    ----------
    x : array, (rows, inputs)
        The place.
    buffers : Buffers
        What every call writes over.
    run : callable
        Does the pass so many times.
    """

    x: Array
    buffers: Buffers
    run: Callable[[int], None]

    def __call__(self, x: Array) -> Buffers:
        """Do the pass over rows as the first layer reads them; return its buffers."""
        self.x[...] = x
        self.run(1)
        return self.buffers


def pass_over(stack: LayerStack, buffers: Buffers) -> tuple[Array, Callable[[Any], None]]:
    """Return a place for the rows of a pass, and the pass with the operations it is handed."""
    x = stack.backend.empty((buffers.rows, stack.sizes[0]), stack.stored)
    x.fill(0)  # preparing may compute with it
    return x, lambda ops: stack.forward(ops, x, buffers)


def kept_pass(stack: LayerStack, rows: int) -> PreparedPass | None:
    """Return the pass over so many rows in the network's buffers, prepared when first asked for.

    None where the backend does operations one by one.
    """
    if not stack.backend.plans:
        return None
    if rows not in stack.passes:
        # What layers note of a pass is its own, the arrays are not. Larger ones forget the passes.
        buffers = stack.buffers(rows).first(rows)
        if len(stack.passes) == MOST_PASSES:
            stack.passes.clear()
        x, work = pass_over(stack, buffers)
        run = stack.backend.planned(work)
        stack.passes[rows] = None if run is None else PreparedPass(x, buffers, run)
    found: PreparedPass | None = stack.passes[rows]
    return found
