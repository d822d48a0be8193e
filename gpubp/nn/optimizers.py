"""Optimizers: plain settings; their state lives with the network, their step in `kernels/`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from gpubp.backends.formulas.updates import UPDATES
from gpubp.checks import check_fraction, check_positive, checked_name
from gpubp.errors import ConfigurationError, brief
from gpubp.nn.optimizer import NamedSettings, Optimizer, check_decay, rate_at
from gpubp.nn.schedule import LearningRate, Setting, as_schedule, value_at


@dataclass(frozen=True)
class SGD(NamedSettings):
    """Stochastic gradient descent, plain, with momentum or with Nesterov's momentum.

    ``v = momentum * v + gradient; weight -= learning_rate * v``; with ``nesterov=True``
    ``weight -= learning_rate * (gradient + momentum * v)`` (Sutskever et al. 2013, in the form
    of PyTorch).

    Raises
    ------
    ConfigurationError
        When a setting is out of its range.
    """

    learning_rate: LearningRate = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        as_schedule(self.learning_rate)
        check_fraction(momentum=self.momentum)
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
        return UPDATES[self.kernel].state

    def scalars(self, step: int, factor: float = 1.0, decay: float = 1.0) -> tuple[float, ...]:
        """Return the kernel's scalars at a step; see `Optimizer.scalars`."""
        rate = rate_at(self, step, factor)
        return (rate,) if self.momentum == 0 else (rate, self.momentum)


@dataclass(frozen=True)
class RMSProp(NamedSettings):
    """Gradient divided by a running root mean square (Tieleman and Hinton 2012, lecture 6.5).

    ``s = decay * s + (1 - decay) * g**2; weight -= learning_rate * g / (sqrt(s) + epsilon)``

    Raises
    ------
    ConfigurationError
        When a setting is out of its range.
    """

    learning_rate: LearningRate = 0.001
    decay: float = 0.9
    epsilon: float = 1e-7

    kernel = "rmsprop"
    state = UPDATES[kernel].state

    def __post_init__(self) -> None:
        as_schedule(self.learning_rate)
        check_positive(epsilon=self.epsilon)
        check_fraction(decay=self.decay)

    def scalars(self, step: int, factor: float = 1.0, decay: float = 1.0) -> tuple[float, ...]:
        """Return the kernel's scalars at a step; see `Optimizer.scalars`."""
        return (rate_at(self, step, factor), self.decay, self.epsilon)


@dataclass(frozen=True)
class Adam(NamedSettings):
    """Adam (Kingma and Ba 2015, algorithm 1).

    Raises
    ------
    ConfigurationError
        When a setting is out of its range.
    """

    learning_rate: LearningRate = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    kernel = "adam"
    state = UPDATES[kernel].state

    def __post_init__(self) -> None:
        as_schedule(self.learning_rate)
        check_positive(epsilon=self.epsilon)
        check_fraction(beta1=self.beta1, beta2=self.beta2)

    def scalars(self, step: int, factor: float = 1.0, decay: float = 1.0) -> tuple[float, ...]:
        """Return the kernel's scalars at a step; see `Optimizer.scalars`."""
        rate = rate_at(self, step, factor)
        return (
            rate / (1.0 - self.beta1**step),
            self.beta1,
            self.beta2,
            self.epsilon,
            (1.0 - self.beta2**step) ** -0.5,
            self._shrink(rate, step, decay),
        )

    def _shrink(self, rate: float, step: int, decay: float) -> float:
        return 1.0


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as in PyTorch.

    Every parameter, biases too, is first multiplied by ``1 - learning_rate * weight_decay``, which
    may be a schedule each; see `ParameterGroup` for parameters without.

    Raises
    ------
    ConfigurationError
        When a setting is out of its range.
    """

    weight_decay: Setting = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_decay(self, self.weight_decay)

    def _shrink(self, rate: float, step: int, decay: float) -> float:
        return 1.0 - rate * (decay * value_at(self.weight_decay, step))


@dataclass(frozen=True)
class Adagrad(NamedSettings):
    """Gradient divided by the root of the sum of all squares so far (Duchi et al. 2011).

    ``s = s + g**2; weight -= learning_rate * g / (sqrt(s) + epsilon)``

    Raises
    ------
    ConfigurationError
        When a setting is out of its range.
    """

    learning_rate: LearningRate = 0.01
    epsilon: float = 1e-10

    kernel = "adagrad"
    state = UPDATES[kernel].state

    def __post_init__(self) -> None:
        as_schedule(self.learning_rate)
        check_positive(epsilon=self.epsilon)

    def scalars(self, step: int, factor: float = 1.0, decay: float = 1.0) -> tuple[float, ...]:
        """Return the kernel's scalars at a step; see `Optimizer.scalars`."""
        return (rate_at(self, step, factor), self.epsilon)


