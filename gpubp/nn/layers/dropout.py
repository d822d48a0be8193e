"""Dropout: in training some outputs are set to 0, and what is kept is scaled up to make up for it.

Srivastava et al. 2014, inverted: y = x / (1 - rate) where x is kept. Which outputs are dropped is
decided by a counter (seed, stream, step), so a mask is drawn again on the way back, not stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpubp.backends import Array, Scratch
from gpubp.backends.scheduled import Scheduled

# For each rate of a layer what it is in each step.
Rates = Mapping[float, Scheduled]


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

    def apply(self, ops: Any, x: Array, out: Array | None, p: Any, scratch: Scratch) -> Array:
        """Return x with outputs dropped, in `out`; x itself where nothing is.

        The step, and rates that change with it, are those of the layer's arrays p.
        """
        if p.step is None or not self.rate:
            return x
        rate = self.rate if p.rates is None else p.rates[self.rate]
        ops.dropout(x, out, rate, (self.seed, self.stream, p.step), scratch)
        return out
