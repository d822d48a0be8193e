"""Optimizers: plain settings; their state lives with the network, their step in `kernels/`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gpubp.errors import ConfigurationError, UnknownNameError


class Optimizer(Protocol):
    """Settings of one optimizer.

    Attributes
    ----------
    learning_rate : float
        Size of a step, above 0.
    kernel : str
        Name of the update kernel.
    state : tuple of str
        Names of its state buffers, each as long as the parameters and zero at the start.
    """

    @property
    def learning_rate(self) -> float:
        """Size of a step."""

    @property
    def kernel(self) -> str:
        """Name of the update kernel."""

    @property
    def state(self) -> tuple[str, ...]:
        """Names of the state buffers."""

    def scalars(self, step: int) -> tuple[float, ...]:
        """Return the kernel's scalar arguments at a step, counted from 1."""


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, plain, with momentum or with Nesterov's momentum.

    ``v = momentum * v + gradient; weight -= learning_rate * v``; with ``nesterov=True``
    ``weight -= learning_rate * (gradient + momentum * v)`` (Sutskever et al. 2013, in the form
    of PyTorch).

    Raises
    ------
    ConfigurationError
        When a setting is out of its range.
    """

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        _check_positive(learning_rate=self.learning_rate)
        _check_fraction(momentum=self.momentum)
        if self.nesterov and self.momentum == 0:
            raise ConfigurationError("nesterov=True with momentum 0; a momentum above 0 is needed")

    @property
    def kernel(self) -> str:
        """Name of the update kernel: one for each of the three forms."""
        if self.momentum == 0:
            return "sgd"
        return "nesterov" if self.nesterov else "momentum"

    @property
    def state(self) -> tuple[str, ...]:
        """Names of the state buffers: none, or the velocity."""
        return () if self.momentum == 0 else ("velocity",)

    def scalars(self, step: int) -> tuple[float, ...]:
        """Return the kernel's scalar arguments at a step, counted from 1."""
        if self.momentum == 0:
            return (self.learning_rate,)
        return (self.learning_rate, self.momentum)


@dataclass(frozen=True)
class RMSProp:
    """Gradient divided by a running root mean square (Tieleman and Hinton 2012, lecture 6.5).

    ``s = decay * s + (1 - decay) * g**2; weight -= learning_rate * g / (sqrt(s) + epsilon)``

    Raises
    ------
    ConfigurationError
        When a setting is out of its range.
    """

    learning_rate: float = 0.001
    decay: float = 0.9
    epsilon: float = 1e-7

    kernel = "rmsprop"
    state = ("square",)

    def __post_init__(self) -> None:
        _check_positive(learning_rate=self.learning_rate, epsilon=self.epsilon)
        _check_fraction(decay=self.decay)

    def scalars(self, step: int) -> tuple[float, ...]:
        """Return the kernel's scalar arguments at a step, counted from 1."""
        return (self.learning_rate, self.decay, self.epsilon)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1).

    Raises
    ------
    ConfigurationError
        When a setting is out of its range.
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    kernel = "adam"
    state = ("moment1", "moment2")

    def __post_init__(self) -> None:
        _check_positive(learning_rate=self.learning_rate, epsilon=self.epsilon)
        _check_fraction(beta1=self.beta1, beta2=self.beta2)

    def scalars(self, step: int) -> tuple[float, ...]:
        """Return the kernel's scalar arguments at a step, counted from 1."""
        return (
            self.learning_rate / (1.0 - self.beta1**step),
            self.beta1,
            self.beta2,
            self.epsilon,
            (1.0 - self.beta2**step) ** -0.5,
            self._shrink(),
        )

    def _shrink(self) -> float:
        return 1.0


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as in PyTorch.

    Every parameter, biases too, is first multiplied by ``1 - learning_rate * weight_decay``.

    Raises
    ------
    ConfigurationError
        When a setting is out of its range.
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.learning_rate * self.weight_decay < 1:
            raise ConfigurationError(
                f"weight_decay is {self.weight_decay!r}; a number from 0 to below 1 /"
                " learning_rate is needed"
            )

    def _shrink(self) -> float:
        return 1.0 - self.learning_rate * self.weight_decay


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": AdamW,
}


def get_optimizer(optimizer: str | Optimizer) -> Optimizer:
    """Return the optimizer itself, or the one of this name with its default settings.

    Raises
    ------
    UnknownNameError
        When there is none of this name; lists the known names.
    """
    if not isinstance(optimizer, str):
        return optimizer
    if optimizer not in OPTIMIZERS:
        raise UnknownNameError("optimizer", optimizer, OPTIMIZERS)
    return OPTIMIZERS[optimizer]()


def _check_positive(**settings: float) -> None:
    for name, value in settings.items():
        if not 0 < value < float("inf"):
            raise ConfigurationError(f"{name} is {value!r}; a finite number above 0 is needed")


def _check_fraction(**settings: float) -> None:
    for name, value in settings.items():
        if not 0 <= value < 1:
            raise ConfigurationError(f"{name} is {value!r}; a number from 0 to below 1 is needed")
