"""`TabularRegressor`: numbers from the rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_array, column_or_1d

from gpubp.errors import DataError, NonFiniteError, ShapeError
from gpubp.tables.estimator import BaseTabular, take_settings
from gpubp.tables.intervals import levels_of
from gpubp.tables.several_targets import SeveralNumbersTarget
from gpubp.tables.standardisation import Standardisation
from gpubp.tables.targets import NumberTarget


class TabularRegressor(RegressorMixin, BaseTabular):  # type: ignore[misc]
    """Numbers from the rows of a table, by networks whose settings are chosen for it.

    See `TabularClassifier` for the parameters and attributes; y may have several columns.
    """

    task = "regression"
    _score = staticmethod(r2_score)

    def __init__(
        self,
        preset: str = "default",
        *,
        time_limit: float | None = None,
        categorical: Any = None,
        validation_fraction: float | None = None,
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
        input_factors: bool | None = None,
        mixing: bool | None = None,
        refit: bool | None = None,
        random_state: Any = None,
        backend: str = "auto",
        dtype: str = "float32",
    ) -> None:
        take_settings(self, locals())

    def _learn_target(self, y: Any) -> tuple[Any, NDArray[Any]]:
        numbers, self._several = _numbers(y)
        columns = numbers.T
        parts = tuple(
            NumberTarget(
                "target" if not self._several else f"y{place}", Standardisation.fit(values)
            )
            for place, values in enumerate(columns)
        )
        self._goal: Any = SeveralNumbersTarget(parts) if self._several else parts[0]
        return self._goal, self._encode_target(y)

    def _encode_target(self, y: Any) -> NDArray[Any]:
        numbers, _ = _numbers(y)
        scales = self._scales()
        if numbers.shape[1] != len(scales):
            raise ShapeError(
                f"y has {numbers.shape[1]} columns; {len(scales)}, as in training, are needed"
            )
        scaled = [
            (column - each.mean) / each.scale
            for column, each in zip(numbers.T, scales, strict=True)
        ]
        return np.column_stack(scaled).astype(np.float32)

    def _scales(self) -> list[Standardisation]:
        """Return how each target is scaled."""
        parts = self._goal.parts if self._several else (self._goal,)
        return [part.standardisation for part in parts]

    def _answer(self, outputs: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self.model_.preprocessing.labels(outputs))

    def _loaded(self, goal: Any) -> None:
        self._goal, self._several = goal, isinstance(goal, SeveralNumbersTarget)

    def predict_quantiles(self, X: Any, levels: float | Sequence[float]) -> NDArray[Any]:
        """Return numbers that given shares of the targets lie below.

        They are learnt from how far the networks are off on rows that were held out, in groups by
        the answer (conformal prediction), and cover what they say on rows of the same kind.

        Parameters
        ----------
        levels : float or sequence of float
            Each between 0 and 1.

        Returns
        -------
        array
            (rows,) for one level, else (rows, levels); of several targets (rows, targets, levels).

        Raises
        ------
        ConfigurationError
            When no rows were held out, or a level is out of its range.
        """
        outputs = self.model_.outputs(self._inputs(X))
        if isinstance(levels, int | float):
            return self.model_.quantiles(outputs, float(levels))
        found = [self.model_.quantiles(outputs, float(level)) for level in levels]
        return np.stack(found, axis=-1)

    def predict_std(self, X: Any) -> NDArray[np.float64]:
        """Return how far the networks' numbers spread, as `predict` has them; 0 for a single one.

        It says how unsure the networks are of one another, not how far the targets lie from them:
        that is `predict_interval`.
        """
        inputs = self._inputs(X)
        spread = self.model_.spread(inputs) * [each.scale for each in self._scales()]
        return np.asarray(spread if self._several else spread[:, 0])

    def predict_interval(self, X: Any, coverage: float = 0.9) -> NDArray[Any]:
        """Return the ends of intervals that hold this share of the targets, (rows, 2)."""
        return self.predict_quantiles(X, levels_of(coverage))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _numbers(y: Any) -> tuple[NDArray[np.float64], bool]:
    """Return targets as float64, (rows, targets), and whether there are several."""
    if y is None:
        raise DataError("requires y to be passed, but the target y is None")
    values = np.asarray(y)
    if values.dtype.kind == "c":
        raise DataError("Complex data not supported: y holds complex numbers, real ones are needed")
    if values.ndim == 2 and values.shape[1] == 1:
        values = column_or_1d(values, warn=True)
    try:
        numbers = check_array(
            values.astype(np.float64), ensure_2d=False, ensure_all_finite=False, dtype=np.float64
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"y holds no numbers: {error}") from error
    wrong = np.argwhere(~np.isfinite(numbers))
    if len(wrong):
        raise NonFiniteError(
            f"Input y contains {numbers[tuple(wrong[0])]} in row {wrong[0][0]}: NaN and infinity"
            " are no targets; finite numbers are needed"
        )
    if numbers.ndim > 2:
        raise ShapeError(f"y has shape {numbers.shape}; (rows,) or (rows, targets) is needed")
    return numbers.reshape(len(numbers), -1), numbers.ndim == 2
