"""scikit-learn's callbacks on our perceptrons: tasks begin and end, one may end the training."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn.callback", reason="callbacks came with scikit-learn 1.9")
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from gpubp import MLPClassifier

X, Y = load_iris(return_X_y=True)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Diary:
    """Notes every hook, and the score of the estimator that comes with the end of a task."""

    def __init__(self, stop_after=None):
        self.lines, self.scores, self._stop_after = [], [], stop_after

    def setup(self, estimator, context):
        self.lines.append("setup")

    def on_fit_task_begin(self, estimator, context):
        self.lines.append(f"begin {context.task_name} {context.task_id}")

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):  # noqa: N803
        self.lines.append(f"end {context.task_name} {context.task_id}")
        self.scores.append(fitted_estimator.score(X, y))
        return context.task_name == "epoch" and context.task_id == self._stop_after

    def teardown(self, estimator, context):
        self.lines.append("teardown")


def model(**more):
    return MLPClassifier(hidden_layer_sizes=(8,), random_state=0, backend="cpu", **more)


def test_every_epoch_is_a_task_of_the_fit():
    diary = Diary()
    fitted = model(max_iter=2).set_callbacks(diary).fit(X, Y)
    epochs = [f"{when} epoch {number}" for number in (0, 1) for when in ("begin", "end")]
    assert diary.lines == ["setup", "begin fit 0", *epochs, "end fit 0", "teardown"]
    assert diary.scores[-1] == fitted.score(X, Y)
    one = model(max_iter=1).fit(X, Y)
    assert diary.scores[0] == one.score(X, Y)


def test_callbacks_leave_every_bit_as_it_was():
    plain, watched = model(max_iter=4), model(max_iter=4).set_callbacks(Diary())
    expected = plain.fit(X, Y).predict_proba(X)
    np.testing.assert_array_equal(watched.fit(X, Y).predict_proba(X), expected)


def test_a_callback_ends_the_training():
    diary = Diary(stop_after=2)
    assert model(max_iter=50).set_callbacks(diary).fit(X, Y).n_iter_ == 3
    assert diary.lines[-3:] == ["end epoch 2", "end fit 0", "teardown"]


def test_a_failed_fit_is_torn_down():
    diary = Diary()
    with pytest.raises(ValueError, match="NaN"):
        model(callbacks=[Breaks()]).set_callbacks(diary).fit(X, Y)
    assert diary.lines[-1] == "teardown"


class Breaks:
    """A callback of ours that fails in the first epoch."""

    def begin(self, net, epochs):
        pass

    def advance(self, history, share):
        pass

    def epoch_end(self, net, history):
        raise ValueError("NaN")

    def end(self, net, history):
        pass


def test_lbfgs_is_one_task():
    diary = Diary()
    model(solver="lbfgs", max_iter=3).set_callbacks(diary).fit(X, Y)
    assert diary.lines == ["setup", "begin fit 0", "end fit 0", "teardown"]


def test_scikit_learns_progress_bar_and_search(capsys):
    pytest.importorskip("rich")
    bar = ProgressBar(max_propagation_depth=None)
    search = GridSearchCV(model(max_iter=2), {"alpha": [1e-4, 1e-2]}, cv=2)
    search.set_callbacks(bar).fit(X, Y)
    assert "MLPClassifier" in capsys.readouterr().out
    assert clone(search.best_estimator_).get_params()["max_iter"] == 2
