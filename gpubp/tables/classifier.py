"""`TabularClassifier`: classes from the rows of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from gpubp.errors import ConfigurationError, DataError, brief
from gpubp.tables.estimator import BaseTabular, take_settings
from gpubp.tables.frames import is_missing
from gpubp.tables.targets import ClassTarget


class TabularClassifier(ClassifierMixin, BaseTabular):  # type: ignore[misc]
    """Classes from the rows of a table, by networks whose settings are chosen for it.

    Columns may hold numbers, booleans, names and times, and have missing values. Numbers are
    embedded by bins (Gorishniy, Rubachev and Babenko 2022); several networks answer together.

    Parameters
    ----------
    preset : {"fast", "default", "best"}
        How much is spent: see `gpubp.tables.recipe.PRESETS`.
    time_limit : float or None
        Seconds that a fit may take.
    categorical : sequence of str or int, or None
        Columns whose values are names, whatever they look like.
    validation_fraction : float or None
        Share of the rows held out to choose the epoch; None takes that of the preset.
    class_weight : {"balanced"}, dict or None
        What the rows of each class weigh.
    hidden, activation, dropout, bins, leaf, embedding, category_width, optimizer,
    learning_rate, weight_decay, epochs, patience, batch_size, members, schedule,
    average, label_smoothing, input_factors, mixing, refit
        Settings of the preset to replace, see `gpubp.tables.recipe.Recipe`; None leaves one as it
        is.
    random_state : int, numpy.random.Generator, RandomState or None
        Decides initial weights, held-out rows, order and dropout.
    backend : {"auto", "cpu", "gpu", ...}
        Where to compute.
    dtype : {"float32", "float64"}
        What to compute in.

    Attributes
    ----------
    classes_ : array (classes,)
        The labels, sorted.
    model_ : TabularModel
        The networks and the preprocessing.
    recipe_ : Recipe
        The settings that were used.
    notes_ : list of str
        What was found in the table: columns left out and why.
    n_iter_ : int
        Epochs of the longest training.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> import gpubp
    >>> columns = {"size": [1.0, 2.0, 3.0, 4.0] * 50, "colour": ["red", "blue"] * 100}
    >>> labels = ["small", "small", "large", "large"] * 50
    >>> model = gpubp.TabularClassifier("fast", random_state=0).fit(columns, labels)
    >>> model.predict({"size": [1.5, 3.5], "colour": ["red", "blue"]}).tolist()
    ['small', 'large']
    """

    task = "classification"
    _score = staticmethod(accuracy_score)

    def __init__(
        self,
        preset: str = "default",
        *,
        time_limit: float | None = None,
        categorical: Any = None,
        validation_fraction: float | None = None,
        class_weight: Any = None,
        hidden: Any = None,
        activation: str | None = None,
        dropout: float | None = None,
        bins: int | None = None,
        leaf: int | None = None,
        embedding: int | None = None,
        category_width: int | None = None,
        optimizer: str | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        epochs: int | None = None,
        patience: int | None = None,
        batch_size: int | None = None,
        members: int | None = None,
        schedule: str | None = None,
        average: float | None = None,
        label_smoothing: float | None = None,
        input_factors: bool | None = None,
        mixing: bool | None = None,
        refit: bool | None = None,
        random_state: Any = None,
        backend: str = "auto",
        dtype: str = "float32",
    ) -> None:
        take_settings(self, locals())

    def _learn_target(self, y: Any) -> tuple[ClassTarget, NDArray[Any]]:
        if y is None:
            raise DataError("requires y to be passed, but the target y is None")
        labels = column_or_1d(np.asarray(y), warn=True)
        if labels.dtype == object:
            missing = [row for row, label in enumerate(labels) if is_missing(label)]
            if missing:
                raise DataError(f"y has no label in row {missing[0]}; leave such rows out")
        try:
            check_classification_targets(labels)
            self.classes_, encoded = np.unique(labels, return_inverse=True)
        except TypeError as error:
            raise DataError(f"y holds labels that have no order: {error}") from error
        if not len(labels):
            raise DataError("y has no rows; two classes or more are needed")
        if len(self.classes_) < 2:
            raise DataError(f"y has one class only, {self.classes_[0]!r}; two or more are needed")
        return ClassTarget("target", tuple(self.classes_.tolist())), encoded.astype(np.int64)

    def _encode_target(self, y: Any) -> NDArray[Any]:
        places = {label: place for place, label in enumerate(self.classes_.tolist())}
        labels = column_or_1d(np.asarray(y)).tolist()
        unknown = [label for label in labels if label not in places]
        if unknown:
            raise DataError(f"y holds {unknown[0]!r}, which is no class of the training")
        return np.array([places[label] for label in labels], np.int64)

    def _answer(self, outputs: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self.classes_[outputs.argmax(axis=1)])

    def _class_weight(self) -> Any:
        if isinstance(self.class_weight, dict):
            places = {label: place for place, label in enumerate(self.classes_.tolist())}
            for label in self.class_weight:
                if label not in places:
                    raise ConfigurationError(
                        f"class_weight has key {brief(label)}; a class, such as"
                        f" {brief(self.classes_[0])}, is needed"
                    )
            return {places[label]: weight for label, weight in self.class_weight.items()}
        return self.class_weight

    def _loaded(self, goal: Any) -> None:
        self.classes_ = np.array(goal.classes)

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of every class, (rows, classes), in the order of ``classes_``."""
        outputs = self._outputs(X).astype(np.float64)
        return np.asarray(outputs / outputs.sum(axis=1, keepdims=True))

    def predict_std(self, X: Any) -> NDArray[np.float64]:
        """Return how far the networks' probabilities spread, as `predict_proba` has them.

        Returns
        -------
        array, (rows, classes)
            Standard deviations among the networks; 0 for a single one.
        """
        inputs = self._inputs(X)
        return self.model_.spread(inputs)

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Return the logarithm of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))
