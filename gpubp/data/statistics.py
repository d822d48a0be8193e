"""Count, mean and spread of numbers that come in parts, merged without loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Moments:
    """Of numbers in float64, NaN meaning a missing one.

    Attributes
    ----------
    count, missing : int
        Numbers there are, and there are not.
    mean, squares : float
        Their mean, and the sum of the squares of their distances from it.
    least, most : float
        The smallest and the largest.
    """

    count: int = 0
    missing: int = 0
    mean: float = 0.0
    squares: float = 0.0
    least: float = math.inf
    most: float = -math.inf

    @classmethod
    def of(cls, values: NDArray[Any]) -> Moments:
        """Return those of an array (rows,)."""
        numbers = np.asarray(values, np.float64)
        present = numbers[~np.isnan(numbers)]
        if not len(present):
            return cls(missing=len(numbers))
        mean = float(present.mean())
        distances = present - mean
        return cls(
            len(present),
            len(numbers) - len(present),
            mean,
            float(np.dot(distances, distances)),
            float(present.min()),
            float(present.max()),
        )

    def merged(self, other: Moments) -> Moments:
        """Return those of both parts (Chan, Golub and LeVeque 1979)."""
        count = self.count + other.count
        missing = self.missing + other.missing
        if not self.count or not other.count:
            filled = self if self.count else other
            return Moments(count, missing, filled.mean, filled.squares, filled.least, filled.most)
        apart = other.mean - self.mean
        return Moments(
            count,
            missing,
            self.mean + apart * (other.count / count),
            self.squares + other.squares + apart * apart * (self.count * other.count / count),
            min(self.least, other.least),
            max(self.most, other.most),
        )

    @property
    def deviation(self) -> float:
        """The standard deviation of the population; 1 where it is 0 or not finite."""
        if not self.count or self.least == self.most:
            return 1.0
        found = math.sqrt(self.squares / self.count)
        return found if 0 < found < math.inf else 1.0
