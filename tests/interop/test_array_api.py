"""Arrays of any library of the array API, and generators as scikit-learn and NumPy hand them on.

array-api-strict has nothing that the standard does not have: no `dtype.kind`, no `.T` of a column.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.datasets import load_iris

import gpubp

X, Y = load_iris(return_X_y=True)
QUICK = {"members": 2, "hidden": (8,), "epochs": 3}
CLASSIFIERS = {
    "perceptron": lambda **more: gpubp.MLPClassifier(
        hidden_layer_sizes=(5,), max_iter=3, backend="cpu", **more
    ),
    "tabular": lambda **more: gpubp.TabularClassifier(**QUICK, backend="cpu", **more),
}
REGRESSORS = {
    "perceptron": lambda **more: gpubp.MLPRegressor(
        hidden_layer_sizes=(5,), max_iter=3, backend="cpu", **more
    ),
    "tabular": lambda **more: gpubp.TabularRegressor(**QUICK, backend="cpu", **more),
}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
both = pytest.mark.parametrize("kind", ["perceptron", "tabular"])


@both
def test_a_strict_array_is_the_numpy_array_of_its_numbers(kind):
    strict = pytest.importorskip("array_api_strict")
    x, y = strict.asarray(X), strict.asarray(Y)
    ours, theirs = (CLASSIFIERS[kind](random_state=0) for _ in range(2))
    ours.fit(x, y)
    theirs.fit(X, Y)
    np.testing.assert_array_equal(ours.predict_proba(x), theirs.predict_proba(X))
    assert ours.score(x, y) == theirs.score(X, Y)
    target = X @ [1.0, 2.0, 3.0, 4.0]
    ours = REGRESSORS[kind](random_state=0).fit(x, strict.asarray(target))
    theirs = REGRESSORS[kind](random_state=0).fit(X, target)
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(X))


def test_a_network_answers_in_the_library_that_asks():
    strict = pytest.importorskip("array_api_strict")
    net = gpubp.Network([4, 3], output="softmax", backend="cpu")
    net.fit(strict.asarray(X), strict.asarray(Y), epochs=1)
    answer = net.predict(strict.asarray(X))
    assert answer.__array_namespace__() is strict
    assert strict.all(answer == strict.asarray(net.predict(X)))


@both
def test_an_estimator_draws_from_a_generator(kind):
    """Generators in one state make one model; a generator drawn from makes another."""
    made = [np.random.default_rng(7) for _ in range(2)]
    first, second = (CLASSIFIERS[kind](random_state=one).fit(X, Y) for one in made)
    expected = first.predict_proba(X)
    np.testing.assert_array_equal(second.predict_proba(X), expected)
    assert np.any(second.fit(X, Y).predict_proba(X) != expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(first)).predict_proba(X), expected)
    assert isinstance(clone(first).random_state, np.random.Generator)


@both
def test_what_is_no_random_state_is_refused_as_by_scikit_learn(kind):
    with pytest.raises(ValueError, match="'seven' cannot be used to seed"):
        CLASSIFIERS[kind](random_state="seven").fit(X, Y)
