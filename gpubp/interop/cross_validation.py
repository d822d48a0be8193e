"""Cross-validation with all folds at once: scikit-learn's, each fold on a core of its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import joblib
from joblib.parallel import ThreadingBackend
from sklearn import model_selection

from gpubp.backends import Backend, get_backend
from gpubp.backends.cpu.compiled_backend import thread_count
from gpubp.backends.cpu.threads import one_thread


class SideBySide(ThreadingBackend):  # type: ignore[misc]
    """joblib's threads, each of which computes by itself; the data are not copied to processes."""

    def submit(self, func: Callable[[], Any], callback: Any = None) -> Any:
        """Do a piece of work on one of the threads."""
        return super().submit(partial(_alone, func), callback)


def _alone(work: Callable[[], Any]) -> Any:
    with one_thread():
        return work()


@contextmanager
def side_by_side(estimator: Any) -> Iterator[None]:
    """Have scikit-learn's tools train as many of an estimator at a time as there are processors.

    On a GPU they train one after the other. No bit of a result depends on it.
    """
    parallel = joblib.parallel_config(SideBySide(), n_jobs=workers_for(estimator))
    with warnings.catch_warnings(), parallel:
        yield


def workers_for(estimator: Any) -> int:
    """Return how many of an estimator train at a time."""
    return thread_count() if backend_of(estimator).name == "cpu" else 1


def backend_of(estimator: Any) -> Backend:
    """Return where an estimator trains."""
    return get_backend(getattr(estimator, "backend", "auto"))


def cross_validate(estimator: Any, X: Any, y: Any = None, *, cv: Any = 5, **options: Any) -> Any:
    """Return the scores of an estimator on folds that it was not fitted on, all folds at once.

    Each fold has the bits of its own ``fit``.

    Parameters
    ----------
    estimator : estimator
        One of gpubp's, or a pipeline.
    X, y : array
    cv : int, splitter or iterable
        How rows are split; a number of folds.
    **options
        Of scikit-learn's `cross_validate`: ``scoring``, ``return_estimator``, ``groups``, ...

    Returns
    -------
    dict
        As scikit-learn's: "test_score", "fit_time", "score_time", each (folds,), ...
    """
    with side_by_side(estimator):
        return model_selection.cross_validate(estimator, X, y, cv=cv, **options)


def cross_val_predict(estimator: Any, X: Any, y: Any = None, *, cv: Any = 5, **options: Any) -> Any:
    """Return for every row the answer of an estimator fitted on the other folds, (rows, ...).

    Parameters
    ----------
    **options
        Of scikit-learn's `cross_val_predict`: ``method="predict_proba"``, ``groups``, ...
    """
    with side_by_side(estimator):
        return model_selection.cross_val_predict(estimator, X, y, cv=cv, **options)
