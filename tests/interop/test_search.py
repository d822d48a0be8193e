"""The search for settings: what it trains, what it keeps, how it ends."""

from __future__ import annotations

import json
import os
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import StandardScaler

import gpubp
from gpubp import MLPClassifier, errors
from gpubp.training import halving, side_by_side
from gpubp.training.halving import rounds_of
from gpubp.training.trials import TrialFile

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
ESTIMATOR = MLPClassifier(max_iter=9, random_state=0, backend="cpu")
FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)
SPACE = {
    "learning_rate_init": loguniform(1e-4, 1e-1),
    "hidden_layer_sizes": [(8,), (16, 8)],
}


def searched(**options):
    return gpubp.search(ESTIMATOR, SPACE, X, Y, **({"trials": 6, "cv": FOLDS} | options))


def test_every_trial_has_the_scores_of_its_own_fits_and_the_best_is_refitted():
    found = searched()
    assert len(found.trials) == 6
    for trial in found.trials:
        for (train, test), score in zip(FOLDS.split(X, Y), trial.scores, strict=True):
            alone = clone(ESTIMATOR).set_params(**trial.settings).fit(X[train], Y[train])
            assert score == alone.score(X[test], Y[test])
    assert found.best.score == max(np.mean(trial.scores) for trial in found.trials)
    alone = clone(ESTIMATOR).set_params(**found.best.settings).fit(X, Y)
    np.testing.assert_array_equal(found.best_estimator.predict_proba(X), alone.predict_proba(X))


def test_results_are_those_of_scikit_learns_search():
    space = {"alpha": [1e-4], "hidden_layer_sizes": [(4,)]}
    found = gpubp.search(ESTIMATOR, space, X, Y, trials=1, cv=FOLDS).cv_results_
    grid = GridSearchCV(ESTIMATOR, space, cv=FOLDS).fit(X, Y)
    for name in ("mean_test_score", "std_test_score", "rank_test_score", "split2_test_score"):
        np.testing.assert_array_equal(found[name], grid.cv_results_[name])
    assert found["params"] == grid.cv_results_["params"]
    assert found["param_alpha"][0] == 1e-4


@pytest.mark.parametrize(
    ("trials", "most", "rounds"),
    [(9, None, [(9, 0)]), (9, 27, [(9, 3), (3, 9), (1, 27)]), (10, 4, [(10, 1), (3, 4)])],
)
def test_a_third_goes_on_for_three_times_as_long(trials, most, rounds):
    assert rounds_of(trials, most) == rounds


def test_halving_trains_the_best_longer():
    found = searched(epochs="max_iter", trials=9)
    by_round = [[t for t in found.trials if t.epochs == epochs] for epochs in (1, 3, 9)]
    assert [len(trials) for trials in by_round] == [9, 3, 1]
    for before, after in pairwise(by_round):
        threshold = sorted((t.score for t in before), reverse=True)[len(after) - 1]
        scores = {t.number: t.score for t in before}
        assert all(scores[t.number] >= threshold for t in after)
    assert found.best == by_round[-1][0]


def test_a_search_goes_on_where_it_ended(tmp_path):
    file, ended = tmp_path / "trials.jsonl", []

    def stop(trial):
        ended.append(trial)
        if len(ended) == 2:
            raise KeyboardInterrupt

    part = searched(file=file, ended=stop)
    assert part.stopped == "interrupted"
    assert part.best_estimator is None
    kept = len(file.read_text().splitlines()) - 1
    assert 2 <= kept < 6
    told = []
    found = searched(file=file, ended=told.append)
    assert len(told) == 6 - kept
    whole = searched()
    assert [t.settings for t in found.trials] == [t.settings for t in whole.trials]
    assert [t.scores for t in found.trials] == [t.scores for t in whole.trials]


def test_a_file_of_another_search_is_refused(tmp_path):
    file = tmp_path / "trials.jsonl"
    searched(file=file, trials=2, refit=False)
    with pytest.raises(errors.CheckpointError, match="another search, with other settings"):
        searched(file=file, trials=2, random_state=1)
    file.write_text("{")
    with pytest.raises(errors.CheckpointError, match="holds no trials"):
        searched(file=file)
    assert file.read_text() == "{"


