"""What both estimators share: from validated data to a trained network, scikit-learn's way."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight

from gpubp.backends import get_backend
from gpubp.backends.interchange import is_cupy
from gpubp.backends.random import as_random_state
from gpubp.checks import checked_list
from gpubp.data.batches import take_data
from gpubp.errors import ConfigurationError, DataError, DivergenceError
from gpubp.interop.arguments import (
    check_parameters,
    checked,
    hidden_activations,
    hidden_sizes,
    training_dtype,
    used_backend,
)
from gpubp.interop.estimator_members import drawn, fit_members
from gpubp.interop.fitted import FittedNetwork
from gpubp.interop.lbfgs import minimize_loss
from gpubp.interop.sklearn_callbacks import CallbackSupportMixin, FitTasks, with_callbacks
from gpubp.interop.sklearn_numbers import RowOrder, initial_parameters
from gpubp.interop.sklearn_settings import batch_size_of, optimizer_of, penalty
from gpubp.interop.sklearn_stopping import Control
from gpubp.network import Network
from gpubp.nn.losses import Loss, get_loss
from gpubp.training.callbacks import Callback

# As scikit-learn says it
NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need"
    " to be preprocessed."
)


class BaseMLP(FittedNetwork, CallbackSupportMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """A multilayer perceptron with scikit-learn's parameters and attributes."""

    _watch: Sequence[Callback] = ()  # what ends a training beside others

    # What a subclass says of its task.

    @abstractmethod
    def _take_targets(self, y: Any, weights: Any, first: bool) -> tuple[Any, Any]:
        """Learn the targets if `first`; return them as the network's, and the rows' weights."""

    @abstractmethod
    def _output(self) -> tuple[int, str]:
        """Return the number of outputs and their activation."""

    @abstractmethod
    def _chosen_loss(self) -> Loss | str:
        """Return the loss."""

    @abstractmethod
    def _validation_score(self, x: Any, y: Any, weights: Any) -> float:
        """Return the score that early stopping watches."""

    def _averaged_outputs(self) -> int:
        """Return the number of outputs that a reported loss is averaged over, not summed."""
        return 1

    # Training.

    @with_callbacks  # type: ignore[untyped-decorator]
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None
    ) -> Self:
        """Train.

        Parameters
        ----------
        X : array, dataframe or sparse matrix, (rows, features)
            A CuPy array stays on its GPU. uint8, float16 and sparse data are converted a batch at
            a time.
        y : array, (rows,) or (rows, outputs)
        sample_weight : array, (rows,), or None
        validation_data : (X, y), (X, y, sample_weight) or None
            Data to measure the loss on after every epoch, in ``validation_loss_curve_``; with
            ``early_stopping=True`` they take the place of a part of X.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            When a parameter or the data cannot be used; a `gpubp.errors.GpubpError` where they are
            ours.
        DivergenceError
            When the loss is not finite; with early stopping training ends there with a warning.
        """
        if self.members != 1:
            fit_members(self, X, y, sample_weight, validation_data)
            return self
        self.others_: list[BaseMLP] = []
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    def _fit(
        self, x: Any, y: Any, sample_weight: Any, validation_data: Any, incremental: bool
    ) -> Self:
        check_parameters(self.get_params(deep=False))
        fresh = not hasattr(self, "network_") or not (self.warm_start or incremental)
        x, y = self._checked_data(x, y, fresh)
        if sample_weight is not None and not is_cupy(sample_weight):
            sample_weight = _check_sample_weight(sample_weight, x)
        targets, weights = self._take_targets(y, sample_weight, fresh)
        self._random_state = check_random_state(as_random_state(self.random_state))
        if fresh:
            self._start(x)
        data = {"X": x, "y": y, "metadata": {"sample_weight": sample_weight}}
        if self.solver == "lbfgs" and self.optimizer is None:
            tasks = FitTasks(self, data, epochs=0)
            self._fit_lbfgs(x, targets, weights)
        else:
            tasks = FitTasks(self, data, 1 if incremental else self.max_iter)
            self._fit_stochastic(x, targets, weights, validation_data, incremental, tasks)
        self._report()
        tasks.finish()
        return self

    def _checked_data(self, x: Any, y: Any, fresh: bool) -> tuple[Any, Any]:
        """Return validated data."""
        checked_x, checked_y = checked(self, x, y, reset=fresh, **self._data_rules())
        return checked_x, checked_y

    def _data_rules(self) -> dict[str, Any]:
        return {}

    def _start(self, x: Any) -> None:
        """Make the network with its initial weights, and the attributes of a first fit."""
        hidden = hidden_sizes(self.hidden_layer_sizes)
        names = hidden_activations(self.activation, len(hidden))
        outputs, output = self._output()
        backend = get_backend(used_backend(self.backend, x))
        on_gpu = backend.name == "gpu"
        dtype, self._dtype_reason = training_dtype(self.dtype, x, on_gpu)
        norm = "batch" if self.batch_norm else "layer" if self.layer_norm else None
        self.network_ = Network(
            [x.shape[1], *hidden, outputs],
            names,
            output,
            backend,
            dtype,
            self._seed(),
            self.dropout,
            precision=self.precision,
            normalization=norm,
        )
        last = names[-1] if names else self.activation
        drawn_for = [*names, "sigmoid" if last in ("logistic", "sigmoid") else "identity"]
        drawn = initial_parameters(self.network_.sizes, drawn_for, self._random_state, dtype)
        self.coefs_, self.intercepts_ = (list(arrays) for arrays in zip(*drawn, strict=True))
        self.n_iter_ = self.t_ = 0
        self.n_outputs_, self.n_layers_ = outputs, len(hidden) + 2
        self.out_activation_ = {"sigmoid": "logistic"}.get(output, output)
        self._no_improvement_count = 0
        if self.solver == "lbfgs" and self.optimizer is None:
            return
        self.loss_curve_: list[float] = []
        self.validation_loss_curve_: list[float] = []
        scored = self.early_stopping
        self.best_loss_ = None if scored else np.inf
        self.validation_scores_: list[float] | None = [] if scored else None
        self.best_validation_score_ = -np.inf if scored else None

    def _seed(self) -> int:
        """Return a seed for dropout, without a draw from the random state itself."""
        return drawn(self._random_state)

    def _fit_stochastic(
        self,
        x: Any,
        y: Any,
        weights: Any,
        validation_data: Any,
        incremental: bool,
        tasks: FitTasks,
    ) -> None:
        if self.early_stopping and incremental:
            raise ConfigurationError("partial_fit does not support early_stopping=True")
        held_out = None
        if validation_data is not None:
            held_out = self._validation(*self._unpacked(validation_data))
        score = None
        if self.early_stopping:
            if held_out is None:
                x, y, weights, scored = self._split(x, y, weights)
            else:
                scored = held_out
            score = lambda: self._validation_score(*scored)  # noqa: E731
        net, rows = self.network_, x.shape[0]
        if not incremental or not hasattr(self, "_rate"):
            net.reset_optimizer()
            self._rate = float(self.learning_rate_init)
        self.n_iter_ = 0
        control = Control(self, rows, score, once=incremental)
        try:
            net.fit(
                x,
                y,
                optimizer=optimizer_of(self),
                loss=self._chosen_loss(),
                epochs=1 if incremental else self.max_iter,
                batch_size=batch_size_of(self, rows),
                validation=held_out,
                shuffle=RowOrder(rows, self._random_state) if self.shuffle else False,
                callbacks=[control, *self._callbacks(), tasks],
                regularization=penalty(self),
                sample_weight=weights,
            )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        except DivergenceError as error:
            if not self.early_stopping:
                raise DivergenceError(f"{NOT_FINITE} ({error})", error.step, error.layer) from error
            control.diverged()
            warnings.warn(
                f"{error}; training ended, and the weights of the best validation score are kept",
                ConvergenceWarning,
                stacklevel=4,
            )
        if not control.ended and net.history.epochs == self.max_iter:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the"
                " optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _callbacks(self) -> list[Callback]:
        return [*checked_list("callbacks", self.callbacks or ()), *self._watch]

    def _fit_lbfgs(self, x: Any, y: Any, weights: Any) -> None:
        net, loss = self.network_, get_loss(self._chosen_loss(), self.network_.output)
        with net.backend.on_device():
            data = take_data(net.stack, x, y, loss, sample_weight=weights)
            self.n_iter_, self.loss_ = minimize_loss(
                net.stack,
                data,
                loss,
                penalty(self),
                outputs=self._averaged_outputs(),
                max_iter=self.max_iter,
                max_fun=self.max_fun,
                tol=self.tol,
            )

    # Validation data.

    def _unpacked(self, validation_data: Any) -> tuple[Any, Any, Any]:
        if not isinstance(validation_data, Sequence) or len(validation_data) not in (2, 3):
            raise ConfigurationError(
                "validation_data is no (X, y) or (X, y, sample_weight); one of them is needed"
            )
        x, y = self._checked_data(validation_data[0], validation_data[1], fresh=False)
        return x, y, validation_data[2] if len(validation_data) == 3 else None

    def _validation(self, x: Any, y: Any, sample_weight: Any) -> tuple[Any, ...]:
        targets, weights = self._take_targets(y, sample_weight, first=False)
        return (x, targets) if weights is None else (x, targets, weights)

    def _split(self, x: Any, y: Any, weights: Any) -> tuple[Any, Any, Any, tuple[Any, ...]]:
        """Hold a part back, the same rows as scikit-learn does."""
        train, held = train_test_split(
            np.arange(x.shape[0]),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._strata(y),
        )
        if len(held) < 2:
            raise DataError(
                "The validation set is too small. Increase 'validation_fraction' or the size of"
                " your dataset."
            )
        parts = [None if weights is None else weights[rows] for rows in (train, held)]
        return x[train], y[train], parts[0], (x[held], y[held], parts[1])

    def _strata(self, y: Any) -> Any:
        """Return what the held-out part is to have the same shares of; None for nothing."""
        return None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
