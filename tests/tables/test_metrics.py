"""Measures against scikit-learn called directly, and against values worked out by hand."""

import math

import numpy as np
import pytest
import sklearn.metrics

from gpubp.errors import DataError, NonFiniteError, ShapeError
from gpubp.tables.metrics import classification_metrics, regression_metrics


def test_two_classes_by_hand():
    results = classification_metrics(
        ["no", "no", "no", "yes"], [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]], ["no", "yes"]
    )
    assert results == pytest.approx(
        {
            "accuracy": 3 / 4,
            "balanced_accuracy": (2 / 3 + 1) / 2,
            "f1_macro": (2 * 2 / (2 * 2 + 1) + 2 * 1 / (2 * 1 + 1)) / 2,
            "log_loss": -(math.log(0.9) + math.log(0.8) + math.log(0.4) + math.log(0.7)) / 4,
            "roc_auc": 1.0,
        }
    )
    assert all(type(value) is float for value in results.values())


@pytest.mark.parametrize("classes", [[3, 5, 9], ["a", "b", "c"]])
def test_three_classes_against_scikit_learn(classes):
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet([1, 1, 1], 200)
    true = np.array(classes)[generator.integers(0, 3, 200)]
    predicted = np.array(classes)[probabilities.argmax(axis=1)]
    results = classification_metrics(true, probabilities.astype(np.float32), classes)
    assert results == pytest.approx(
        {
            "accuracy": sklearn.metrics.accuracy_score(true, predicted),
            "balanced_accuracy": sklearn.metrics.balanced_accuracy_score(true, predicted),
            "f1_macro": sklearn.metrics.f1_score(true, predicted, average="macro"),
            "log_loss": sklearn.metrics.log_loss(true, probabilities),
        },
        rel=1e-5,
    )


def test_positive_class_of_roc_auc_is_the_second():
    probabilities = np.array([[0.2, 0.8], [0.9, 0.1], [0.5, 0.5]])
    results = classification_metrics([True, False, True], probabilities, [False, True])
    assert results["roc_auc"] == 1.0


def test_one_class_among_the_rows_leaves_out_roc_auc():
    results = classification_metrics([1, 1], [[0.4, 0.6], [0.6, 0.4]], [0, 1])
    assert "roc_auc" not in results
    assert results["accuracy"] == results["balanced_accuracy"] == 0.5


def test_class_without_rows_does_no_harm():
    results = classification_metrics(["a"], [[0.1, 0.7, 0.2]], ["a", "b", "c"])
    assert results["accuracy"] == 0.0
    assert results["log_loss"] == pytest.approx(-math.log(0.1))


def test_regression_by_hand():
    results = regression_metrics([1.0, 2.0, 3.0], [[1.0], [2.0], [6.0]])
    assert results == pytest.approx(
        {
            "r2": 1 - 9 / 2,
            "mean_squared_error": 3.0,
            "root_mean_squared_error": math.sqrt(3.0),
            "mean_absolute_error": 1.0,
        }
    )
    assert "r2" not in regression_metrics([1.0], [2.0])


@pytest.mark.parametrize(
    ("labels", "probabilities", "error", "message"),
    [
        ([], np.zeros((0, 2)), DataError, "probabilities is empty"),
        ([0, 7], np.full((2, 2), 0.5), DataError, r"label 7 is not one of the classes \[0, 1\]"),
        ([0], np.full((2, 2), 0.5), ShapeError, r"\(rows, 2\) are needed"),
        ([0], [[np.nan, 1]], NonFiniteError, "probabilities is not finite in row 1"),
        ([0], [[-1.0, 2.0]], DataError, "negative"),
        ([0], [[0.0, 0.0]], DataError, "row of zeros"),
    ],
)
def test_unusable_probabilities(labels, probabilities, error, message):
    with pytest.raises(error, match=message):
        classification_metrics(labels, probabilities, [0, 1])


@pytest.mark.parametrize(
    ("true", "predicted", "error", "message"),
    [
        ([], [], DataError, "true is empty"),
        ([1.0, 2.0], [1.0], ShapeError, r"true has shape \(2, 1\) and predicted \(1, 1\)"),
        ([1.0, 2.0], [1.0, np.inf], NonFiniteError, "predicted is not finite in row 2"),
    ],
)
def test_unusable_numbers(true, predicted, error, message):
    with pytest.raises(error, match=message):
        regression_metrics(true, predicted)


def test_numbers_of_other_shapes_are_no_pair():
    with pytest.raises(ShapeError, match=r"true has shape \(2, 3\) and predicted \(3, 2\); the"):
        regression_metrics(np.zeros((2, 3)), np.zeros((3, 2)))
    assert regression_metrics([1.0, 2.0], [[1.0], [2.0]])["r2"] == 1.0


def test_log_loss_clips_at_the_epsilon_of_what_was_given():
    """As scikit-learn does with the same array: -log of 1.2e-7 and of 2.2e-16."""
    for dtype in (np.float32, np.float64):
        probabilities = np.array([[1, 0], [0.5, 0.5]], dtype)
        found = classification_metrics([1, 1], probabilities, [0, 1])["log_loss"]
        expected = (math.log(2) - math.log(np.finfo(dtype).eps)) / 2
        assert found == pytest.approx(expected, rel=1e-6)