@dataclass(frozen=True)
class Nadam(Adam):
    """Adam with Nesterov's momentum (Dozat 2016), in the form of PyTorch.

    The momentum rises with the step: ``mu(t) = beta1 * (1 - 0.96 ** (0.004 * t) / 2)``.

    Raises
    ------
    ConfigurationError
        When a setting is out of its range.
    """

    learning_rate: LearningRate = 0.002

    kernel = "nadam"

    def scalars(self, step: int, factor: float = 1.0, decay: float = 1.0) -> tuple[float, ...]:
        """Return the kernel's scalars at a step; see `Optimizer.scalars`."""
        rate, product = rate_at(self, step, factor), _momentum_product(self.beta1, step)
        now, ahead = _momentum(self.beta1, step), _momentum(self.beta1, step + 1)
        return (
            rate * (1.0 - now) / (1.0 - product),
            rate * ahead / (1.0 - product * ahead),
            self.beta1,
            self.beta2,
            self.epsilon,
            (1.0 - self.beta2**step) ** -0.5,
        )


@dataclass(frozen=True)
class Lion(NamedSettings):
    """A step of one size in every direction, by the sign of a momentum (Chen et al. 2023).

    ``c = beta1 m + (1 - beta1) g; weight -= learning_rate (sign(c) + weight_decay weight);
    m = beta2 m + (1 - beta2) g``

    Raises
    ------
    ConfigurationError
        When a setting is out of its range.
    """

    learning_rate: LearningRate = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: Setting = 0.0

    kernel = "lion"
    state = UPDATES[kernel].state

    def __post_init__(self) -> None:
        as_schedule(self.learning_rate)
        check_fraction(beta1=self.beta1, beta2=self.beta2)
        check_decay(self, self.weight_decay)

    def scalars(self, step: int, factor: float = 1.0, decay: float = 1.0) -> tuple[float, ...]:
        """Return the kernel's scalars at a step; see `Optimizer.scalars`."""
        rate = rate_at(self, step, factor)
        shrink = 1.0 - rate * (decay * value_at(self.weight_decay, step))
        return (rate, self.beta1, self.beta2, shrink)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "rmsprop": RMSProp,
    "adagrad": Adagrad,
    "adam": Adam,
    "adamw": AdamW,
    "nadam": Nadam,
    "lion": Lion,
}


def get_optimizer(optimizer: str | Optimizer | type[Optimizer]) -> Optimizer:
    """Return the optimizer itself, or that of a name or class with its default settings.

    Raises
    ------
    UnknownNameError
        When there is none of this name; lists the known names.
    ConfigurationError
        When it is nothing of the kind.
    """
    if isinstance(optimizer, type):
        optimizer = optimizer()
    if not isinstance(optimizer, str):
        if hasattr(optimizer, "kernel") and hasattr(optimizer, "scalars"):
            return optimizer
        raise ConfigurationError(
            f"optimizer is {brief(optimizer, 80)}; a name, or settings such as gpubp.Adam(1e-3), is"
            " needed"
        )
    return _default(checked_name("optimizer", optimizer, OPTIMIZERS))


@cache  # settings do not change, and `train_step` asks for them in every step
def _default(name: str) -> Optimizer:
    return OPTIMIZERS[name]()


def _momentum(beta1: float, step: int) -> float:
    return float(beta1 * (1.0 - 0.5 * 0.96 ** (0.004 * step)))


@cache
def _momentum_products(beta1: float) -> list[float]:
    return [1.0]


def _momentum_product(beta1: float, step: int) -> float:
    """Return the product of the momenta of steps 1 to `step`; those computed once are kept."""
    products = _momentum_products(beta1)
    while len(products) <= step:
        products.append(products[-1] * _momentum(beta1, len(products)))
    return products[step]
