"""What training changes besides the parameters, and copies of it to go back to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpubp.backends import Array
from gpubp.nn.backprop import LayerStack
from gpubp.nn.optimizer import Optimizer
from gpubp.training.settings import TrainingSettings

FIRST_SCALE = 2.0**16  # of a float16 loss; halved until gradients no longer overflow


@dataclass
class TrainingState:
    """All that training changes besides the parameters.

    Attributes
    ----------
    step, epoch : int
        Steps and epochs done so far by this network; they select dropout masks and row orders.
    kernel : str
        The optimizer that the moments belong to.
    updates : int
        Steps done by this optimizer.
    moments : tuple of array
        Its state, each as long as the parameters.
    rate_factor : float
        What the optimizer's learning rate is multiplied by.
    scaling : array of float32, (3,), or None
        What the loss is multiplied by, whether a number was not finite, and the steps since the
        first was changed; see `kernels/steps.cuh`.
    scaled : bool
        Whether the first ever changes, which float16 needs.
    gathered, gathered_weight, average : array or None
        Gradients gathered for the next update, what their rows weigh, (), where they have weights,
        and the running mean of the parameters.
    transient : tuple of array
        What else must be put back to do a step again, and a checkpoint does not hold.
    """

    step: int = 0
    epoch: int = 0
    kernel: str = ""
    updates: int = 0
    moments: tuple[Array, ...] = ()
    rate_factor: float = 1.0
    scaling: Array | None = None
    scaled: bool = False
    gathered: Array | None = None
    gathered_weight: Array | None = None
    average: Array | None = None
    transient: tuple[Array, ...] = ()

    @property
    def arrays(self) -> tuple[Array, ...]:
        """Its arrays."""
        scaling = self.scaling if self.scaled else None
        others = (scaling, self.gathered, self.gathered_weight, self.average)
        return (*self.moments, *(array for array in others if array is not None))

    def use(self, settings: TrainingSettings, stack: LayerStack, weighted: bool = False) -> None:
        """Have the arrays that these settings need, and start those anew that they change.

        The optimizer's moments are kept as long as the same kind of optimizer is used. `weighted`
        tells whether rows have weights.
        """
        self.use_optimizer(settings.optimizer, stack)
        if settings.accumulate > 1 and self.gathered is None:
            self.gathered = stack.backend.empty(stack.gradients.shape, stack.dtype)
            self.gathered.fill(0)
        if settings.accumulate == 1 or not weighted:
            self.gathered_weight = None
        elif self.gathered_weight is None:
            self.gathered_weight = stack.backend.empty((), stack.dtype)
            self.gathered_weight.fill(0)
        if settings.average is None:
            self.average = None
        elif self.average is None:
            self.average = stack.backend.empty(stack.parameters.shape, stack.dtype)
            self.average[...] = stack.parameters

    def use_optimizer(self, optimizer: Optimizer, stack: LayerStack) -> None:
        """Start the optimizer's state anew unless it is that of the same kind of optimizer."""
        if self.kernel != optimizer.kernel:
            self.kernel, self.updates = optimizer.kernel, 0
            self.moments = tuple(
                stack.backend.empty(stack.gradients.shape, stack.dtype) for _ in optimizer.state
            )
            for moment in self.moments:
                moment.fill(0)
        if self.scaling is None:
            self.scaled = stack.precision.scaled and stack.half is not None
            scale = FIRST_SCALE if self.scaled else 1.0
            self.scaling = stack.backend.asarray(np.array([scale, 0, 0], np.float32))


class Snapshot:
    """A copy of the parameters and the training state, written over again and again.

    It lies on the device where that has memory to spare, else on the host.
    """

    def __init__(self, stack: LayerStack, state: TrainingState) -> None:
        arrays = self._arrays(stack, state)
        self._on_device = stack.backend.holds(2 * sum(array.nbytes for array in arrays))
        self._backend = stack.backend
        self._kept = [array.copy() if self._on_device else self._host(array) for array in arrays]
        self._done = _done(state)

    def take(self, stack: LayerStack, state: TrainingState) -> None:
        """Write the copy anew."""
        for kept, array in zip(self._kept, self._arrays(stack, state), strict=True):
            kept[...] = array if self._on_device else self._host(array)
        self._done = _done(state)

    def put_back(self, stack: LayerStack, state: TrainingState) -> None:
        """Bring parameters and state back to what they were."""
        for kept, array in zip(self._kept, self._arrays(stack, state), strict=True):
            array[...] = kept if self._on_device else self._backend.asarray(kept)
        state.step, state.epoch, state.updates = self._done

    def _arrays(self, stack: LayerStack, state: TrainingState) -> tuple[Array, ...]:
        return (stack.parameters, *state.arrays, *state.transient)

    def _host(self, array: Array) -> Array:
        return self._backend.to_numpy(array)


def _done(state: TrainingState) -> tuple[int, int, int]:
    """Return the steps, epochs and updates that are done."""
    return state.step, state.epoch, state.updates
