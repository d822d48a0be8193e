"""Settings that change with the step: plain functions of how many updates were done.

A schedule stands where a learning rate stands: ``Adam(learning_rate=WarmUp(500, CosineDecay(1e-3,
20_000)))``; or a weight decay, a label smoothing, a factor of the dropout. It is called with the
number of updates done so far, 0 for the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gpubp.checks import check_positive, check_share, checked_list, checked_whole, is_number
from gpubp.errors import ConfigurationError, brief
from gpubp.nn.schedule import LearningRate, as_schedule

MOST_WAVES = 60  # the first would be over in less than a step


@dataclass(frozen=True)
class StepDecay:
    """Multiplied by `factor` after every `every` steps: ``rate * factor ** (step // every)``.

    Examples
    --------
    >>> [StepDecay(0.5, every=10, factor=0.5)(step) for step in (0, 9, 10, 20)]
    [0.5, 0.5, 0.25, 0.125]
    """

    rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_positive(rate=self.rate, every=self.every)
        check_share(factor=self.factor)

    @property
    def peak(self) -> float:
        """The first learning rate."""
        return self.rate

    def __call__(self, step: int) -> float:
        """Return the learning rate after so many updates."""
        return self.rate * self.factor ** (step // self.every)


@dataclass(frozen=True)
class ExponentialDecay:
    """Falling by `factor` within `steps` steps: ``rate * factor ** (step / steps)``."""

    rate: float
    steps: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_positive(rate=self.rate, steps=self.steps)
        check_share(factor=self.factor)

    @property
    def peak(self) -> float:
        """The first learning rate."""
        return self.rate

    def __call__(self, step: int) -> float:
        """Return the learning rate after so many updates."""
        return float(self.rate * self.factor ** (step / self.steps))


@dataclass(frozen=True)
class CosineDecay:
    """Half a cosine from `rate` to `final` within `steps` steps (Loshchilov and Hutter 2017)."""

    rate: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        check_positive(rate=self.rate, steps=self.steps)
        if not (is_number(self.final) and 0 <= self.final <= self.rate):
            raise ConfigurationError(
                f"final is {brief(self.final)}; a number from 0 to the rate {self.rate!r} is needed"
            )

    @property
    def peak(self) -> float:
        """The first learning rate."""
        return self.rate

    def __call__(self, step: int) -> float:
        """Return the learning rate after so many updates."""
        return _half_cosine(self.rate, self.final, min(step / self.steps, 1.0))


@dataclass(frozen=True)
class CosineWaves:
    """Waves from 0 up to `rate` and down again, each twice as long as the one before.

    ``rate (1 - cos(2 pi log2(1 + (2**waves - 1) t))) / 2`` with t the share of the steps done, and
    0 after them: the coslog4 of RealMLP (Holzmueller et al. 2024) for four waves.
    """

    rate: float
    steps: int
    waves: int = 4

    def __post_init__(self) -> None:
        check_positive(rate=self.rate, steps=self.steps)
        checked_whole("waves", self.waves, most=MOST_WAVES)

    @property
    def peak(self) -> float:
        """The rate at the top of a wave."""
        return self.rate

    def __call__(self, step: int) -> float:
        """Return the learning rate after so many updates."""
        if step >= self.steps:
            return 0.0
        place = math.log2(1 + (2**self.waves - 1) * step / self.steps)
        return self.rate * (1 - math.cos(2 * math.pi * place)) / 2


@dataclass(frozen=True)
class FlatCosine:
    """`rate` for the share `flat` of the steps, and then half a cosine to 0: RealMLP's flat_cos."""

    rate: float
    steps: int
    flat: float = 0.5

    def __post_init__(self) -> None:
        check_positive(rate=self.rate, steps=self.steps)
        check_share(flat=self.flat)

    @property
    def peak(self) -> float:
        """The first learning rate."""
        return self.rate

    def __call__(self, step: int) -> float:
        """Return the learning rate after so many updates."""
        done = min(step / self.steps, 1.0)
        falling = max(done - self.flat, 0.0) / (1 - self.flat)
        return _half_cosine(self.rate, 0.0, falling)


@dataclass(frozen=True)
class WarmUp:
    """A straight line up to the first rate of `then` within `steps` steps, and then that.

    The first step takes ``1 / steps`` of it, the last of them all of it (Goyal et al. 2017).
    """

    steps: int
    then: LearningRate

    def __post_init__(self) -> None:
        check_positive(steps=self.steps)
        as_schedule(self.then)

    @property
    def peak(self) -> float:
        """The largest learning rate of what follows."""
        return as_schedule(self.then).peak

    def __call__(self, step: int) -> float:
        """Return the learning rate after so many updates."""
        then = as_schedule(self.then)
        if step < self.steps:
            return then(0) * (step + 1) / self.steps
        return then(step - self.steps)


@dataclass(frozen=True)
class OneCycle:
    """Up to `peak` and down to nearly nothing, by half cosines (Smith and Topin 2018).

    ``peak / 25`` at first, `peak` after the share `rising` of the steps, ``peak / 250_000`` in the
    end: PyTorch's OneCycleLR.
    """

    peak: float
    steps: int
    rising: float = 0.3

    def __post_init__(self) -> None:
        check_positive(peak=self.peak, steps=self.steps)
        check_share(rising=self.rising)

    def __call__(self, step: int) -> float:
        """Return the learning rate after so many updates."""
        first, last = self.peak / 25, self.peak / 25 / 1e4
        top = self.rising * self.steps - 1
        if step <= top:
            return _half_cosine(first, self.peak, step / top if top > 0 else 1.0)
        done = (step - top) / (self.steps - 1 - top) if self.steps - 1 > top else 1.0
        return _half_cosine(self.peak, last, min(done, 1.0))


@dataclass(frozen=True)
class Chain:
    """Schedules one after the other: pairs of a number of steps and what gives their rates.

    Each counts its own steps from 0; the last goes on for ever.
    """

    parts: Sequence[tuple[int, LearningRate]]

    def __post_init__(self) -> None:
        parts = checked_list("parts", self.parts)
        if not parts:
            raise ConfigurationError("parts is empty; at least one pair (steps, rate) is needed")
        for part in parts:
            if not isinstance(part, Sequence) or len(part) != 2:
                raise ConfigurationError(f"parts hold {brief(part)}; (steps, rate) is needed")
            check_positive(steps=part[0])
            as_schedule(part[1])

    @property
    def peak(self) -> float:
        """The largest learning rate of all parts."""
        return max(as_schedule(rate).peak for _, rate in self.parts)

    def __call__(self, step: int) -> float:
        """Return the learning rate after so many updates."""
        for steps, rate in self.parts[:-1]:
            if step < steps:
                return as_schedule(rate)(step)
            step -= steps
        return as_schedule(self.parts[-1][1])(step)


def _half_cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
