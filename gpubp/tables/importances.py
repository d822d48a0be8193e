"""How much the columns of a table matter to an estimator, whatever they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.inspection import permutation_importance

from gpubp.tables.table import Table


def importances(
    estimator: Any, table: Table, y: Any, repeats: int, scoring: Any = None
) -> dict[str, tuple[float, float]]:
    """Return how much worse the score becomes when a column is shuffled: mean and deviation.

    scikit-learn shuffles columns of a matrix; so the table becomes one of objects.
    """
    names = [column.name for column in estimator.model_.preprocessing.columns]
    matrix = np.column_stack([table.column(name).astype(object) for name in names])
    kinds = {name: table.kinds[name] for name in names}
    measured = permutation_importance(
        *(_OfMatrix(estimator, kinds), matrix, y),
        scoring=scoring,
        n_repeats=repeats,
        random_state=0,
    )
    pairs = zip(measured.importances_mean.tolist(), measured.importances_std.tolist(), strict=True)
    return dict(zip(names, pairs, strict=True))


class _OfMatrix(BaseEstimator):  # type: ignore[misc]
    """An estimator as one of a matrix of objects, a column of a table each."""

    def __init__(self, estimator: Any, kinds: dict[str, str]) -> None:
        self.estimator, self.kinds = estimator, kinds
        self._estimator_type = getattr(estimator, "_estimator_type", None)
        if hasattr(estimator, "classes_"):
            self.classes_ = estimator.classes_

    def fit(self, X: Any, y: Any) -> _OfMatrix:
        """Do nothing: it is fitted."""
        return self

    def _table(self, X: Any) -> Table:
        columns: dict[str, Any] = {}
        for place, (name, kind) in enumerate(self.kinds.items()):
            values = X[:, place]
            columns[name] = values if kind == "text" else values.astype(np.float64)
        return Table("X", columns, dict(self.kinds))

    def predict(self, X: Any) -> Any:
        return self.estimator._answer(self._outputs(X))

    def predict_proba(self, X: Any) -> Any:
        return self._outputs(X)

    def _outputs(self, X: Any) -> Any:
        model = self.estimator.model_
        return model.outputs(model.preprocessing.transform(self._table(X)).x)

    def score(self, X: Any, y: Any) -> float:
        return float(type(self.estimator)._score(y, self.predict(X)))

    def __sklearn_tags__(self) -> Any:
        return self.estimator.__sklearn_tags__()
