"""What happens between epochs: history, the protocol of callbacks, rates on a plateau."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol, runtime_checkable

from gpubp.checks import check_share, checked_whole
from gpubp.errors import CheckpointError, ConfigurationError, brief, import_extra
from gpubp.nn.view import NetworkView
from gpubp.text import ShownAsText
from gpubp.training.metrics import metric_name


@dataclass(repr=False)
class History(ShownAsText):
    """What a fit did, as plain data.

    Attributes
    ----------
    loss : list of float
        Mean training loss of each epoch, measured while the weights changed.
    validation_loss : list of float
        Loss on the validation data after each epoch; empty without such data.
    seconds : list of float
        Wall time of each epoch, validation included.
    stopped : str
        Why training ended before its last epoch: "", "early stopping", "time limit", "interrupted"
        or "diverged".
    metrics : dict of str to list of float
        What callbacks went by besides, after each epoch, by name; see `EarlyStopping`.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    stopped: str = ""
    metrics: dict[str, list[float]] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """Number of epochs that were finished."""
        return len(self.loss)

    def leave_out_unfinished(self) -> None:
        """Leave out the epoch whose seconds are lacking: it was ended while it was measured."""
        for curve in (self.loss, self.validation_loss, *self.metrics.values()):
            del curve[len(self.seconds) :]
        self.metrics = {name: curve for name, curve in self.metrics.items() if curve}

    def to_dict(self) -> dict[str, Any]:
        """Return the history as a dictionary of lists and one string; metrics if there are any."""
        described = asdict(self)
        if not self.metrics:
            del described["metrics"]
        return described

    def columns(self) -> dict[str, list[Any]]:
        """Return what there is of every epoch: epoch, loss, validation_loss, metrics, seconds."""
        columns: dict[str, list[Any]] = {"epoch": list(range(1, self.epochs + 1))}
        columns["loss"] = self.loss
        if self.validation_loss:
            columns["validation_loss"] = self.validation_loss
        columns |= self.metrics
        if self.seconds or not self.loss:
            columns["seconds"] = self.seconds
        return columns

    @classmethod
    def from_dict(cls, data: Any) -> History:
        """Return what `to_dict` described.

        Raises
        ------
        ValueError
            When it describes no history.
        """
        names = {each.name for each in fields(cls)}
        if not isinstance(data, dict) or not data.keys() <= names:
            raise ValueError("a history has other fields")
        history = cls(**data)
        curves = (history.loss, history.validation_loss, history.seconds, *history.metrics.values())
        for curve in curves:
            if not isinstance(curve, list) or not all(type(each) in (int, float) for each in curve):
                raise ValueError("a history holds a curve that is no list of numbers")
            if len(curve) not in (0, history.epochs):
                raise ValueError("a history holds curves of different lengths")
        return history

    def __repr__(self) -> str:
        """Say what came out of it, in one line."""
        parts = [f"{self.epochs} epochs"]
        if self.loss:
            parts.append(f"loss {self.loss[-1]:.4g}")
        if self.validation_loss:
            best = self._best_epoch
            parts.append(f"validation loss {self.validation_loss[-1]:.4g}")
            parts.append(f"best {self.validation_loss[best]:.4g} after epoch {best + 1}")
        parts += [f"{name} {values[-1]:.4g}" for name, values in self.metrics.items()]
        parts += [f"{sum(self.seconds):.3g} s"] if self.seconds else []
        parts += [f"stopped: {self.stopped}"] if self.stopped else []
        return f"History({', '.join(parts)})"

    @property
    def _best_epoch(self) -> int:
        return min(range(len(self.validation_loss)), key=self.validation_loss.__getitem__)

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame, a row an epoch.

        Raises
        ------
        MissingExtraError
            When pandas is not installed.
        """
        frame = import_extra("pandas", "pandas").DataFrame(self.columns())
        return frame.set_index("epoch")

    def plot(self, axes: Any = None) -> Any:
        """Draw the losses and return matplotlib's axes.

        Parameters
        ----------
        axes : matplotlib.axes.Axes or None
            Where to draw; None makes a new figure.

        Raises
        ------
        MissingExtraError
            When matplotlib is not installed.
        """
        if axes is None:
            _, axes = import_extra("matplotlib.pyplot", "plot").subplots()
        epochs = range(1, self.epochs + 1)
        alone = "o" if self.epochs == 1 else ""  # a line of one point would not be seen
        axes.plot(epochs, self.loss, marker=alone, label="training")
        if self.validation_loss:
            best = self._best_epoch
            (line,) = axes.plot(epochs, self.validation_loss, marker=alone, label="validation")
            value = self.validation_loss[best]
            axes.plot(
                best + 1,
                value,
                linestyle="",
                marker="o",
                color=line.get_color(),
                label=f"best: {value:.4g} after epoch {best + 1}",
            )
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss")
        axes.xaxis.get_major_locator().set_params(integer=True)
        if self.epochs == 1:
            axes.set_xticks([1])
        axes.legend()
        return axes


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
