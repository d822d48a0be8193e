"""Callbacks that end training: no longer getting better, or out of time."""

from __future__ import annotations

import time
from typing import Any

from gpubp.backends import Array
from gpubp.checks import check_from_zero, check_positive, checked_whole
from gpubp.errors import CheckpointError, ConfigurationError, brief
from gpubp.nn.view import NetworkView
from gpubp.training.history import History
from gpubp.training.metrics import Metric, checked_metric, metric_name

TIME_LIMIT = "time limit"


class TimeLimit:
    """End training when its time is over, looked at every 201 steps and after every epoch.

    An epoch that is cut short is not in the history; training that goes on from the checkpoint
    written then finishes it, to the same bits. Processes that train together finish it before they
    end. The time counts from the beginning of the fit, resumed or not.

    Parameters
    ----------
    seconds : float
        How long training may take.

    Raises
    ------
    ConfigurationError
        When that is no finite number above 0.
    """

    reason = TIME_LIMIT

    def __init__(self, seconds: float) -> None:
        check_positive(seconds=seconds)
        self.seconds = seconds
        self._start = 0.0

    def begin(self, net: NetworkView, epochs: int) -> None:
        """Look at the clock."""
        self._start = time.monotonic()

    def advance(self, history: History, share: float) -> bool:
        """Say whether the time is over."""
        return time.monotonic() - self._start >= self.seconds

    def epoch_end(self, net: NetworkView, history: History) -> bool:
        """Say whether the time is over."""
        return self.advance(history, 1.0)

    def end(self, net: NetworkView, history: History) -> None:
        """Do nothing."""


class EarlyStopping:
    """End training when the validation loss no longer falls, and put the best weights back.

    Without validation data the training loss is watched; with a metric, that of the validation
    data. The best weights are put back however training ends, after Ctrl-C or a diverged loss too.

    Parameters
    ----------
    patience : int or None
        Epochs without a better loss after which training ends, at least 1; None to go on to the
        last epoch and only put the best weights back.
    min_delta : float
        What counts as better: lower, or with mode "max" higher, by more than this.
    metric : {"accuracy", "auc", "rmse", "mae"}, callable or None
        What to go by instead of the loss: a name, or ``metric(expected, outputs)``, which is given
        NumPy arrays of all validation data, class indices (rows,) or values (rows, outputs), and
        outputs (rows, outputs). All rows count alike, whatever they weigh.
    mode : {"min", "max"} or None
        Which value of the metric is best; a metric by name has its own.

    Attributes
    ----------
    best_loss, best_epoch : float, int
        The best loss, or value of the metric, and after which epoch it was.

    Raises
    ------
    ConfigurationError, UnknownNameError
        When a setting is out of its range or not known.
    """

    def __init__(
        self,
        patience: int | None = 10,
        min_delta: float = 0.0,
        metric: str | Metric | None = None,
        mode: str | None = None,
    ) -> None:
        if patience is not None:
            checked_whole("patience", patience)
        check_from_zero(min_delta=min_delta)
        if metric is None and mode not in (None, "min"):
            raise ConfigurationError(f"mode is {brief(mode)} without a metric; 'min' is needed")
        self.patience = patience
        self.min_delta = min_delta
        self.metric = metric
        self.mode = "min" if metric is None else checked_metric(metric, mode)
        self._sign = 1.0 if self.mode == "min" else -1.0
        self._forget()

    def _forget(self) -> None:
        self.best_loss, self.best_epoch = self._sign * float("inf"), 0
        self._best: Array = None

    def begin(self, net: NetworkView, epochs: int) -> None:
        """Forget an earlier training."""
        self._forget()

    def advance(self, history: History, share: float) -> None:
        """Do nothing within an epoch."""

    def epoch_end(self, net: NetworkView, history: History) -> bool:
        """Keep the weights if they are the best so far; say whether patience is over."""
        if self.metric is None:
            value = (history.validation_loss or history.loss)[-1]
        else:
            value = history.metrics[metric_name(self.metric)][-1]
        if self._sign * value < self._sign * self.best_loss - self.min_delta:
            self.best_loss, self.best_epoch = value, history.epochs
            self._best = net.parameters.copy()
        return self.patience is not None and history.epochs - self.best_epoch >= self.patience

    def get_state(self, net: NetworkView) -> dict[str, Any]:
        """Return the best loss, its epoch and its weights."""
        state: dict[str, Any] = {"best_loss": self.best_loss, "best_epoch": self.best_epoch}
        if self._best is not None:
            state["best"] = net.backend.to_numpy(self._best)
        return state

    def set_state(self, net: NetworkView, state: dict[str, Any]) -> None:
        """Go on with what was best."""
        best = state.get("best")
        if best is not None and best.shape != net.parameters.shape:
            raise CheckpointError(
                f"best has shape {best.shape}; {net.parameters.shape} is needed, as the network has"
            )
        self.best_loss, self.best_epoch = state["best_loss"], state["best_epoch"]
        if best is not None:
            self._best = net.backend.asarray(best, net.parameters.dtype)

    def end(self, net: NetworkView, history: History) -> None:
        """Put the best weights back."""
        if self._best is not None:
            net.parameters[...] = self._best
