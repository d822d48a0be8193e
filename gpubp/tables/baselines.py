"""What simple models reach on the same rows: a network must beat them to be worth its time."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import import_extra
from gpubp.tables.metrics import classification_metrics, regression_metrics

FOLDS = 5


def baselines(
    preprocessing: Any, x: Any, y: NDArray[Any], training: tuple[Any, Any] | None
) -> dict[str, dict[str, float]]:
    """Return the measures of simple models, by name.

    Parameters
    ----------
    x, y : array, (rows, features) and (rows,)
        The rows to be measured on, as the preprocessing makes them; class places or numbers.
    training : (x, y) or None
        Rows to fit on; None fits on the other parts of the same rows, five in all.

    Raises
    ------
    MissingExtraError
        When scikit-learn is not installed.
    """
    dummy = import_extra("sklearn.dummy", "cli")
    linear = import_extra("sklearn.linear_model", "cli")
    if preprocessing.task == "classification":
        models = {
            "most frequent class": dummy.DummyClassifier(strategy="prior"),
            "linear model": linear.LogisticRegression(max_iter=500),
        }
    else:
        models = {"mean": dummy.DummyRegressor(), "linear model": linear.Ridge()}
    return {name: _measured(model, preprocessing, x, y, training) for name, model in models.items()}


def _measured(
    model: Any, preprocessing: Any, x: Any, y: NDArray[Any], training: Any
) -> dict[str, float]:
    parts = [(training, np.arange(len(y)))]
    if training is None:
        deal = np.random.default_rng(0).permutation(len(y)) % min(FOLDS, len(y))
        folds = range(deal.max() + 1)
        parts = [((x[deal != k], y[deal != k]), np.flatnonzero(deal == k)) for k in folds]
    classes = preprocessing.outputs if preprocessing.task == "classification" else 0
    answers = np.zeros((len(y), max(classes, 1)))
    for (fit_x, fit_y), rows in parts:
        if classes and len(np.unique(fit_y)) == 1:  # nothing for a linear model to learn
            answers[rows, int(fit_y[0])] = 1
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it would go on for longer
            model.fit(fit_x, fit_y)
        if classes:
            answers[np.ix_(rows, model.classes_)] = model.predict_proba(x[rows])
        else:
            answers[rows, 0] = model.predict(x[rows])
    if classes:
        return classification_metrics(y, answers, range(classes))
    return regression_metrics(y, answers[:, 0])
