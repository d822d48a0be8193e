"""What all optimizers are, and what is checked of their settings."""

from __future__ import annotations

import inspect
from typing import Any, Protocol, Self

from gpubp.errors import ConfigurationError, UnknownNameError, brief
from gpubp.nn.schedule import LearningRate, Setting, peak_of, value_at


class Optimizer(Protocol):
    """Settings of one optimizer.

    Attributes
    ----------
    learning_rate : float or Schedule
        Size of a step, above 0; see `gpubp.nn.schedules`.
    kernel : str
        Name of the update kernel.
    state : tuple of str
        Names of its state buffers, each as long as the parameters and zero at the start.
    """

    @property
    def learning_rate(self) -> LearningRate:
        """Size of a step."""

    @property
    def kernel(self) -> str:
        """Name of the update kernel."""

    @property
    def state(self) -> tuple[str, ...]:
        """Names of the state buffers."""

    def scalars(self, step: int, factor: float = 1.0, decay: float = 1.0) -> tuple[float, ...]:
        """Return the kernel's scalars at a step.

        Parameters
        ----------
        step : int
            The step, counted from 1.
        factor, decay : float
            What the learning rate and the weight decay are multiplied by.
        """


# What other libraries call the settings
OTHER_NAMES = {
    "lr": "learning_rate",
    "betas": "beta1 and beta2",
    "eps": "epsilon",
    "rho": "decay",
    "alpha": "decay",
    "b1": "beta1",
    "b2": "beta2",
}


class NamedSettings:
    """Says which names the settings of an optimizer have, when it is given another one."""

    def __new__(cls, *values: Any, **settings: Any) -> Self:
        """Make settings of this class, or raise ConfigurationError for a name it does not have."""
        known = [] if not settings else list(inspect.signature(cls).parameters)
        for name in settings:
            if name in known:
                continue
            if name in OTHER_NAMES:
                right = OTHER_NAMES[name]
                raise ConfigurationError(
                    f"{name} is no setting of {cls.__name__}; {right}, as it is called here, is"
                    " needed"
                )
            raise UnknownNameError(f"setting of {cls.__name__}", name, known)
        return super().__new__(cls)


def rate_at(optimizer: Optimizer, step: int, factor: float = 1.0) -> float:
    """Return the learning rate at a step, counted from 1, times a factor."""
    return factor * value_at(optimizer.learning_rate, step)


def check_decay(optimizer: Optimizer, weight_decay: Setting) -> None:
    """Raise ConfigurationError for a decay that would turn parameters round."""
    if not 0 <= peak_of(optimizer.learning_rate) * peak_of(weight_decay) < 1:
        raise ConfigurationError(
            f"weight_decay is {brief(weight_decay)}; a number from 0 to below 1 / learning_rate is"
            " needed"
        )
