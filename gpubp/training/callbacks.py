"""What happens between epochs: the protocol of callbacks, rates on a plateau, health."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from gpubp.checks import check_share, checked_whole
from gpubp.errors import CheckpointError, ConfigurationError, brief
from gpubp.nn.view import NetworkView
from gpubp.training.history import History
from gpubp.training.metrics import metric_name


class Callback(Protocol):
    """Called by `fit`; the network may be read and its parameters changed in place.

    One with an attribute `metric` finds its values in ``history.metrics``; one with an attribute
    `reason` says what ``history.stopped`` is to be when it ends the training. Where all have a
    false attribute `every_epoch`, several short epochs are done together, and they are told once.
    """

    def begin(self, net: NetworkView, epochs: int) -> None:
        """Be told that training begins and how many epochs were asked for."""

    def advance(self, history: History, share: float) -> bool | None:
        """Be told now and then what share (0 to 1) of the current epoch is done.

        Return True to end the training here, within the epoch; processes that train together go on
        to its end.
        """

    def epoch_end(self, net: NetworkView, history: History) -> bool:
        """Be told that an epoch ended; return True to end the training."""

    def end(self, net: NetworkView, history: History) -> None:
        """Be told that training ended, be it by an error or Ctrl-C."""


_METHODS = ("begin", "advance", "epoch_end", "end")


def as_callbacks(callbacks: Any) -> list[Callback]:
    """Return a list of callbacks, of one that stands by itself too.

    Raises
    ------
    ConfigurationError
        When one of them lacks a method of `Callback`.
    """
    checked = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    for each in checked:
        lacking = [name for name in _METHODS if not callable(getattr(each, name, None))]
        if lacking or isinstance(each, type):
            raise ConfigurationError(
                f"callbacks hold {brief(each)}; an object with the methods {', '.join(_METHODS)} is"
                " needed, such as gpubp.EarlyStopping()"
            )
    return checked


def callback_name(callback: Callback) -> str:
    """Return the kind of a callback, with the metric it goes by."""
    kind, metric = type(callback).__name__, getattr(callback, "metric", None)
    return kind if metric is None else f"{kind}({metric_name(metric)})"


@runtime_checkable
class Resumable(Protocol):
    """A callback with a memory, which a checkpoint keeps."""

    def get_state(self, net: NetworkView) -> dict[str, Any]:
        """Return its memory: numbers, strings and NumPy arrays, by name."""

    def set_state(self, net: NetworkView, state: dict[str, Any]) -> None:
        """Take a memory back, after `begin`."""


class ReduceOnPlateau:
    """Multiply the learning rate by `factor` when the validation loss no longer falls.

    Without validation data the training loss is watched. It multiplies what the optimizer's
    schedule gives, if it has one.

    Parameters
    ----------
    patience : int
        Epochs without a better loss after which the rate falls; at least 1.
    factor : float
        Between 0 and 1.
    least : float
        The rate falls to no less than this share of what it was.

    Raises
    ------
    ConfigurationError
        When a setting is out of its range.
    """

    def __init__(self, patience: int = 5, factor: float = 0.1, least: float = 1e-4) -> None:
        checked_whole("patience", patience)
        check_share(factor=factor, least=least)
        self.patience, self.factor, self.least = patience, factor, least
        self._best, self._waited, self._share = float("inf"), 0, 1.0

    def begin(self, net: NetworkView, epochs: int) -> None:
        """Forget an earlier training."""
        self._best, self._waited, self._share = float("inf"), 0, 1.0

    def advance(self, history: History, share: float) -> None:
        """Do nothing within an epoch."""

    def epoch_end(self, net: Any, history: History) -> bool:
        """Lower the rate when patience is over; training goes on."""
        loss = (history.validation_loss or history.loss)[-1]
        if loss < self._best:
            self._best, self._waited = loss, 0
            return False
        self._waited += 1
        factor = max(self.factor, self.least / self._share)
        if self._waited >= self.patience and factor < 1:
            net.scale_learning_rate(factor)
            self._share *= factor
            self._waited = 0
        return False

    def get_state(self, net: NetworkView) -> dict[str, Any]:
        """Return the best loss and how long it has been."""
        return {"best": self._best, "waited": self._waited, "share": self._share}

    def set_state(self, net: NetworkView, state: dict[str, Any]) -> None:
        """Go on with what was best."""
        if not 0 < state["share"] <= 1:
            raise CheckpointError(f"share is {state['share']!r}; a number from 0 to 1 is needed")
        self._best, self._waited, self._share = state["best"], state["waited"], state["share"]

    def end(self, net: NetworkView, history: History) -> None:
        """Do nothing: the rate stays as it is."""


class HealthWatch:
    """Examine the network at the beginning and after epochs; say on standard error what is wrong.

    Parameters
    ----------
    x, y : array
        Rows to look at; 1,024 of them at most are.
    optimizer : str or Optimizer
        As given to `fit`; decides the size of the updates.
    every : int
        Epochs from one look to the next; at least 1.

    Attributes
    ----------
    reports : list of `gpubp.inspection.health.Health`
        What was found, first at the beginning.
    """

    def __init__(self, x: Any, y: Any, optimizer: Any = "adam", every: int = 1) -> None:
        checked_whole("every", every)
        self.x, self.y, self.optimizer, self.every = x, y, optimizer, every
        self.reports: list[Any] = []
        self._said: set[str] = set()

    def begin(self, net: Any, epochs: int) -> None:
        """Take the first look."""
        self.reports, self._said = [], set()
        self._look(net)

    def advance(self, history: History, share: float) -> None:
        """Do nothing within an epoch."""

    def epoch_end(self, net: Any, history: History) -> bool:
        """Look again when it is time; training goes on."""
        if history.epochs % self.every == 0:
            self._look(net)
        return False

    def end(self, net: NetworkView, history: History) -> None:
        """Do nothing."""

    def _look(self, net: Any) -> None:
        self.reports.append(net.health(self.x, self.y, optimizer=self.optimizer))
        for finding in self.reports[-1].findings:
            # such as "layer 2:" and its remedy; the numbers between change
            kind = " ".join(finding.split()[:2]) + finding.rpartition(":")[2]
            if kind not in self._said:  # once is enough
                self._said.add(kind)
                print(f"after {self.reports[-1].step} steps, {finding}", file=sys.stderr)
