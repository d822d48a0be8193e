"""How a network is trained, in one object: what a step needs besides network and batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from gpubp.checks import checked_list, checked_whole, is_number
from gpubp.errors import ConfigurationError, brief
from gpubp.nn.activations import Activation
from gpubp.nn.losses import Loss, get_loss
from gpubp.nn.optimizer import Optimizer
from gpubp.nn.optimizers import Adam, get_optimizer
from gpubp.nn.parameter_groups import ParameterGroup
from gpubp.nn.regularization import NONE, Regularization
from gpubp.nn.schedule import Setting, is_schedule


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of all steps of one training.

    Attributes
    ----------
    accumulate : int
        Batches whose gradients are gathered for one update, as if they were one batch.
    average : float or None
        Decay of the running mean of the parameters, ``mean = decay * mean + (1 - decay) *
        parameters`` after each update (Polyak and Juditsky 1992, with the weights of Adam's
        moments); None keeps none.
    groups : tuple of ParameterGroup
        Parameters with a learning rate and a weight decay of their own.
    dropout_factor : float, Schedule or None
        What the network's rates of dropout are multiplied by; None leaves them.

    Raises
    ------
    ConfigurationError
        When a setting is out of its range.
    """

    optimizer: Optimizer
    loss: Loss
    regularization: Regularization = NONE
    accumulate: int = 1
    average: float | None = None
    groups: tuple[ParameterGroup, ...] = ()
    dropout_factor: Setting | None = None

    # of what `Network.fit` is given, what `of` takes
    GIVEN: ClassVar = (
        *("optimizer", "loss", "regularization", "accumulate", "average", "groups"),
        "dropout_factor",
    )

    @classmethod
    def of(
        cls,
        output: Activation,
        *,
        optimizer: str | Optimizer | type[Optimizer] | None = None,
        loss: str | Loss = "auto",
        regularization: Regularization | None = None,
        groups: Sequence[ParameterGroup] = (),
        **others: Any,
    ) -> TrainingSettings:
        """Return the settings of a network with this output, from what `Network.fit` is given.

        Raises
        ------
        UnknownNameError, ConfigurationError
            When a setting is unknown, out of its range or does not fit the output.
        """
        return cls(
            Adam() if optimizer is None else get_optimizer(optimizer),
            get_loss(loss, output),
            regularization or NONE,
            groups=checked_list("groups", groups),
            **others,
        )

    def __post_init__(self) -> None:
        checked_whole("accumulate", self.accumulate)
        _check_kinds("regularization", (self.regularization,), Regularization)
        _check_kinds("groups", self.groups, ParameterGroup)
        factor = self.dropout_factor
        if isinstance(factor, int | float):
            right = is_number(factor) and factor >= 0
        else:
            right = factor is None or is_schedule(factor)
        if not right:
            raise ConfigurationError(
                f"dropout_factor is {brief(factor)}; a finite number from 0 or a schedule is needed"
            )
        average = self.average
        if average is not None and not (is_number(average) and 0 < average < 1):
            raise ConfigurationError(
                f"average is {brief(average)}; a number between 0 and 1, such as 0.999, is needed"
            )

    def described(self) -> dict[str, str]:
        """Return the settings as text, to tell runs apart; without those that are not used."""
        used = {"groups": self.groups, "dropout_factor": self.dropout_factor}
        return {
            "optimizer": repr(self.optimizer),
            "loss": self.loss.settings,
            "regularization": repr(self.regularization),
            "accumulate": str(self.accumulate),
            "average": str(self.average),
        } | {name: repr(value) for name, value in used.items() if value not in ((), None)}


def _check_kinds(name: str, values: Sequence[Any], kind: type) -> None:
    """Raise ConfigurationError when a setting is not of its class."""
    for value in values:
        if not isinstance(value, kind):
            raise ConfigurationError(
                f"{name} holds {brief(value)}; a gpubp.{kind.__name__} is needed"
            )


@dataclass(frozen=True)
class Turn:
    """Where a batch stands among those whose gradients are gathered for one update.

    Attributes
    ----------
    share : float
        Its share of their rows.
    first, last : bool
        Whether it begins and ends them.
    place, rows : int
        Its number among them, and the rows of all of them.
    """

    share: float = 1.0
    first: bool = True
    last: bool = True
    place: int = 0
    rows: int = 0

    @property
    def alone(self) -> bool:
        """Whether the batch is the only one."""
        return self.first and self.last


def turn_of(index: int, sizes: list[int], accumulate: int) -> Turn:
    """Return where batch `index` of an epoch stands, the rows of all its batches being `sizes`."""
    start = index // accumulate * accumulate
    together = sizes[start : start + accumulate]
    rows, place = sum(together), index - start
    last = place == len(together) - 1
    return Turn(sizes[index] / rows, place == 0, last, place, rows)
