"""The classifier: labels in, one of several classes, yes or no, or several labels a row out."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from gpubp.backends import Backend
from gpubp.backends.interchange import is_cupy
from gpubp.errors import ConfigurationError, DataError, brief
from gpubp.interop.arguments import stochastic, take_parameters
from gpubp.interop.estimator import BaseMLP
from gpubp.interop.labels import Labels, module_of, one_column
from gpubp.nn.losses import Loss, cross_entropy, focal
from gpubp.nn.optimizer import Optimizer
from gpubp.training.callbacks import Callback


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """scikit-learn's `MLPClassifier`, with a GPU and more.

    All of scikit-learn's parameters and attributes, with their meaning and defaults; with the same
    ``random_state`` and float64 data training follows scikit-learn's to rounding.

    Parameters
    ----------
    hidden_layer_sizes ... max_fun
        scikit-learn's. `activation` may also be any of gpubp's functions, or one a hidden layer.
    loss : {"log_loss", "focal"} or Loss
        What is minimised; see `gpubp.nn.losses`.
    label_smoothing : float
        Share of every label that is spread over all classes, with the log loss.
    class_weight : dict, "balanced" or None
        What the rows of each class weigh, by label.
    backend : {"auto", "cpu", "gpu", "gpu:1", ...}
        Where to compute; ``backend_report_`` says what was used, and why.
    dtype : {"auto", "float32", "float64"}
        What to compute in. "auto" follows X as scikit-learn does, float64 included; but where a GPU
        works and the CPU was not named, and with more than 10 million numbers in X, it is float32,
        which is faster.
    precision : {"float32", "tf32", "bfloat16", "float16", "float64"} or None
        What a GPU computes products in, and ``"bfloat16"`` some CPUs; None follows `dtype`.
    dropout : float or sequence of float
        Share of outputs dropped in training, one number or one a hidden layer.
    layer_norm, batch_norm : bool
        Whether hidden layers normalise what they sum up.
    max_norm : float or None
        Largest norm of the weights into a unit.
    optimizer : str, Optimizer or None
        Takes the place of `solver` and its settings; see `gpubp.nn.optimizers`.
    callbacks : sequence of Callback or None
        Called with the network during `fit`; see `gpubp.training.callbacks`.
    members : int
        Networks that answer together, by the mean of their probabilities, trained side by side. The
        first is that of this estimator alone, to the same bits; the others differ by their seeds.

    Attributes
    ----------
    classes_, coefs_, intercepts_, loss_curve_, ...
        scikit-learn's.
    validation_loss_curve_ : list of float
        Loss on ``fit(validation_data=...)`` after each epoch.
    backend_report_ : dict
        What ran where, and why.
    history_ : History
        Losses and times of the last fit.
    network_ : Network
        The network itself, the first of several.
    others_ : list of MLPClassifier
        The members after the first, each with a network of its own.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import gpubp
    >>> x, y = load_iris(return_X_y=True)
    >>> model = gpubp.MLPClassifier((16,), learning_rate_init=0.05, max_iter=300, random_state=0)
    >>> model.fit(x, y).score(x, y) > 0.9
    True
    """

    def __init__(
        self,
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
        loss: str | Loss = "log_loss",
        label_smoothing: float = 0.0,
        class_weight: Any = None,
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
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch on some rows, going on from the last.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array, (classes,), or None
            All labels there will be; needed in the first call, but for several labels a row.
        """
        if self.class_weight == "balanced":
            raise ConfigurationError(
                "class_weight 'balanced' is not supported for partial_fit, which sees a part of the"
                " rows; weights as a dict are needed"
            )
        if not hasattr(self, "classes_"):
            self._learn_all_classes(y, classes)
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise DataError(
                f"`classes={brief(classes)}` is not the same as on last call to partial_fit, was:"
                f" {self.classes_!r}"
            )
        self._fit(X, y, sample_weight, None, incremental=True)
        return self

    def _learn_all_classes(self, y: Any, classes: Any) -> None:
        if not is_cupy(y) and type_of_target(y).startswith("multilabel"):
            self._learn_classes(y)
        elif classes is None:
            raise ConfigurationError("classes must be passed on the first call to partial_fit.")
        else:
            self._learn_classes(np.asarray(classes))

    def _learn_classes(self, y: Any) -> None:
        self._labels = Labels(y)
        self.classes_ = self._labels.classes

    def _take_targets(self, y: Any, weights: Any, first: bool) -> tuple[Any, Any]:
        labels = one_column(y)
        if not is_cupy(labels):
            check_classification_targets(labels)
        if first and not self._is_first_partial_fit():
            self._learn_classes(labels)
        self._labels.check(labels, same=self.warm_start)
        if self.class_weight is not None:
            by_class = self._labels.weights(self.class_weight, labels)
            weights = by_class if weights is None else weights * by_class
        return self._labels.encode(labels), weights

    def _is_first_partial_fit(self) -> bool:
        return hasattr(self, "classes_") and not hasattr(self, "network_")

    def _output(self) -> tuple[int, str]:
        outputs = self._labels.outputs
        return outputs, "sigmoid" if outputs == 1 or self._labels.several else "softmax"

    def _chosen_loss(self) -> Loss | str:
        binary = self.network_.output.name == "sigmoid"
        if self.loss == "log_loss":
            return cross_entropy(self.label_smoothing, binary)
        if self.label_smoothing:
            raise ConfigurationError(
                f"label_smoothing is {brief(self.label_smoothing)} with loss {self.loss!r};"
                " 'log_loss' is needed"
            )
        return focal(binary=binary) if self.loss == "focal" else self.loss

    def _strata(self, y: Any) -> Any:
        return y.astype(bool) if self.n_outputs_ == 1 else None

    def _validation_score(self, x: Any, y: Any, weights: Any = None) -> float:
        outputs = self.network_.predict(x)
        right = outputs.argmax(axis=1) == y if y.ndim == 1 else ((outputs > 0.5) == y).all(axis=1)
        if weights is None:
            return float(right.mean())
        return float((right * weights).sum() / weights.sum())

    def predict(self, X: Any) -> Any:
        """Return the most probable label of every row, (rows,); or all labels, (rows, classes)."""
        outputs = self._outputs(X)
        return self._labels.decode(outputs)

    def predict_proba(self, X: Any) -> Any:
        """Return the probability of every class, (rows, classes), in the order of ``classes_``."""
        outputs = self._outputs(X)
        if outputs.shape[1] > 1 or self._labels.several:
            return outputs
        return self._both_classes(outputs[:, 0])

    def _both_classes(self, yes: Any) -> Any:
        both = type(yes)((*yes.shape[:1], 2, *yes.shape[1:]), yes.dtype)
        both[:, 1] = yes
        both[:, 0] = 1 - yes
        return both

    def predict_std(self, X: Any) -> Any:
        """Return how far the members' probabilities spread, as `predict_proba` has them.

        Returns
        -------
        array
            Standard deviations among the members; 0 for a single one.
        """
        spread = self._spread(X)
        if spread.shape[1] > 1 or self._labels.several:
            return spread
        return module_of(spread).concatenate([spread, spread], axis=1)

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithm of `predict_proba`."""
        probabilities = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return module_of(probabilities).log(probabilities)

    def predict_gradient(self, X: Any) -> Any:
        """Return the derivative of every class's probability by the features.

        Returns
        -------
        array
            (rows, classes, features), the classes in the order of ``classes_``.
        """
        gradient = self._gradient(X)
        if gradient.shape[1] > 1 or self._labels.several:
            return gradient
        both = self._both_classes(gradient[:, 0])
        both[:, 0] -= 1  # 1 - yes has the derivative -yes'
        return both

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
