"""The estimators' curve of losses with weights of rows, and what a pickle of them weighs."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import gpubp

neural_network = pytest.importorskip("sklearn.neural_network")
pytestmark = pytest.mark.filterwarnings("ignore:.*Maximum iterations")


def rows(count):
    random = np.random.default_rng(0)
    return random.standard_normal((count, 4)), np.arange(count) % 2, random.random(count) * 10


def test_the_curve_with_weights_is_that_of_scikit_learn():
    given = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0, "shuffle": False}
    x, y, weights = rows(200)
    weights[:64] /= 100  # the first of four batches weighs next to nothing
    curves = [
        kind(**given, batch_size=64).fit(x, y, sample_weight=weights).loss_curve_
        for kind in (neural_network.MLPClassifier, gpubp.MLPClassifier)
    ]
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-9)


@pytest.mark.parametrize("kind", [gpubp.MLPClassifier, gpubp.MLPRegressor])
def test_a_pickle_does_not_grow_with_the_rows_trained_on(kind):
    small, large = (
        len(
            pickle.dumps(
                kind(hidden_layer_sizes=(5,), max_iter=2, random_state=0).fit(*rows(count)[:2])
            )
        )
        for count in (200, 4000)
    )
    assert abs(large - small) < 50
