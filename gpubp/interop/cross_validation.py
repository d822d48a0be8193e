"""Cross-validation with all folds at once: scikit-learn's, each fold on a core of its own.

On a GPU folds train in lockstep: their steps are done at once, see `gpubp.backends.gpu.lockstep`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import joblib
from joblib.parallel import ParallelBackendBase, ThreadingBackend
from sklearn import model_selection

from gpubp.backends import Backend, Lockstep, get_backend
from gpubp.backends.cpu.thread_count import thread_count
from gpubp.backends.cpu.threads import one_thread
from gpubp.training.side_by_side import AT_A_TIME, results_of


class SideBySide(ThreadingBackend):  # type: ignore[misc]
    """joblib's threads, each of which computes by itself; the data are not copied to processes."""

    def submit(self, func: Callable[[], Any], callback: Any = None) -> Any:
        """Do a piece of work on one of the threads."""
        return super().submit(partial(_alone, func), callback)


class InLockstep(ParallelBackendBase):  # type: ignore[misc]
    """joblib's pieces of work, done in lockstep once the result of one is asked for."""

    supports_sharedmem = uses_threads = True
    supports_timeout = False

    def __init__(self, lockstep: Lockstep) -> None:
        super().__init__()
        self._lockstep = lockstep
        self._waiting: list[Piece] = []

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many are sent at a time; -1 stands for all that go together."""
        return AT_A_TIME if n_jobs is None or n_jobs < 0 else n_jobs

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None]) -> Piece:
        """Note a piece of work; the callback, which sends more, is called when it is done."""
        piece = Piece(func, callback, self.do_all)
        self._waiting.append(piece)
        return piece

    apply_async = submit  # as releases before 1.5 call it

    def do_all(self) -> None:
        """Do what has been sent so far."""
        pieces, self._waiting = self._waiting, []
        results = results_of([piece.func for piece in pieces], self._lockstep)
        for piece, result in zip(pieces, results, strict=True):
            piece.result = result
            piece.callback(result)


@dataclass
class Piece:
    """A piece of work, and its result once it is done."""

    func: Callable[[], Any]
    callback: Callable[[Any], None]
    do_all: Callable[[], None]
    result: Any = None

    def get(self) -> Any:
        """Return the result; do all that waits with it where there is none yet."""
        if self.result is None:
            self.do_all()
        return self.result


def _alone(work: Callable[[], Any]) -> Any:
    with one_thread():
        return work()


@contextmanager
def side_by_side(estimator: Any) -> Iterator[None]:
    """Have scikit-learn's tools train several of an estimator at a time.

    On a CPU as many as there are processors, and no bit of a result depends on it; on a GPU they
    are in lockstep, and agree with those that train alone to rounding.
    """
    lockstep = backend_of(estimator).lockstep()
    way, workers = SideBySide(), thread_count()
    if lockstep is not None:
        way, workers = InLockstep(lockstep), AT_A_TIME
    with warnings.catch_warnings(), joblib.parallel_config(way, n_jobs=workers):
        yield


def backend_of(estimator: Any) -> Backend:
    """Return where an estimator trains."""
    return get_backend(getattr(estimator, "backend", "auto"))


def cross_validate(estimator: Any, X: Any, y: Any = None, *, cv: Any = 5, **options: Any) -> Any:
    """Return the scores of an estimator on folds that it was not fitted on, all folds at once.

    Each fold has the bits of its own ``fit``; on a GPU they agree with it to rounding.

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
