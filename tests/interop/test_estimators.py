"""The scikit-learn estimators: scikit-learn's own checks, its numbers, its tools, and ours."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

import gpubp

pytest.importorskip("sklearn", minversion="1.7")

from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

from gpubp import MLPClassifier, MLPRegressor
from sklearn_data import DIABETES, DIGITS, IRIS, WEIGHTS

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:.*is_sparse:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setenv("GPUBP_BACKEND", "cpu")


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_it_says_when_it_has_not_converged():
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        MLPClassifier(max_iter=2).fit(*IRIS)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after 1"):
        MLPClassifier(max_iter=1, solver="lbfgs").fit(*IRIS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLPClassifier(tol=10, max_iter=50).fit(*IRIS)


def test_ctrl_c_keeps_what_was_learnt():
    class Impatient(gpubp.EarlyStopping):
        def epoch_end(self, net, history):
            if history.epochs == 3:
                raise KeyboardInterrupt
            return False

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model = MLPClassifier(callbacks=[Impatient()], random_state=0).fit(*IRIS)
    assert len(model.loss_curve_) == 3
    model.predict(IRIS[0])


def test_it_works_with_scikit_learns_tools():
    x, y = IRIS
    model = MLPClassifier((8,), random_state=0, max_iter=40, learning_rate_init=0.02)
    pipeline = make_pipeline(StandardScaler(), model).set_output(transform="default")
    assert cross_val_score(pipeline, x, y, cv=3).shape == (3,)
    search = GridSearchCV(model, {"alpha": [1e-4, 1.0], "hidden_layer_sizes": [(4,), (8,)]}, cv=2)
    assert search.fit(x, y).best_score_ > 0.5
    calibrated = CalibratedClassifierCV(model, cv=2).fit(x, y)
    np.testing.assert_allclose(calibrated.predict_proba(x).sum(1), 1)
    fitted = clone(model).fit(x, y)
    assert permutation_importance(fitted, x, y, n_repeats=2).importances.shape == (4, 2)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(x), fitted.predict_proba(x))
    again.partial_fit(x, y)
    fitted.partial_fit(x, y)
    np.testing.assert_array_equal(again.coefs_[0], fitted.coefs_[0])


def test_weights_are_routed_through_metadata():
    sklearn = pytest.importorskip("sklearn")
    x, y = IRIS
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier(max_iter=3, random_state=0).set_fit_request(sample_weight=True)
        weights = WEIGHTS[: len(x)]
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        routed = make_pipeline(scaler, model).fit(x, y, sample_weight=weights)
    plain = MLPClassifier(max_iter=3, random_state=0).fit(
        StandardScaler().fit_transform(x), y, sample_weight=weights
    )
    np.testing.assert_array_equal(routed[-1].coefs_[0], plain.coefs_[0])


def test_weights_of_classes():
    x, y = IRIS
    rows = np.r_[0:50, 50:60, 100:150]
    x, y = x[rows], np.array(["setosa", "versicolor", "virginica"])[y[rows]]
    balanced = MLPClassifier(class_weight="balanced", random_state=0, max_iter=30).fit(x, y)
    weights = compute_sample_weight("balanced", y)
    given = MLPClassifier(random_state=0, max_iter=30).fit(x, y, sample_weight=weights)
    np.testing.assert_array_equal(balanced.coefs_[0], given.coefs_[0])
    by_name = MLPClassifier(class_weight={"versicolor": 9.0}, random_state=0, max_iter=30)
    rare = by_name.fit(x, y).predict(x) == "versicolor"
    plain = MLPClassifier(random_state=0, max_iter=30).fit(x, y)
    assert rare.sum() > (plain.predict(x) == "versicolor").sum()


def test_losses_of_regression():
    x, y = DIABETES
    shares = []
    for q in (0.1, 0.9):
        model = MLPRegressor(gpubp.losses.quantile(q), max_iter=400, learning_rate_init=0.01)
        shares.append(np.mean(y <= model.set_params(random_state=0).fit(x, y).predict(x)))
    np.testing.assert_allclose(shares, [0.1, 0.9], atol=0.06)
    for loss in ("absolute_error", "huber", gpubp.losses.huber(0.5)):
        model = MLPRegressor(loss, random_state=0, max_iter=100).fit(x, y)
        assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_everything_more_than_scikit_learn_has():
    x, y = DIGITS
    seen = []

    class Watch(gpubp.EarlyStopping):
        def epoch_end(self, net, history):
            seen.append(history.loss[-1])
            return False

    model = MLPClassifier(
        (30, 20),
        ["gelu", "logistic"],
        random_state=0,
        max_iter=15,
        loss="focal",
        dropout=[0.1, 0.0],
        batch_norm=True,
        max_norm=2.0,
        optimizer=gpubp.AdamW(0.01),
        callbacks=[Watch()],
    )
    model.fit(x[300:], y[300:], validation_data=(x[:300], y[:300]))
    assert model.score(x[:300], y[:300]) > 0.9
    assert len(seen) == len(model.loss_curve_) == len(model.validation_loss_curve_)
    assert np.linalg.norm(model.coefs_[0], axis=0).max() <= 2.0 * (1 + 1e-6)
    assert model.network_.layers[1].activation.name == "sigmoid"
    smooth = MLPClassifier(label_smoothing=0.2, max_iter=60, random_state=0).fit(*IRIS)
    assert smooth.predict_proba(IRIS[0]).max() < 0.99
    layered = MLPClassifier(layer_norm=True, max_iter=20, random_state=0).fit(*IRIS)
    assert layered.score(*IRIS) > 0.8


def test_a_validation_set_of_ones_own_stops_early():
    """scikit-learn issue 18507."""
    x, y = DIGITS
    model = MLPClassifier(early_stopping=True, random_state=0, max_iter=100)
    model.fit(x[300:], y[300:], validation_data=(x[:300], y[:300]))
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == model.n_iter_
    assert model.n_iter_ < 100
    assert model.score(x[:300], y[:300]) == model.best_validation_score_
    assert model.t_ == model.n_iter_ * (len(x) - 300)


@pytest.mark.parametrize("y", [IRIS[1], IRIS[1] == 1], ids=["classes", "yes or no"])
def test_derivatives_of_probabilities(y):
    x = IRIS[0]
    model = MLPClassifier(random_state=0, max_iter=20, activation="tanh").fit(x, y)
    found = model.predict_gradient(x[:5])
    assert found.shape == (5, len(model.classes_), 4)
    for column in range(4):
        step = np.zeros(4)
        step[column] = 1e-6
        exact = (model.predict_proba(x[:5] + step) - model.predict_proba(x[:5] - step)) / 2e-6
        np.testing.assert_allclose(found[:, :, column], exact, atol=1e-8)


def test_derivatives_of_a_regression():
    x, y = DIABETES
    model = MLPRegressor(random_state=0, max_iter=5, activation="tanh").fit(x, y)
    step = np.zeros(10)
    step[3] = 1e-6
    exact = (model.predict(x[:5] + step) - model.predict(x[:5] - step)) / 2e-6
    np.testing.assert_allclose(model.predict_gradient(x[:5])[:, 3], exact, atol=1e-8)


def test_it_reports_where_it_ran_and_why():
    report = MLPClassifier(max_iter=2).fit(*IRIS).backend_report_
    assert report["backend"] == "cpu"
    assert report["reason"] == "GPUBP_BACKEND=cpu"
    assert report["dtype"] == "float64"
    assert "as X" in report["dtype_reason"]
    narrow = MLPClassifier(max_iter=2).fit(IRIS[0].astype(np.float32), IRIS[1])
    assert narrow.backend_report_["dtype"] == "float32"
    assert narrow.coefs_[0].dtype == np.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"solver": "newton"}, "solver is 'newton'; one of adam, sgd, lbfgs is needed"),
        ({"alpha": -1}, "alpha is -1; a finite number from 0 is needed"),
        ({"hidden_layer_sizes": (3, 0)}, r"hidden_layer_sizes must be > 0, got \[3, 0\]"),
        ({"hidden_layer_sizes": "3"}, "hidden_layer_sizes must be > 0"),
        ({"activation": "cosine"}, "unknown activation 'cosine'"),
        (
            {"activation": ["relu", "tanh"]},
            "activation has 2 entries; one, or one for each of the 1",
        ),
        ({"max_iter": 0}, "max_iter is 0; a whole number from 1"),
        ({"batch_size": 0}, "batch_size is 0; 'auto' or a whole number from 1"),
        (
            {"validation_fraction": 1.0},
            "validation_fraction is 1.0; a finite number from 0 to below",
        ),
        ({"loss": "hinge"}, "unknown loss 'hinge'"),
        ({"loss": "focal", "label_smoothing": 0.1}, "label_smoothing is 0.1 with loss 'focal'"),
        ({"dropout": 1.0}, "dropout is 1.0; a number from 0 to below 1"),
        ({"layer_norm": True, "batch_norm": True}, "batch_norm and layer_norm are both True"),
        ({"dtype": "int8"}, "dtype"),
        ({"backend": "tpu"}, "unknown backend 'tpu'"),
    ],
)
def test_parameters_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**settings).fit(*IRIS)


def test_fits_that_cannot_be_are_refused():
    x, y = IRIS
    with pytest.raises(AttributeError, match="partial_fit"):
        MLPClassifier(solver="lbfgs").partial_fit(x, y)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        MLPClassifier().partial_fit(x, y)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping"):
        MLPClassifier(early_stopping=True).partial_fit(x, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        MLPClassifier(class_weight="balanced").partial_fit(x, y, classes=[0, 1, 2])
    model = MLPClassifier(max_iter=2).fit(x, y)
    with pytest.raises(ValueError, match="`y` has classes not in"):
        model.partial_fit(x, y + 1)
    with pytest.raises(ValueError, match="warm_start can only be used where"):
        model.set_params(warm_start=True).fit(x, y + 1)
    with pytest.raises(ValueError, match="validation_data is no"):
        MLPClassifier().fit(x, y, validation_data=x)
    with pytest.raises(AttributeError, match="has no coefs_ before fit"):
        _ = MLPClassifier().coefs_
    with pytest.warns(UserWarning, match="Got `batch_size` 500 larger than sample size 150"):
        MLPClassifier(batch_size=500, max_iter=2).fit(x, y)
