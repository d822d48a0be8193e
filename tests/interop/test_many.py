"""Several networks of an estimator, and folds at once: the bits of separate fits."""

from __future__ import annotations

import importlib.util
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn import model_selection
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import gpubp
from gpubp import MLPClassifier, MLPRegressor, TabularClassifier, errors

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SETTINGS = {"hidden_layer_sizes": (16,), "max_iter": 5, "random_state": 3, "backend": "cpu"}


def scaled(load):
    x, y = load(return_X_y=True)
    return StandardScaler().fit_transform(x), y


CANCER, IRIS, DIABETES = (scaled(load) for load in (load_breast_cancer, load_iris, load_diabetes))
KINDS = [(MLPClassifier, CANCER), (MLPClassifier, IRIS), (MLPRegressor, DIABETES)]


@pytest.mark.parametrize(("kind", "data"), KINDS, ids=["two classes", "three", "numbers"])
def test_members_are_fits_of_their_own_and_answer_by_their_mean(kind, data):
    x, y = data
    model = kind(members=3, **SETTINGS).fit(x, y)
    assert len(model.others_) == 2
    alone = [kind(**SETTINGS).fit(x, y)]
    alone += [clone(other).fit(x, y) for other in model.others_]
    method = "predict_proba" if kind is MLPClassifier else "predict"
    each = np.stack([getattr(one, method)(x) for one in alone])
    for one, member in zip(alone, [model, *model.others_], strict=True):
        np.testing.assert_array_equal(one.network_.parameters, member.network_.parameters)
    assert len({one.network_.parameters.tobytes() for one in alone}) == 3
    np.testing.assert_allclose(getattr(model, method)(x), each.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(model.predict_std(x), each.std(axis=0), atol=1e-9)
    assert not alone[0].predict_std(x).any()
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(getattr(again, method)(x), getattr(model, method)(x))


def test_the_gradient_of_members_is_that_of_their_mean():
    x, y = DIABETES
    model = MLPRegressor(members=2, activation="tanh", **SETTINGS).fit(x, y / 100)
    moved = x[:5].copy()
    moved[:, 2] += 1e-5
    slope = (model.predict(moved) - model.predict(x[:5])) / 1e-5
    np.testing.assert_allclose(model.predict_gradient(x[:5])[:, 2], slope, rtol=1e-4)


def test_a_single_network_after_several_answers_alone():
    x, y = IRIS
    model = MLPClassifier(members=2, **SETTINGS).fit(x, y).set_params(members=1).fit(x, y)
    expected = MLPClassifier(**SETTINGS).fit(x, y)
    np.testing.assert_array_equal(model.predict_proba(x), expected.predict_proba(x))


def test_members_that_cannot_be():
    x, y = IRIS
    with pytest.raises(errors.ConfigurationError, match="members is 0; a whole number from 1"):
        MLPClassifier(members=0, **SETTINGS).fit(x, y)
    assert not hasattr(MLPClassifier(members=2), "partial_fit")


ESTIMATORS = [
    (MLPClassifier(**SETTINGS), IRIS),
    (MLPRegressor(members=2, **SETTINGS), DIABETES),
    (make_pipeline(StandardScaler(), MLPClassifier(**SETTINGS)), CANCER),
    (TabularClassifier(preset="fast", epochs=3, members=2, random_state=0), IRIS),
]


@pytest.mark.parametrize(("estimator", "data"), ESTIMATORS)
def test_folds_at_once_have_the_bits_of_separate_fits(estimator, data):
    x, y = data
    folds = model_selection.KFold(5, shuffle=True, random_state=0)
    found = gpubp.cross_validate(estimator, x, y, cv=folds, return_estimator=True)
    predicted = gpubp.cross_val_predict(estimator, x, y, cv=folds)
    for number, (train, test) in enumerate(folds.split(x)):
        alone = clone(estimator).fit(x[train], y[train])
        np.testing.assert_array_equal(
            found["estimator"][number].predict(x[test]), alone.predict(x[test])
        )
        assert found["test_score"][number] == alone.score(x[test], y[test])
        np.testing.assert_array_equal(predicted[test], alone.predict(x[test]))


def test_an_exported_file_answers_as_all_members(tmp_path):
    x, y = IRIS
    model = MLPClassifier(members=3, **SETTINGS).fit(x, y)
    gpubp.exchange.write_numpy_predictor(model, tmp_path / "model.py")
    spec = importlib.util.spec_from_file_location("model", tmp_path / "model.py")
    predictor = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(predictor)
    np.testing.assert_allclose(
        predictor.outputs(x.astype(np.float32)), model.predict_proba(x), rtol=1e-4, atol=1e-6
    )
