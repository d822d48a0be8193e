"""Dropout: in training some outputs are set to 0, and what is kept is scaled up to make up for it.

Srivastava et al. 2014, inverted: y = x / (1 - rate) where x is kept. Which outputs are dropped is
decided by a counter (seed, stream, step), so a mask is drawn again on the way back, not stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gpubp.backends import Array, Scratch


@dataclass(frozen=True)
class Dropout:
    """Dropout of one layer's outputs.

    Attributes
    ----------
    rate : float
        Share of the outputs dropped; with 0 nothing is done.
    seed, stream : int
        Select the random numbers, with the number of the step.
    """

    rate: float
    seed: int
    stream: int

    def apply(self, ops: Any, x: Array, out: Array | None, step: Any, scratch: Scratch) -> Array:
        """Return x with outputs dropped, in `out`; x itself where nothing is."""
        if step is None or not self.rate:
            return x
        ops.dropout(x, out, self.rate, (self.seed, self.stream, step), scratch)
        return out
