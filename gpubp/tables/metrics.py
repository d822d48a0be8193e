"""Measures of predictions, computed by scikit-learn and named as there."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import DataError, NonFiniteError, ShapeError, brief, import_extra


def classification_metrics(
    true_labels: Any, probabilities: Any, classes: Sequence[Any]
) -> dict[str, float]:
    """Return measures of class probabilities.

    Parameters
    ----------
    true_labels
        Label of each row, shape (rows,), each one of `classes`.
    probabilities
        Probability of each class, shape (rows, classes); rows are divided by their sum.
    classes
        The labels in the order of the columns.

    Returns
    -------
    dict of str to float
        accuracy, balanced_accuracy, f1_macro, log_loss, and with two classes roc_auc, where the
        second is the positive one; roc_auc is absent if all rows are of one class.

    Raises
    ------
    DataError
        When there are no rows, a label is not among the classes, or a probability is negative.
    ShapeError
        When the shapes do not fit each other.
    NonFiniteError
        When a probability is NaN or infinite.
    """
    shares = _numbers(probabilities, "probabilities")
    labels = np.asarray(true_labels)
    if labels.ndim != 1 or shares.shape != (len(labels), len(classes)):
        raise ShapeError(
            f"labels have shape {labels.shape} and probabilities {shares.shape}; (rows,) and"
            f" (rows, {len(classes)}) are needed"
        )
    sums = shares.sum(axis=1, keepdims=True)
    if shares.min() < 0 or sums.min() <= 0:
        raise DataError(
            "probabilities hold a negative number or a row of zeros; outputs of softmax"
            " or sigmoid are needed"
        )
    given = getattr(probabilities, "dtype", shares.dtype)
    kind = given if np.dtype(given).kind == "f" else shares.dtype
    return _classification(_indices(labels, classes), shares / sums, kind)


def regression_metrics(true: Any, predicted: Any) -> dict[str, float]:
    """Return measures of predicted numbers.

    Parameters
    ----------
    true, predicted
        Numbers, shape (rows,) or (rows, targets).

    Returns
    -------
    dict of str to float
        r2 (absent with a single row, where it is not defined), mean_squared_error,
        root_mean_squared_error and mean_absolute_error.

    Raises
    ------
    DataError
        When there are no rows.
    ShapeError
        When the numbers of rows or of targets differ.
    NonFiniteError
        When a number is NaN or infinite.
    """
    expected, answered = _columns(true, "true"), _columns(predicted, "predicted")
    if expected.shape != answered.shape:
        raise ShapeError(
            f"true has shape {expected.shape} and predicted {answered.shape}; the same shape,"
            " (rows, targets), is needed"
        )
    expected, answered = expected.ravel(), answered.ravel()
    measures = import_extra("sklearn.metrics", "cli")
    squared = float(measures.mean_squared_error(expected, answered))
    results = {"r2": float(measures.r2_score(expected, answered))} if len(expected) > 1 else {}
    return {
        **results,
        "mean_squared_error": squared,
        "root_mean_squared_error": float(np.sqrt(squared)),
        "mean_absolute_error": float(measures.mean_absolute_error(expected, answered)),
    }


def _classification(
    true: NDArray[np.int64], probabilities: NDArray[np.float64], given: np.dtype[Any]
) -> dict[str, float]:
    """Return the measures of class indices (rows,) against probabilities (rows, classes).

    What the probabilities were given in decides the smallest of which scikit-learn takes the
    logarithm: the dtype's epsilon.
    """
    measures = import_extra("sklearn.metrics", "cli")
    predicted = probabilities.argmax(axis=1)
    every = np.arange(probabilities.shape[1])
    with warnings.catch_warnings():
        # scikit-learn warns where a class is predicted or known that no row has: no error here.
        warnings.simplefilter("ignore", UserWarning)
        results = {
            "accuracy": measures.accuracy_score(true, predicted),
            "balanced_accuracy": measures.balanced_accuracy_score(true, predicted),
            "f1_macro": measures.f1_score(true, predicted, average="macro", zero_division=0),
            "log_loss": measures.log_loss(true, probabilities.astype(given), labels=every),
        }
    if len(every) == 2 and len(np.unique(true)) == 2:
        results["roc_auc"] = measures.roc_auc_score(true, probabilities[:, 1])
    return {name: float(value) for name, value in results.items()}


def _indices(labels: NDArray[Any], classes: Sequence[Any]) -> NDArray[np.int64]:
    """Return the index of each label among the classes."""
    index = {label: position for position, label in enumerate(classes)}
    unknown = [label for label in labels.tolist() if label not in index]
    if unknown:
        raise DataError(
            f"label {brief(unknown[0])} is not one of the classes {brief(list(classes), 120)};"
            " the labels and classes must be of one kind"
        )
    return np.array([index[label] for label in labels.tolist()], dtype=np.int64)


def _columns(values: Any, name: str) -> NDArray[np.float64]:
    """Return finite numbers as float64, (rows, targets)."""
    numbers = _numbers(values, name)
    return numbers.reshape(len(numbers), -1) if numbers.ndim else numbers.reshape(1, 1)


def _numbers(values: Any, name: str) -> NDArray[np.float64]:
    """Return values as float64; raise DataError if empty, NonFiniteError if not finite."""
    array = np.asarray(values.get() if hasattr(values, "get") else values, dtype=np.float64)
    if array.size == 0:
        raise DataError(f"{name} is empty, with shape {array.shape}; at least one row is needed")
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.argwhere(~finite)[0][0])
        raise NonFiniteError(f"{name} is not finite in row {row + 1}; finite numbers are needed")
    return array


def finite_only(measures: dict[str, float]) -> dict[str, float | None]:
    """Return measures as JSON can hold them: null for what is not finite."""
    return {name: value if math.isfinite(value) else None for name, value in measures.items()}
