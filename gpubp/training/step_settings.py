"""What settings change from step to step, computed for several steps ahead, in arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpubp.backends import Array
from gpubp.backends.scheduled import Scheduled
from gpubp.errors import ConfigurationError
from gpubp.nn.backprop import LayerStack
from gpubp.nn.layers.dropout import Rates
from gpubp.nn.optimizer import Optimizer
from gpubp.nn.optimizers import OPTIMIZERS
from gpubp.nn.parameter_groups import Segment, segments
from gpubp.nn.schedule import is_schedule, peak_of, value_at
from gpubp.training.settings import TrainingSettings


class StepSettings:
    """The numbers of the steps to come, in rows that the clock selects.

    The settings fit the network, see `check_settings`.

    Attributes
    ----------
    updates : list of (Segment, array of float64, (rows, scalars))
        The segments of the parameters with the optimizer's scalars; segments with the same factors
        share theirs.
    dropout : dict of float to Scheduled, or None
        For each dropout rate of the network what it is in each step, where that changes.
    parameter : Scheduled or None
        The loss's own setting, where that changes.
    rows : int
        For how many steps there is room.
    """

    def __init__(
        self, stack: LayerStack, settings: TrainingSettings, rows: int, clock: Array
    ) -> None:
        self._backend, self.rows = stack.backend, rows
        scalars = len(settings.optimizer.scalars(1))
        self._scalars: dict[tuple[float, float], Array] = {}
        self.updates: list[tuple[Segment, Array]] = []
        for segment in segments(settings.groups, stack.layers, settings.optimizer):
            factors = segment.learning_rate, segment.weight_decay
            if factors not in self._scalars:
                self._scalars[factors] = self._empty(rows, scalars)
            self.updates.append((segment, self._scalars[factors]))
        self.dropout: Rates | None = None
        if settings.dropout_factor is not None:
            rates = set(stack.spec.dropout) - {0.0}
            self.dropout = {rate: Scheduled(self._empty(rows), clock) for rate in rates}
        self.parameter: Scheduled | None = None
        if is_schedule(settings.loss.parameter):
            self.parameter = Scheduled(self._empty(rows), clock)

    def _empty(self, *shape: int) -> Array:
        return self._backend.empty(shape, np.dtype(np.float64))

    def put(self, settings: TrainingSettings, done: int, factor: float) -> None:
        """Write the numbers of the steps after `done` updates, with `factor` times the rate."""
        steps = range(done + 1, done + 1 + self.rows)
        for (rate, decay), array in self._scalars.items():
            scalars = _remembered if _is_constant(settings.optimizer) else _scalars
            self._put(array, scalars(settings.optimizer, steps, factor * rate, decay))
        if self.dropout is not None and settings.dropout_factor is not None:
            factors = [value_at(settings.dropout_factor, n) for n in steps]
            for own, scheduled in self.dropout.items():
                self._put(scheduled.values, [own * each for each in factors])
        if self.parameter is not None:
            self._put(self.parameter.values, [value_at(settings.loss.parameter, n) for n in steps])

    def _put(self, array: Array, rows: ArrayLike) -> None:
        self._backend.put(array, np.array(rows, np.float64))


def _scalars(optimizer: Optimizer, steps: range, rate: float, decay: float) -> NDArray[np.float64]:
    """Return an optimizer's scalars at steps, (steps, scalars)."""
    return np.array([optimizer.scalars(step, rate, decay) for step in steps], np.float64)


# Members, folds and trials ask for the same ones.
_remembered: Callable[..., NDArray[np.float64]] = lru_cache(256)(_scalars)


def _is_constant(optimizer: Optimizer) -> bool:
    """Tell whether an optimizer is one of gpubp's, and all its settings are numbers."""
    return type(optimizer) in OPTIMIZERS.values() and all(
        isinstance(value, int | float) for value in vars(optimizer).values()
    )


def check_settings(stack: LayerStack, settings: TrainingSettings) -> None:
    """Refuse settings that do not fit the network: groups, and what would drop all outputs.

    Raises
    ------
    ConfigurationError, UnknownNameError
        Says what would fit.
    """
    segments(settings.groups, stack.layers, settings.optimizer)
    if settings.dropout_factor is None:
        return
    rate, peak = max(stack.spec.dropout, default=0.0), peak_of(settings.dropout_factor)
    if not 0 <= rate * peak < 1:
        raise ConfigurationError(
            f"dropout_factor goes up to {peak:g} with a dropout of {rate:g}; a number from 0 to"
            f" below {1 / rate:g} is needed"
        )
