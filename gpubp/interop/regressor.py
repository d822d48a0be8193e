"""The regressor: one number a row, or several."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import column_or_1d

from gpubp.backends import Backend
from gpubp.backends.interchange import is_cupy
from gpubp.errors import ShapeError
from gpubp.interop.arguments import stochastic, take_parameters
from gpubp.interop.estimator import BaseMLP
from gpubp.nn.losses import Loss
from gpubp.nn.optimizer import Optimizer
from gpubp.training.callbacks import Callback


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]
    """scikit-learn's `MLPRegressor`, with a GPU and more.

    All of scikit-learn's parameters and attributes, with their meaning and defaults; with the same
    ``random_state`` and float64 data training follows scikit-learn's to rounding.

    Parameters
    ----------
    loss : {"squared_error", "poisson", "absolute_error", "huber", "quantile"} or Loss
        What is minimised; with a setting of its own as ``gpubp.losses.quantile(0.9)``.
    hidden_layer_sizes ... max_fun
        scikit-learn's. `activation` may also be any of gpubp's functions, or one a hidden layer.
    backend, dtype, precision, dropout, layer_norm, batch_norm, max_norm, optimizer, callbacks,
    members
        As for `gpubp.MLPClassifier`.

    Attributes
    ----------
    coefs_, intercepts_, loss_curve_, ...
        scikit-learn's.
    validation_loss_curve_, backend_report_, history_, network_, others_
        As for `gpubp.MLPClassifier`.
    """

    def __init__(
        self,
        loss: str | Loss = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        backend: str | Backend = "auto",
        dtype: str = "auto",
        precision: str | None = None,
        dropout: Any = 0.0,
        layer_norm: bool = False,
        batch_norm: bool = False,
        max_norm: float | None = None,
        optimizer: str | Optimizer | None = None,
        callbacks: list[Callback] | None = None,
        members: int = 1,
    ) -> None:
        take_parameters(self, locals())

    @available_if(stochastic)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on some rows, going on from the last; arguments as for `fit`."""
        self._fit(X, y, sample_weight, None, incremental=True)
        return self

    def _data_rules(self) -> dict[str, Any]:
        return {"y_numeric": True}

    def _take_targets(self, y: Any, weights: Any, first: bool) -> tuple[Any, Any]:
        if y.ndim == 2 and y.shape[1] == 1 and not is_cupy(y):
            y = column_or_1d(y, warn=True)
        targets = y.reshape(len(y), -1)
        if first:
            self._targets = targets.shape[1]
        elif targets.shape[1] != self._targets:
            raise ShapeError(
                f"y has {targets.shape[1]} columns; {self._targets}, as in the first fit, is needed"
            )
        return targets, weights

    def _output(self) -> tuple[int, str]:
        return self._targets, "exp" if self._loss_name() == "poisson" else "identity"

    def _loss_name(self) -> str:
        return self.loss.name if isinstance(self.loss, Loss) else self.loss

    def _chosen_loss(self) -> Loss | str:
        chosen: Loss | str = self.loss
        return chosen

    def _averaged_outputs(self) -> int:
        return self.n_outputs_ if self._loss_name() == "squared_error" else 1

    def _validation_score(self, x: Any, y: Any, weights: Any = None) -> float:
        predicted = self.network_.predict(x)
        if not bool(abs(predicted).max() < np.inf):
            return float("nan")
        if is_cupy(predicted):
            return _r2_on_device(y, predicted, weights)
        return float(r2_score(y, predicted, sample_weight=weights))

    def predict(self, X: Any) -> Any:
        """Return the outputs, (rows,) for one and (rows, outputs) for several."""
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def predict_std(self, X: Any) -> Any:
        """Return how far the members' outputs spread, as `predict` has them; 0 for a single one."""
        spread = self._spread(X)
        return spread[:, 0] if spread.shape[1] == 1 else spread

    def predict_gradient(self, X: Any) -> Any:
        """Return the derivatives of the outputs by the features.

        Returns
        -------
        array
            (rows, features) for one output, (rows, outputs, features) for several.
        """
        gradient = self._gradient(X)
        return gradient[:, 0] if gradient.shape[1] == 1 else gradient


def _r2_on_device(y: Any, predicted: Any, weights: Any) -> float:
    """Return scikit-learn's r2_score where the arrays lie, so that they need not be fetched."""
    by_row = 1.0 if weights is None else weights[:, None]
    total = len(y) if weights is None else weights.sum()
    mean = (by_row * y).sum(axis=0) / total
    residual = (by_row * (y - predicted) ** 2).sum(axis=0).get()
    spread = (by_row * (y - mean) ** 2).sum(axis=0).get()
    with np.errstate(divide="ignore", invalid="ignore"):
        constant = np.where(residual == 0, 1.0, 0.0)
        return float(np.where(spread == 0, constant, 1 - residual / spread).mean())
