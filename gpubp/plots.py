"""Pictures of what a model answers, by Matplotlib: each returns the axes it drew on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpubp.errors import ShapeError, import_extra

MOST_CELLS = 20  # classes of a confusion matrix that have their counts written in
BINS = 10  # of the probabilities, in a picture of calibration
MOST_BARS = 30
CELLS = 200  # along each side of a decision boundary


def plot_confusion(
    true: Any, predicted: Any, classes: Sequence[Any] | None = None, axes: Any = None
) -> Any:
    """Draw how many rows of each class were taken for which.

    Parameters
    ----------
    true, predicted : array, (rows,)
        Labels.
    classes : sequence or None
        The labels in order; None takes those that occur.

    Raises
    ------
    ShapeError, MissingExtraError
        When the lengths differ, or Matplotlib or scikit-learn is not installed.
    """
    expected, answered = _same_length(true, predicted)
    if classes is None:
        classes = np.unique(np.concatenate([expected, answered])).tolist()
    confusion_matrix = import_extra("sklearn.metrics", "sklearn").confusion_matrix
    counts = confusion_matrix(expected, answered, labels=list(classes))
    axes = _axes(axes)
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), "Blues", vmin=0, vmax=1)
    names = [literal(str(each)) for each in classes]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(names) <= MOST_CELLS:
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour)
    return axes


def plot_calibration(true: Any, probabilities: Any, axes: Any = None) -> Any:
    """Draw how often an answer was right against how sure the model was of it.

    Parameters
    ----------
    true : array of int, (rows,)
        Places of the true classes.
    probabilities : array, (rows, classes)
        Of every class; the largest of a row is how sure the model is of its answer.

    Raises
    ------
    ShapeError, MissingExtraError
        When the lengths differ, or Matplotlib is not installed.
    """
    expected, shares = _same_length(true, probabilities)
    sure, right = shares.max(axis=1), shares.argmax(axis=1) == expected
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    used = np.unique(bins)
    axes = _axes(axes)
    axes.plot([0, 1], [0, 1], "--", color="grey", label="as sure as right")
    points = [(sure[bins == each].mean(), right[bins == each].mean()) for each in used]
    sizes = [20 + 200 * (bins == each).mean() for each in used]
    axes.plot(*zip(*points, strict=True), color="C0")
    axes.scatter(*zip(*points, strict=True), s=sizes, color="C0", label="rows, by probability")
    axes.set_xlabel("probability of the answer")
    axes.set_ylabel("share that is right")
    axes.legend()
    return axes


def plot_importance(importances: Mapping[str, Any], axes: Any = None) -> Any:
    """Draw how much each column matters, the largest first.

    Parameters
    ----------
    importances : mapping of str to float or (mean, spread)
        As `TabularClassifier.feature_importances` returns them, or with their deviations.

    Raises
    ------
    MissingExtraError
        When Matplotlib is not installed.
    """
    pairs = {name: np.broadcast_to(value, 2) for name, value in importances.items()}
    order = sorted(pairs, key=lambda name: -pairs[name][0])
    shown = order[:MOST_BARS][::-1]
    with_spread = any(np.ndim(value) for value in importances.values())
    axes = _axes(axes)
    means = [float(pairs[name][0]) for name in shown]
    spread = [float(pairs[name][1]) for name in shown] if with_spread else None
    axes.barh(range(len(shown)), means, xerr=spread)
    axes.set_yticks(range(len(shown)), [literal(name) for name in shown])
    axes.set_xlabel("how much worse the score is without it")
    if len(order) > len(shown):
        axes.set_title(f"the first {len(shown)} of {len(order)} columns")
    return axes


def plot_predicted(true: Any, predicted: Any, axes: Any = None) -> Any:
    """Draw predicted numbers against true ones, (rows,) each.

    Raises
    ------
    ShapeError, MissingExtraError
        When the lengths differ, or Matplotlib is not installed.
    """
    expected, answered = _same_length(true, predicted)
    axes = _axes(axes)
    ends = [min(expected.min(), answered.min()), max(expected.max(), answered.max())]
    axes.plot(ends, ends, "--", color="grey")
    axes.scatter(expected, answered, s=8, alpha=0.5)
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    return axes


def plot_decision_boundary(model: Any, x: Any, y: Any, axes: Any = None) -> Any:
    """Draw what a model of two inputs answers everywhere, and the rows on it.

    Parameters
    ----------
    model : Network or estimator
        Anything with ``predict``; of outputs of several classes the largest counts.
    x, y : array, (rows, 2) and (rows,)
        Rows and their classes or numbers.

    Raises
    ------
    ShapeError, MissingExtraError
        When x has not two columns, or Matplotlib is not installed.
    """
    rows, expected = _same_length(x, y)
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise ShapeError(f"x has shape {rows.shape}; (rows, 2) is needed for a plane")
    low, high = rows.min(axis=0), rows.max(axis=0)
    edge = 0.1 * np.where(high > low, high - low, 1)
    sides = [np.linspace(a, b, CELLS) for a, b in zip(low - edge, high + edge, strict=True)]
    across, up = np.meshgrid(*sides)
    points = np.column_stack([across.ravel(), up.ravel()]).astype(rows.dtype)
    answers = np.asarray(model.predict(points))
    if answers.ndim == 2:
        answers = answers.argmax(axis=1) if answers.shape[1] > 1 else answers[:, 0]
    if answers.dtype.kind not in "fiu":
        names, answers = np.unique(answers, return_inverse=True)
        expected = np.searchsorted(names, expected)
    axes = _axes(axes)
    axes.pcolormesh(across, up, answers.reshape(across.shape), cmap="coolwarm", alpha=0.5)
    axes.scatter(*rows.T, c=expected, cmap="coolwarm", edgecolor="black")
    return axes


def literal(text: str) -> str:
    """Return text that Matplotlib writes as it is: a dollar sign begins no formula."""
    return text.replace("$", r"\$")


def _same_length(first: Any, second: Any) -> tuple[Any, Any]:
    one, two = np.asarray(first), np.asarray(second)
    if len(one) != len(two) or len(one) == 0:
        raise ShapeError(f"{len(one)} and {len(two)} rows; as many of both, one or more, is needed")
    return one, two


def _axes(axes: Any) -> Any:
    return import_extra("matplotlib.pyplot", "plot").subplots()[1] if axes is None else axes
