"""The estimators learn what scikit-learn's learn, number by number."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.7")

from sklearn import neural_network

from gpubp import MLPClassifier, MLPRegressor
from sklearn_data import CANCER, DIABETES, DIGITS, IRIS, WEIGHTS

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:.*is_sparse:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setenv("GPUBP_BACKEND", "cpu")


SETTINGS = [
    {"solver": "adam"},
    {"solver": "sgd", "learning_rate_init": 0.05},
    {"solver": "sgd", "nesterovs_momentum": False, "shuffle": False},
    {"solver": "sgd", "momentum": 0, "batch_size": 50},
    {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5},
    {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.1,
        "tol": 0.05,
        "n_iter_no_change": 1,
    },
    {"early_stopping": True, "validation_fraction": 0.2},
    {"alpha": 1.0, "activation": "tanh", "hidden_layer_sizes": (20, 10)},
    {"activation": "logistic", "hidden_layer_sizes": ()},
    {"activation": "identity", "epsilon": 1e-3, "beta_1": 0.8, "beta_2": 0.9},
]


def both(ours, data, weights=None, **settings):
    """Fit scikit-learn's estimator and ours with the same settings."""
    theirs = getattr(neural_network, ours.__name__)
    settings = {"random_state": 3, "max_iter": 10} | settings
    given = {} if weights is None else {"sample_weight": weights[: len(data[0])]}
    return [kind(**settings).fit(*data, **given) for kind in (theirs, ours)]


def assert_same(theirs, ours, rtol=1e-9):
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=rtol)
    for one, other in zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("best_loss_", "best_validation_score_", "validation_scores_"):
        found, exact = getattr(ours, name), getattr(theirs, name)
        assert found == exact or found == pytest.approx(exact), name


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("data", [DIGITS, CANCER], ids=["digits", "cancer"])
def test_a_classifier_follows_scikit_learns(data, settings):
    theirs, ours = both(MLPClassifier, data, **settings)
    assert_same(theirs, ours)
    np.testing.assert_allclose(
        ours.predict_proba(data[0]), theirs.predict_proba(data[0]), rtol=1e-6
    )
    np.testing.assert_array_equal(ours.predict(data[0]), theirs.predict(data[0]))


@pytest.mark.parametrize(
    "settings",
    [*SETTINGS, {"loss": "poisson"}],
    ids=str,
)
def test_a_regressor_follows_scikit_learns(settings):
    theirs, ours = both(MLPRegressor, DIABETES, **settings)
    assert_same(theirs, ours)
    np.testing.assert_allclose(ours.predict(DIABETES[0]), theirs.predict(DIABETES[0]), rtol=1e-7)


def test_rows_with_weights_follow_scikit_learns():
    assert_same(*both(MLPClassifier, DIGITS, WEIGHTS))
    assert_same(*both(MLPRegressor, DIABETES, WEIGHTS, early_stopping=True))


def test_several_outputs_follow_scikit_learns():
    x, y = DIABETES
    theirs, ours = both(MLPRegressor, (x, np.c_[y, -y, y**2]))
    # the penalty is taken at the end of an epoch, theirs is a mean over it
    assert_same(theirs, ours, rtol=1e-7)
    labels = np.c_[y > 1, y > 1.5, y > 2].astype(int)
    theirs, ours = both(MLPClassifier, (x, labels), early_stopping=True)
    assert_same(theirs, ours)
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))


@pytest.mark.parametrize(
    ("kind", "data"), [(MLPClassifier, IRIS), (MLPRegressor, DIABETES)], ids=["iris", "diabetes"]
)
def test_lbfgs_follows_scikit_learns(kind, data):
    theirs, ours = both(kind, data, solver="lbfgs", weights=WEIGHTS)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-8)
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-5, atol=1e-8)


def test_partial_fit_and_warm_start_follow_scikit_learns():
    x, y = DIGITS
    found = []
    for kind in (neural_network.MLPClassifier, MLPClassifier):
        model = kind(random_state=0)
        for start in (0, 500, 1000):
            model.partial_fit(x[start : start + 500], y[start : start + 500], classes=range(10))
        found.append(model)
    assert_same(*found)
    found = []
    for kind in (neural_network.MLPClassifier, MLPClassifier):
        model = kind(random_state=0, warm_start=True, max_iter=3)
        found.append(model.fit(x, y).fit(x, y))
    assert_same(*found)
    assert len(found[1].loss_curve_) == 6


def test_several_labels_a_row_may_come_in_parts():
    """scikit-learn issues 12505 and 25693."""
    x, y = DIABETES
    labels = np.c_[y > 1, y > 2].astype(int)
    model = MLPClassifier(random_state=0)
    for _ in range(20):
        model.partial_fit(x, labels)
    assert model.predict(x).shape == labels.shape
    assert model.loss_curve_[-1] < model.loss_curve_[0]
