"""What both tabular estimators share: from columns of any kind to trained networks."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
)

from gpubp.backends import get_backend
from gpubp.backends.random import as_random_state
from gpubp.checks import check_fraction, checked_list, checked_name
from gpubp.errors import ConfigurationError, DataError, ModelFileError, ShapeError, brief
from gpubp.inspection.trace import Trace
from gpubp.tables.frames import has_names, table_of
from gpubp.tables.importances import importances
from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import Prepared
from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.recipe import PRESETS, Recipe, share_held_out
from gpubp.tables.splits import Split, deal_again, deal_groups, deal_last
from gpubp.tables.table import Table
from gpubp.tables.targets import Target

FEWEST_ROWS = 20  # from which on some are held out for validation
SETTINGS = (
    *("hidden", "activation", "dropout", "bins", "leaf", "embedding", "category_width"),
    *("optimizer", "learning_rate", "weight_decay", "epochs", "patience", "batch_size"),
    *("members", "schedule", "average", "label_smoothing", "input_factors", "mixing", "refit"),
)
Deal = Callable[[int], tuple[NDArray[np.int64], NDArray[np.int64]]]


class BaseTabular(BaseEstimator, ABC):  # type: ignore[misc]
    """Networks for a table, with scikit-learn's conventions."""

    task: str

    # What a subclass says of its task.

    @abstractmethod
    def _learn_target(self, y: Any) -> tuple[Target, NDArray[Any]]:
        """Learn the target; return its encoding, and the values as a network is trained on them."""

    @abstractmethod
    def _encode_target(self, y: Any) -> NDArray[Any]:
        """Return values of the target that is known as a network is trained on them."""

    @abstractmethod
    def _answer(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return what `predict` returns, from the networks' outputs."""

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation_data: tuple[Any, ...] | None = None,
        groups: Any = None,
        time_column: str | None = None,
    ) -> Self:
        """Train on the rows of a table.

        Parameters
        ----------
        X : pandas or polars DataFrame, Arrow table, dict of arrays, or array (rows, columns)
            Numbers, booleans, names, times; missing values anywhere.
        y : array, (rows,), or (rows, targets) for several numbers
            What is to be predicted.
        sample_weight : array, (rows,), or None
            What each row weighs.
        validation_data : (X, y) or None
            Rows to choose the epoch by; None holds out a share of the rows.
        groups : array, (rows,), or None
            Rows of one group are held out together, so that a group is never in both parts.
        time_column : str or None
            Column of X by which the last rows are held out: as the model will be used, on rows that
            come later.

        Raises
        ------
        GpubpError
            When the table, the target or a setting cannot be used.
        """
        table = self._table(X, first=True)
        goal, expected = self._learn_target(y)
        check_consistent_length(np.empty(table.rows), expected)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, np.empty((table.rows, 1)))
        rows = table.rows
        if validation_data is not None:
            table, expected, weights = self._with_validation(
                table, expected, weights, validation_data
            )
        deal = cache(self._deal(table, expected, rows, groups, time_column))
        train, validation = deal(0)
        learnt = np.arange(rows)
        preprocessing = Preprocessing.fit_columns(table, goal, learnt)
        transformed = preprocessing.transform(table)
        nothing = np.zeros(0, np.int64)
        split = Split(train, validation, nothing)
        prepared = Prepared(
            table, preprocessing, split, transformed.x, expected, preprocessing.notes, deal, weights
        )
        self.notes_ = list(preprocessing.notes)
        self._train(prepared, len(train))
        return self

    def _train(self, prepared: Prepared, rows: int) -> None:
        settings = {name: getattr(self, name, None) for name in SETTINGS}
        recipe = Recipe.of(self.preset, rows, self.task, settings)
        seed = int(check_random_state(as_random_state(self.random_state)).randint(2**31))
        backend = get_backend(self.backend)
        model = TabularModel.create(prepared, recipe, seed, backend=backend, dtype=self.dtype)
        model.train(prepared, recipe, time_limit=self.time_limit, class_weight=self._class_weight())
        self.model_, self.recipe_ = model, recipe
        self.n_iter_ = max(net.history.epochs for net in model.nets)

    def _class_weight(self) -> Any:
        return None

    def _with_validation(
        self, table: Table, expected: Any, weights: Any, validation_data: tuple[Any, ...]
    ) -> tuple[Table, Any, Any]:
        """Put rows that were given for validation behind those to train on."""
        if not isinstance(validation_data, Sequence) or len(validation_data) != 2:
            raise ConfigurationError(
                f"validation_data is {brief(validation_data)}; (X, y) is needed"
            )
        held = self._table(validation_data[0], first=False)
        columns = {}
        for name in table.columns:
            own, other = table.column(name), held.column(name)
            if (own.dtype == object) != (other.dtype == object):
                raise DataError(
                    f"column {name!r} holds {held.kinds[name]} in validation_data and"
                    f" {table.kinds[name]} in X; the same is needed"
                )
            columns[name] = np.concatenate([own, other])
        expected = np.concatenate([expected, self._encode_target(validation_data[1])])
        if weights is not None:
            weights = np.concatenate([weights, np.ones(held.rows)])
        return Table(table.name, columns, table.kinds, orders=table.orders), expected, weights

    def _deal(
        self, table: Table, expected: Any, rows: int, groups: Any, time_column: str | None
    ) -> Deal:
        """Return what says which rows each member trains on, and which it is validated on."""
        share = self.validation_fraction
        if share is None:
            share = share_held_out(checked_name("preset", self.preset, PRESETS), rows)
        check_fraction(validation_fraction=share)
        every, nothing = np.arange(rows), np.zeros(0, np.int64)
        if table.rows > rows:
            return lambda member: (every, np.arange(rows, table.rows))
        if groups is not None and time_column is not None:
            raise ConfigurationError("groups and time_column are both given; one is needed")
        seed = int(check_random_state(as_random_state(self.random_state)).randint(2**31))
        if groups is not None:
            groups = np.asarray(groups)
            if groups.shape != (rows,):
                raise ShapeError(f"groups has shape {groups.shape}; ({rows},) is needed")
            return partial(deal_groups, groups, share, seed)
        count = round(share * rows)
        if time_column is not None:
            return partial(deal_last, table.column(time_column), max(count, 1))
        if count == 0 or rows < FEWEST_ROWS:
            return lambda member: (every, nothing)
        labels = expected if self.task == "classification" else None
        return partial(deal_again, every, count, seed, labels)

    def _names_of_categories(self) -> tuple[Any, ...]:
        return () if self.categorical is None else checked_list("categorical", self.categorical)

    def _table(self, X: Any, first: bool) -> Table:
        """Return X as a table, its columns learnt if `first`, else compared with those."""
        table = X if isinstance(X, Table) else table_of(X, self._names_of_categories())
        matrix = np.empty((table.rows, len(table.columns)))
        if first or hasattr(self, "n_features_in_"):  # not of one that was loaded
            _check_n_features(self, matrix, reset=first)
            if hasattr(X, "shape") or not has_names(X):
                _check_feature_names(self, X if hasattr(X, "shape") else matrix, reset=first)
        if first:
            self._column_names = list(table.columns)
        elif not has_names(X) and hasattr(self, "_column_names"):
            table = table.renamed(self._column_names)
        if table.rows == 0:
            raise DataError(
                f"Found array with 0 sample(s) (shape=(0, {len(table.columns)})) while a minimum of"
                " 1 is required."
            )
        return table

    def _inputs(self, X: Any) -> Any:
        check_is_fitted(self)
        return self.model_.preprocessing.transform(self._table(X, first=False)).x

    def _outputs(self, X: Any) -> NDArray[Any]:
        inputs = self._inputs(X)
        return self.model_.outputs(inputs)

    def predict(self, X: Any) -> Any:
        """Return the answer for every row: labels (rows,), or numbers (rows,) or (rows, targets).

        Raises
        ------
        DataError, NonFiniteError
            When a column lacks or holds what it must not; names column and row.
        """
        return self._answer(self._outputs(X))

    def feature_importances(
        self, X: Any, y: Any, repeats: int = 5, scoring: Any = None
    ) -> dict[str, float]:
        """Return how much worse the score becomes when a column is shuffled, for every column.

        The mean of several shuffles (Breiman 2001, by `sklearn.inspection.permutation_importance`).
        Use rows that were not trained on.
        """
        check_is_fitted(self)
        measured = importances(self, self._table(X, first=False), y, repeats, scoring)
        return {name: mean for name, (mean, _) in measured.items()}

    def explain(
        self, X: Any, y: Any = None, row: int = 0, learning_rate: float | None = None
    ) -> Trace:
        """Return a step of backpropagation on a row of X, number by number; see `Network.trace`.

        Without y the model's own answer is expected; without a learning rate the step is of the
        size of the first in training.
        """
        check_is_fitted(self)
        table = self._table(X, first=False)
        if not 0 <= row < table.rows:
            raise DataError(f"row is {row}; a row from 0 to {table.rows - 1} is needed")
        x = self.model_.preprocessing.transform(table.take(np.array([row]))).x
        if y is None:
            outputs = self.model_.outputs(x)
            expected = outputs.argmax(axis=1) if self.task == "classification" else outputs
        else:
            expected = self._encode_target(np.asarray(y)[row : row + 1])
        rate = self.model_.preprocessing.learning_rate if learning_rate is None else learning_rate
        return self.model_.net.trace(x, expected, rate)

    def report(self, path: str | os.PathLike[str], X: Any, y: Any) -> None:
        """Write a page about the model, measured on rows with known targets; see docs/explain.md.

        Raises
        ------
        ConfigurationError
            When there are several targets, or X has a column named as the target.
        OutputPathError, MissingExtraError
            When it cannot be written, or Jinja2 or Matplotlib is not installed.
        """
        from gpubp.tables.report import write_report

        check_is_fitted(self)
        table, target = self._table(X, first=False), self.model_.preprocessing.target
        if target in table.columns or np.ndim(y) > 1:
            raise ConfigurationError(
                f"X has a column {target!r}, or y several; one target of another name is needed"
            )
        write_report(path, self.model_, table.with_column(target, np.asarray(y)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a model file, which the command reads too: ``gpubp predict``.

        Raises
        ------
        OutputPathError, MissingExtraError
            When it cannot be written, or safetensors is not installed.
        """
        check_is_fitted(self)
        self.model_.save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: str = "auto") -> Self:
        """Read a model file that `save` or ``gpubp train`` wrote.

        Raises
        ------
        ModelFileError
            When it cannot be read, or is a model of the other task.
        """
        model = TabularModel.load(path, backend)
        if model.preprocessing.task != cls.task:
            raise ModelFileError(
                f"{path} is a model of {model.preprocessing.task}; one of {cls.task} is needed"
            )
        return cls.of(model, backend)

    @classmethod
    def of(cls, model: TabularModel, backend: Any = "auto") -> Self:
        """Return an estimator of networks that are trained."""
        made = cls(backend=backend)
        made.model_ = model
        made._loaded(model.preprocessing.goal)
        return made

    def _loaded(self, goal: Any) -> None:
        """Take from a file what `_learn_target` learns."""

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.non_deterministic = False
        return tags


def take_settings(estimator: Any, given: dict[str, Any]) -> None:
    """Keep the arguments of a constructor as attributes, as scikit-learn wants it."""
    for name, value in given.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)
