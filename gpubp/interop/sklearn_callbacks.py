"""scikit-learn's own callbacks, which `set_callbacks` takes: a progress bar, scores, an end."""

from __future__ import annotations

import copy
from typing import Any

from gpubp.training.history import History

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9, whose estimators have no `set_callbacks` either

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing."""

    def with_callbacks(method: Any) -> Any:
        """Return the method as it is."""
        return method


__all__ = ["CallbackSupportMixin", "FitTasks", "with_callbacks"]


class FitTasks:
    """The callback of a network's fit that tells scikit-learn's: fit is a task, an epoch one in it.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Whose callbacks are told; there may be none.
    data : dict
        ``X``, ``y`` and ``metadata`` as scikit-learn's hooks name them.
    epochs : int
        How many there may be; 0 for a solver that has none.
    """

    def __init__(self, estimator: Any, data: dict[str, Any], epochs: int) -> None:
        told = hasattr(estimator, "_skl_callbacks") or hasattr(estimator, "_parent_callback_ctx")
        self._told = {"estimator": estimator, **data}
        self._epoch: Any = None
        self._fit: Any = estimator._init_callback_context(max_subtasks=epochs) if told else None
        if self._fit:
            self._fit.call_on_fit_task_begin(**self._told)

    def begin(self, net: Any, epochs: int) -> None:
        """Begin the first epoch."""
        if self._fit:
            self._begin_epoch()

    def advance(self, history: History, share: float) -> None:
        """Do nothing within an epoch."""

    def epoch_end(self, net: Any, history: History) -> bool:
        """End the epoch and begin the next; return whether a callback wants no more of them."""
        if not self._fit:
            return False
        stop: bool = self._epoch.call_on_fit_task_end(**self._told, **self._model())
        if not stop and history.epochs < self._fit.max_subtasks:
            self._begin_epoch()
        return stop

    def end(self, net: Any, history: History) -> None:
        """Leave the end of the fit to `finish`, when its attributes are there."""

    def finish(self) -> None:
        """End the fit."""
        if self._fit:
            self._fit.call_on_fit_task_end(**self._told, **self._model())

    def _begin_epoch(self) -> None:
        self._epoch = self._fit.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(**self._told, **self._model())

    def _model(self) -> dict[str, Any]:
        """Return what makes an estimator as good as fitted of this moment, when asked for it."""
        net = self._told["estimator"].network_
        return {"reconstruction_attributes": lambda: {"network_": copy.deepcopy(net)}}
