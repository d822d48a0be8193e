"""Count, mean and spread of numbers that come in parts, merged without loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ColumnStatistics:
    """Of numbers in float64, NaN meaning a missing one.

    Attributes
    ----------
    count, missing : int
        Numbers there are, and there are not.
    mean, squares : float
        Their mean, and the sum of the squares of their distances from it, in units of
        ``4**exponent``.
    least, most : float
        The smallest and the largest.
    exponent : int
        Of a power of two that no number exceeds: squares so scaled neither overflow nor vanish.
    """

    count: int = 0
    missing: int = 0
    mean: float = 0.0
    squares: float = 0.0
    least: float = math.inf
    most: float = -math.inf
    exponent: int = 0

    @classmethod
    def of(cls, values: NDArray[Any]) -> ColumnStatistics:
        """Return those of an array (rows,)."""
        numbers = np.asarray(values, np.float64)
        present = numbers[~np.isnan(numbers)]
        if not len(present):
            return cls(missing=len(numbers))
        exponent = math.frexp(float(np.abs(present).max()))[1]
        scaled = np.ldexp(present, -exponent)
        mean = float(scaled.mean())
        distances = scaled - mean
        return cls(
            len(present),
            len(numbers) - len(present),
            math.ldexp(mean, exponent),
            float(np.dot(distances, distances)),
            float(present.min()),
            float(present.max()),
            exponent,
        )

    def merged(self, other: ColumnStatistics) -> ColumnStatistics:
        """Return those of both parts (Chan, Golub and LeVeque 1979)."""
        count = self.count + other.count
        missing = self.missing + other.missing
        if not self.count or not other.count:
            filled = self if self.count else other
            return replace(filled, missing=missing)
        exponent = max(self.exponent, other.exponent)
        mine, others = (math.ldexp(each.mean, -exponent) for each in (self, other))
        squares = [
            math.ldexp(each.squares, 2 * (each.exponent - exponent)) for each in (self, other)
        ]
        apart = others - mine
        return ColumnStatistics(
            count,
            missing,
            math.ldexp(mine + apart * (other.count / count), exponent),
            squares[0] + squares[1] + apart * apart * (self.count * other.count / count),
            min(self.least, other.least),
            max(self.most, other.most),
            exponent,
        )

    @property
    def deviation(self) -> float:
        """The standard deviation of the population; 1 where it is 0 or not finite."""
        if not self.count or self.least == self.most:
            return 1.0
        deviation = math.ldexp(math.sqrt(self.squares / self.count), self.exponent)
        return deviation if 0 < deviation < math.inf else 1.0
