"""The search for the settings of an estimator, with scikit-learn's folds, scores and results."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import _safe_split

from gpubp.checks import checked_name, checked_whole
from gpubp.data.fingerprint import fingerprint
from gpubp.errors import ConfigurationError, DivergenceError, brief
from gpubp.interop.cross_validation import backend_of
from gpubp.training.halving import draw, rounds_of, run_rounds
from gpubp.training.side_by_side import Watch
from gpubp.training.trials import SearchResult, Trial, TrialFile

MOST_TRIALS = 1_000_000


def search(
    estimator: Any,
    space: Mapping[str, Any],
    X: Any,
    y: Any,
    *,
    trials: int = 64,
    time_limit: float | None = None,
    cv: Any = 5,
    scoring: Any = None,
    epochs: str | None = None,
    most_epochs: int | None = None,
    random_state: Any = 0,
    refit: bool = True,
    file: str | os.PathLike[str] | None = None,
    ended: Callable[[Trial], None] | None = None,
) -> SearchResult:
    """Search for the best settings of an estimator.

    Parameters
    ----------
    estimator : estimator
        One of gpubp's, or any of scikit-learn's kind.
    space : dict
        For each setting a list of values, or what draws one: an object with ``rvs(random_state=)``,
        such as ``scipy.stats.loguniform(1e-4, 1e-1)``.
    X, y : array
    trials : int
        Settings to try.
    time_limit : float or None
        Seconds for all trials, looked at before each fold; the refit comes on top.
    cv : int, splitter or iterable
        How rows are split; all trials have the same folds.
    scoring : str, callable or None
        What is measured, the larger the better; None takes ``estimator.score``.
    epochs : str or None
        The setting that halving begins with few of, ``"max_iter"`` or ``"epochs"``; None trains all
        settings alike.
    most_epochs : int or None
        How many of them the last round has; None takes the estimator's.
    random_state : int, RandomState or None
        Decides the settings.
    refit : bool
        Whether the best is fitted on all rows.
    file : path or None
        Where trials are kept as they end, a line of JSON each; a search that finds one of the same
        search there goes on.
    ended : callable or None
        Told each trial as it ends.

    Returns
    -------
    SearchResult

    Raises
    ------
    ConfigurationError, CheckpointError
        When an argument cannot be used, or the file is that of another search.
    DivergenceError
        When the training of the best setting fails on all rows.
    KeyboardInterrupt
        After Ctrl-C before the first trial has ended; later the result says so.
    """
    if not hasattr(estimator, "get_params"):
        raise ConfigurationError(f"estimator is {brief(estimator)}; an estimator is needed")
    drawn = draw(
        space, checked_whole("trials", trials, most=MOST_TRIALS), check_random_state(random_state)
    )
    rounds = rounds_of(trials, _most_epochs(estimator, epochs, most_epochs))
    folds = list(check_cv(cv, y, classifier=is_classifier(estimator)).split(X, y))
    labels = np.asarray(y)
    about = {
        "settings": json.dumps(drawn, default=str),
        "rows": fingerprint([rows for fold in folds for rows in fold]),
        "labels": fingerprint([labels.astype(str) if labels.dtype == object else labels]),
        "estimator": repr(estimator),
        "rounds": rounds,
    }
    task = _Task(estimator, X, y, folds, check_scoring(estimator, scoring), epochs)
    known = TrialFile(file, about)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # few epochs are wanted
        result = run_rounds(
            *(task.score, len(folds), drawn, rounds),
            *(backend_of(estimator), known, time_limit, ended),
        )
    if refit and result.stopped != "interrupted":
        best = task.estimator_of(result.best.settings, result.best.epochs)
        result.best_estimator = best.fit(X, y)
    return result


def _most_epochs(estimator: Any, name: str | None, given: int | None) -> int | None:
    if name is None:
        return None
    checked_name("parameter", name, estimator.get_params())
    most = given if given is not None else estimator.get_params().get(name)
    if most is None:
        raise ConfigurationError(
            f"most_epochs is None and so is the estimator's {name}; a whole number is needed"
        )
    return checked_whole("most_epochs", most)


@dataclass(frozen=True)
class _Task:
    """What all trials of a search share."""

    estimator: Any
    x: Any
    y: Any
    folds: list[Any]
    scorer: Any
    epochs: str | None

    def estimator_of(self, settings: dict[str, Any], epochs: int) -> Any:
        """Return an estimator with settings, trained for so many epochs at most."""
        made = clone(self.estimator).set_params(**settings)
        return made if self.epochs is None else made.set_params(**{self.epochs: epochs})

    def score(self, settings: dict[str, Any], epochs: int, fold: int, watch: Watch) -> float:
        """Return the score on a fold; NaN where training diverged."""
        train, test = self.folds[fold]
        made = self.estimator_of(settings, epochs)
        if hasattr(made, "_watch"):
            made._watch = (watch,)
        x, y = _safe_split(made, self.x, self.y, train)
        held_x, held_y = _safe_split(made, self.x, self.y, test, train)
        try:
            return float(self.scorer(made.fit(x, y), held_x, held_y))
        except DivergenceError:
            return math.nan
