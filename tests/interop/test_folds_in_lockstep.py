"""Folds of a cross-validation on a GPU: done at once, they learn what each learns alone."""

from __future__ import annotations

import os
import signal
from functools import partial

import numpy as np
import pytest

import gpubp
import simulated.cublas
import simulated.cupy
from gpubp.backends import get_backend
from gpubp.backends.gpu.joint_steps import JointSteps
from gpubp.backends.gpu.lockstep import Lockstep
from gpubp.training.each import Each
from gpubp.training.side_by_side import results_of
from kernel_compilation import host_compiler

sklearn = pytest.importorskip("sklearn")
from sklearn import model_selection  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

pytestmark = [
    pytest.mark.skipif(
        host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
    ),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 6)).astype(np.float32)
Y = RANDOM.integers(0, 3, 90)
GIVEN = {"hidden_layer_sizes": (8,), "batch_size": 16, "max_iter": 4, "random_state": 0}


@pytest.fixture
def joined(monkeypatch):
    """How many steps were done by how many trainings at a time."""
    simulated.cupy.install(monkeypatch)
    simulated.cublas.install(monkeypatch)
    counts = {}
    before = JointSteps.joined

    def join(first, others):
        steps = before(first, others)

        def do(count):
            counts[1 + len(others)] = counts.get(1 + len(others), 0) + count
            steps(count)

        return do

    monkeypatch.setattr(JointSteps, "joined", join)
    return counts


def weights(estimators):
    return [np.concatenate([*map(np.ravel, one.coefs_)]) for one in estimators]


@pytest.mark.parametrize("folds", [3, 4], ids=["as many rows", "one row more in some"])
def test_folds_learn_what_separate_fits_learn(joined, folds):
    model = gpubp.MLPClassifier(backend="gpu", **GIVEN)
    given = {"cv": model_selection.KFold(folds), "return_estimator": True}
    together = gpubp.cross_validate(model, X, Y, **given)
    assert joined[folds] == 4 * 4, "all whole batches of all folds at once"
    joined.clear()
    apart = model_selection.cross_validate(model, X, Y, **given)
    assert not joined
    for one, other in zip(weights(together["estimator"]), weights(apart["estimator"]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(together["test_score"], apart["test_score"], atol=0.05)


def test_members_of_folds_train_at_once_too(joined):
    model = make_pipeline(StandardScaler(), gpubp.MLPClassifier(members=2, backend="gpu", **GIVEN))
    given = {"cv": 3, "method": "predict_proba"}
    found = gpubp.cross_val_predict(model, X, Y, **given)
    assert max(joined) == 3 * 2
    apart = model_selection.cross_val_predict(model, X, Y, **given)
    np.testing.assert_allclose(found, apart, atol=1e-4)


def test_more_folds_than_go_at_a_time(joined, monkeypatch):
    monkeypatch.setattr("gpubp.training.side_by_side.AT_A_TIME", 2)
    monkeypatch.setattr("gpubp.interop.cross_validation.AT_A_TIME", 2)
    model = gpubp.MLPClassifier(backend="gpu", **GIVEN | {"max_iter": 1})
    found = [gpubp.cross_validate(model, X, Y, cv=7, n_jobs=jobs) for jobs in (None, -1, 1)]
    assert [len(one["test_score"]) for one in found] == [7, 7, 7]
    assert set(joined) == {2}
    for one in found[:2]:
        np.testing.assert_allclose(one["test_score"], found[2]["test_score"], atol=0.1)


def test_folds_of_a_table_train_at_once(joined):
    from gpubp.tables.folds import cross_validate
    from gpubp.tables.model import TabularModel
    from gpubp.tables.prepared import prepare
    from gpubp.tables.recipe import Recipe
    from table_building import table

    given = table(a=X[:, 0], b=X[:, 1], y=X[:, 0] - X[:, 1])
    prepared = prepare(given, "y", "regression", 0.2, 0.2, 0)

    def train(fold):
        settings = {"epochs": 3, "hidden": (8,), "members": 2, "bins": 0}
        settings |= {"batch_size": 16}  # bins of other numbers are networks of other shapes
        recipe = Recipe.of("fast", fold.rows("train"), "regression", settings)
        model = TabularModel.create(fold, recipe, 0, backend="gpu", dtype="float64")
        model.train(fold, recipe)
        return model

    found = [
        cross_validate(prepared, 4, 0.2, 0, True, train, lockstep)
        for lockstep in (get_backend("gpu").lockstep(), None)
    ]
    assert max(joined) == 4 * 2
    for name, spread in found[0].items():
        assert spread.folds == pytest.approx(found[1][name].folds, rel=1e-6)


def test_networks_of_other_numbers_of_rows_do_whole_batches_at_once(joined):
    rows = [np.arange(60), np.arange(37, 90), np.arange(48)]  # 12, 5 and 0 of them left over
    nets = gpubp.Networks([6, 8, 3], 3, output="softmax", backend="gpu")
    nets.fit(X, Y, rows=Each(rows), epochs=5, batch_size=16)
    assert joined == {3: 5 * 3}
    for number, net in enumerate(nets.members):
        other = gpubp.Network([6, 8, 3], output="softmax", backend="gpu", seed=number)
        other.fit(X, Y, rows=rows[number], epochs=5, batch_size=16)
        np.testing.assert_allclose(
            net.parameters.get(), other.parameters.get(), rtol=1e-4, atol=1e-5
        )


def test_networks_of_other_shapes_do_not_wait_for_each_other(joined, monkeypatch):
    """Or one of two that ask for as many steps would go on at half of the pace."""
    rounds = []
    do = Lockstep._do_steps

    def noted(lockstep):
        rounds.append(len(lockstep._asked))
        do(lockstep)

    monkeypatch.setattr(Lockstep, "_do_steps", noted)
    nets = [gpubp.Network([6, width, 3], output="softmax", backend="gpu") for width in (4, 8)]
    works = [partial(net.fit, X, Y, epochs=6, batch_size=16) for net in nets]
    results_of(works, nets[0].backend.lockstep())
    assert not joined
    assert rounds == [2] * len(rounds)


class At:
    """A callback that does something at the end of the second epoch."""

    def __init__(self, deed):
        self.deed = deed

    def begin(self, net, epochs):
        pass

    def advance(self, history, share):
        return False

    def epoch_end(self, net, history):
        if history.epochs == 2:
            self.deed()
        return False

    def end(self, net, history):
        pass


def refuse():
    raise OSError("no more")


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def test_an_error_of_a_fold_ends_all(joined):
    model = gpubp.MLPClassifier(
        backend="gpu", callbacks=[At(refuse)], **GIVEN | {"max_iter": 10_000, "tol": 0}
    )
    with pytest.raises(OSError, match="no more"):
        gpubp.cross_validate(model, X, Y, cv=3, error_score="raise")


def test_ctrl_c_ends_all_folds(joined):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    model = gpubp.MLPClassifier(
        backend="gpu", callbacks=[At(press_ctrl_c)], **GIVEN | {"max_iter": 10_000, "tol": 0}
    )
    try:
        with (
            pytest.raises(KeyboardInterrupt),
            pytest.warns(UserWarning, match="Training interrupted by user"),
        ):
            gpubp.cross_validate(model, X, Y, cv=3)
    finally:
        signal.signal(signal.SIGINT, before)
