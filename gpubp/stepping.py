"""What a network does a step at a time: forward, backward, one step of gradient descent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from gpubp.backends.interchange import give_back, take_in
from gpubp.checks import check_positive, checked_list
from gpubp.data.batches import Data, take_data, take_inputs
from gpubp.data.feeds import read_rows
from gpubp.errors import ConfigurationError, DivergenceError, ShapeError
from gpubp.inspection.memory import on_device
from gpubp.nn.backprop import first_non_finite
from gpubp.nn.losses import Loss, get_loss
from gpubp.nn.optimizer import Optimizer
from gpubp.nn.optimizers import get_optimizer
from gpubp.nn.parameter_groups import ParameterGroup
from gpubp.nn.regularization import NONE, Regularization
from gpubp.nn.schedule import Setting
from gpubp.saving import SavedNetwork
from gpubp.training import evaluation
from gpubp.training.data_initialization import initialize_from
from gpubp.training.epoch_steps import do_step
from gpubp.training.settings import TrainingSettings


class SteppedNetwork(SavedNetwork):
    """The part of a network's face that is used a batch at a time."""

    @overload
    @on_device
    def forward(self, x: NDArray[Any]) -> NDArray[Any]: ...

    @overload
    @on_device
    def forward(self, x: Any) -> Any: ...

    @on_device
    def forward(self, x: Any) -> Any:
        """Return outputs (rows, outputs) for inputs (rows, inputs); keep what `backward` needs.

        Raises
        ------
        ShapeError, DataError, NonFiniteError, DeviceError
            When x cannot be used.
        """
        stack = self.stack
        stack.refresh()
        rows = read_rows(stack, take_inputs(stack, x))
        self._last = evaluation.forward(stack, rows)
        return give_back(self._last.output.copy(), self.backend, x)

    @on_device
    def backward(self, dy: Any) -> Any:
        """Return dx (rows, inputs) for a gradient dy by the outputs of the last `forward`.

        `gradients` is written: the sum over the rows of the gradient by each parameter.

        Raises
        ------
        ConfigurationError
            When there was no forward pass before.
        ShapeError, DataError, DeviceError
            When dy cannot be used.
        """
        buffers = self._last
        if buffers is None:
            raise ConfigurationError("backward before forward; call forward(x) first")
        gradient = take_in(dy, self.backend, "dy")
        if gradient.shape != buffers.output.shape:
            raise ShapeError(
                f"dy has shape {tuple(gradient.shape)}; {tuple(buffers.output.shape)} is needed,"
                " that of the last forward's outputs"
            )
        gradient = self.backend.asarray(gradient, self.dtype)
        self.backend.convert(gradient, buffers.delta)
        dx = self.backend.xp.empty((buffers.rows, self.sizes[0]), self.dtype)
        self.stack.backward(self.backend, buffers, dx=dx)
        if self.input_scale != 1:
            dx *= self.input_scale
        return give_back(dx, self.backend, dy)

    @on_device
    def initialize_from(self, x: Any, weights: bool = True, biases: int = 5) -> None:
        """Let the first weights and biases follow the data.

        See `gpubp.training.data_initialization`. For a network that was just made; what is drawn is
        decided by its seed, and alike on every backend.

        Parameters
        ----------
        x : array, (rows, inputs)
            Rows to train on; of more than 4,096 so many are drawn.
        weights : bool
            Whether the weights into each neuron are scaled so that its sums have variance 1.
        biases : int
            Of a neuron's sums in how many rows its bias is minus a random convex combination; 0
            leaves biases at zero.

        Raises
        ------
        ConfigurationError
            When the network has been trained, or `biases` is no whole number from 0.
        ShapeError, DataError, NonFiniteError, DeviceError
            When x cannot be used.
        """
        if self._state.step:
            raise ConfigurationError(
                f"initialize_from after {self._state.step} steps of training; a network that was"
                " just made is needed"
            )
        twin = self.copy(dtype=self.dtype)  # which leaves a half precision
        initialize_from(twin.stack, take_inputs(twin.stack, x), weights, biases)
        self.parameters[...] = twin.parameters

    @on_device
    def train_step(
        self,
        x: Any,
        y: Any,
        optimizer: str | Optimizer = "sgd",
        loss: str | Loss = "auto",
        regularization: Regularization | None = None,
        sample_weight: Any = None,
        groups: Sequence[ParameterGroup] = (),
        dropout_factor: Setting | None = None,
    ) -> float:
        """Do one step of gradient descent on a batch and return its mean loss before the step.

        The optimizer's moments are kept as long as the same kind of optimizer is used. The number
        is fetched from the device, which waits for it; `fit` does not.

        Raises
        ------
        DivergenceError
            When the loss is not finite; the parameters are then as they were before the step.
        ShapeError, DataError, NonFiniteError, DeviceError, ConfigurationError
            When an argument cannot be used.
        """
        chosen = get_loss(loss, self.output)
        stack, self._last = self.stack, None
        data = take_data(stack, x, y, chosen, sample_weight=sample_weight)
        settings = TrainingSettings(
            *(get_optimizer(optimizer), chosen, regularization or NONE),
            groups=checked_list("groups", groups),
            dropout_factor=dropout_factor,
        )
        with np.errstate(over="ignore", invalid="ignore"):  # looked for, and named, here
            batch = Data(read_rows(stack, data.x), data.expected, weights=data.weights)
            value = do_step(stack, self._state, batch, settings)
            if not math.isfinite(value):
                buffers = stack.buffers(len(batch))
                stack.forward(self.backend, batch.x, buffers, self._state.step)
                where = first_non_finite(stack, buffers)
                raise DivergenceError(
                    f"the loss is {value}, first in {where}; the parameters are as they were",
                    self._state.step + 1,
                    where,
                )
        return value

    @on_device
    def averaged(self) -> Self:
        """Return a network with the running mean of the parameters, kept by ``fit(average=...)``.

        Raises
        ------
        ConfigurationError
            When the last training kept none.
        """
        if self._state.average is None:
            raise ConfigurationError("averaged without fit(average=...); a decay is needed there")
        twin = self.copy()
        twin.parameters[...] = self._state.average
        return twin

    def scale_learning_rate(self, factor: float) -> None:
        """Multiply the learning rate of every step from now on; `ReduceOnPlateau` does.

        Raises
        ------
        ConfigurationError
            When the factor is no finite number above 0.
        """
        check_positive(factor=factor)
        self._state.rate_factor *= factor

    def reset_optimizer(self) -> None:
        """Forget the optimizer's moments and what its learning rate was multiplied by."""
        self._state.kernel, self._state.rate_factor = "", 1.0