GOOD = {"number": 0, "settings": {}, "epochs": 0, "scores": [0.5], "seconds": 1.0}


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"5\n", b"[]\n", b"\xff", b"[" * 100_000, b'{"a": "\\ud800"}'),
        b"{}\n[0]",
        b"{}\n" + json.dumps(GOOD | {"number": [0]}).encode(),
        b"{}\n" + json.dumps(GOOD | {"scores": ["x"]}).encode(),
        b"{}\n" + json.dumps(GOOD | {"scores": []}).encode(),
        b"{}\n" + json.dumps(GOOD | {"scores": 1}).encode(),
        b"{}\n" + json.dumps(GOOD | {"seconds": "x"}).encode(),
    ],
)
def test_a_forged_file_of_trials_is_refused_by_one_line(tmp_path, content):
    file = tmp_path / "trials.jsonl"
    file.write_bytes(content)
    with pytest.raises(errors.CheckpointError, match="holds no trials") as refused:
        TrialFile(file, {})
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(os.name == "nt", reason="named pipes of POSIX")
def test_a_pipe_in_place_of_trials_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(errors.CheckpointError, match="a pipe or a device; a file is needed"):
        TrialFile(tmp_path / "pipe", {})


def test_a_trial_on_other_folds_is_done_again(tmp_path):
    file = tmp_path / "trials.jsonl"
    file.write_text("{}\n" + json.dumps(GOOD))
    known = TrialFile(file, {})
    assert known.get(0, 0, {}, 1).scores == [0.5]
    assert known.get(0, 0, {}, 2) is None


@pytest.mark.parametrize("limit", [0, -1, "3", np.nan, np.inf, True])
def test_a_time_limit_that_is_none_is_refused(limit):
    with pytest.raises(errors.ConfigurationError, match=r"time_limit is .* above 0 is needed"):
        searched(time_limit=limit)


def test_the_time_limit_ends_a_search():
    found = searched(trials=10_000, time_limit=1.0, refit=False)
    assert found.stopped == "time limit"
    assert 0 < len(found.trials) < 10_000


def test_a_time_limit_leaves_time_for_the_longer_rounds(monkeypatch):
    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(halving, "time", clock)
    monkeypatch.setattr(side_by_side, "thread_count", lambda: 1)

    def score(settings, epochs, fold, watch):
        clock.now += epochs
        return settings["goodness"]

    goodness = np.random.default_rng(0).permutation(30).tolist()
    drawn, rounds = [{"goodness": one} for one in goodness], [(30, 1), (10, 3), (3, 9)]
    backend, file = gpubp.get_backend("cpu"), TrialFile(None, {})
    found = halving.run_rounds(score, 1, drawn, rounds, backend, file, time_limit=30)
    assert found.stopped == "time limit"
    # 0 to 10 for the first round, 11 to 20.5 for the second, 23 to 30 for the last
    begun = {epochs: [t.number for t in found.trials if t.epochs == epochs] for _, epochs in rounds}
    assert {epochs: len(numbers) for epochs, numbers in begun.items()} == {1: 11, 3: 4, 9: 1}
    best_first = sorted(begun[1], key=lambda number: -goodness[number])
    assert sorted(best_first[:4]) == begun[3]
    assert best_first[:1] == begun[9] == [found.best.number]


def test_a_setting_that_diverges_comes_last():
    space = {"learning_rate_init": [1e-2, 1e30], "solver": ["sgd"]}
    found = gpubp.search(ESTIMATOR, space, X, Y, trials=4, cv=FOLDS)
    worst = [t for t in found.trials if t.settings["learning_rate_init"] == 1e30]
    assert worst
    assert all(np.isnan(t.scores).all() for t in worst)
    assert found.best.settings["learning_rate_init"] == 1e-2
    assert json.dumps(found.best.settings)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"trials": 0}, "trials"),
        ({"time_limit": -1.0}, "time_limit is -1.0"),
        ({"time_limit": 1e-9}, "no trial ended"),
        ({"epochs": "nothing"}, "unknown parameter 'nothing'"),
    ],
)
def test_what_cannot_be_used_is_said(wrong, said):
    with pytest.raises(errors.ConfigurationError, match=said):
        searched(**wrong)


@pytest.mark.parametrize("space", [{}, {"alpha": "0.1"}, {"alpha": []}, {"alpha": 0.1}])
def test_a_space_that_is_none_is_refused(space):
    with pytest.raises(errors.ConfigurationError, match="space"):
        gpubp.search(ESTIMATOR, space, X, Y)
