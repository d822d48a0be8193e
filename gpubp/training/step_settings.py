"""What settings change from step to step, computed for several steps ahead, in arrays."""

from __future__ import annotations

import numpy as np

from gpubp.backends import Array
from gpubp.nn.backprop import LayerStack
from gpubp.nn.parameter_groups import Segment, segments
from gpubp.training.settings import TrainingSettings


class StepSettings:
    """The optimizer's scalars of the steps to come, in rows that the clock selects.

    Attributes
    ----------
    updates : tuple of (Segment, array of float64, (rows, scalars))
        The segments of the parameters with their scalars; segments with the same factors share
        theirs.
    rows : int
        For how many steps there is room.
    """

    def __init__(self, stack: LayerStack, settings: TrainingSettings, rows: int) -> None:
        self._backend, self.rows = stack.backend, rows
        scalars = len(settings.optimizer.scalars(1))
        self._scalars: dict[tuple[float, float], Array] = {}
        self.updates: list[tuple[Segment, Array]] = []
        for segment in segments(settings.groups, stack.layers, settings.optimizer):
            factors = segment.learning_rate, segment.weight_decay
            if factors not in self._scalars:
                self._scalars[factors] = self._empty(rows, scalars)
            self.updates.append((segment, self._scalars[factors]))

    def _empty(self, *shape: int) -> Array:
        return self._backend.empty(shape, np.dtype(np.float64))

    def put(self, settings: TrainingSettings, done: int, factor: float) -> None:
        """Write the numbers of the steps after `done` updates, with `factor` times the rate."""
        steps = range(done + 1, done + 1 + self.rows)
        for (rate, decay), array in self._scalars.items():
            rows = [settings.optimizer.scalars(step, factor * rate, decay) for step in steps]
            self._backend.put(array, np.array(rows, np.float64))
