"""Estimators from scikit-learn's own, fitted."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.errors import ConfigurationError, import_extra

# Attributes that are computed from the network here, not kept
_COMPUTED = ("coefs_", "intercepts_")


def from_scikit_learn(fitted: Any, backend: str = "auto") -> Any:
    """Return our estimator with the parameters, weights and attributes of scikit-learn's.

    It predicts the same, and goes on training with `partial_fit` or ``warm_start=True``.

    Parameters
    ----------
    fitted : sklearn.neural_network.MLPClassifier or MLPRegressor

    Raises
    ------
    ConfigurationError
        When it is neither of them, or not fitted.
    MissingExtraError
        When scikit-learn is not installed.
    """
    import_extra("sklearn", "sklearn")
    from gpubp.interop.classifier import MLPClassifier
    from gpubp.interop.regressor import MLPRegressor

    kinds: dict[str, Any] = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}
    kind = kinds.get(type(fitted).__name__)
    if kind is None or not hasattr(fitted, "coefs_"):
        raise ConfigurationError(
            f"a {type(fitted).__name__} cannot be taken over; a fitted MLPClassifier or"
            " MLPRegressor of scikit-learn is needed"
        )
    model = kind(**fitted.get_params(), backend=backend)
    dtype = fitted.coefs_[0].dtype
    if hasattr(fitted, "classes_"):
        several = fitted.out_activation_ == "logistic" and fitted.n_outputs_ > 1
        labels = np.eye(fitted.n_outputs_, dtype=int) if several else fitted.classes_
        model._learn_classes(labels)
    else:
        model._targets = fitted.n_outputs_
    model.n_features_in_ = fitted.n_features_in_
    model.dtype = dtype.name
    model._random_state = np.random.RandomState(0)
    model._start(np.empty((0, fitted.n_features_in_), dtype))
    model.dtype = "auto"
    for name, value in vars(fitted).items():
        if name.endswith("_") and not name.startswith("_") and name not in _COMPUTED:
            setattr(model, name, value)
    model.coefs_, model.intercepts_ = fitted.coefs_, fitted.intercepts_
    model._no_improvement_count = getattr(fitted, "_no_improvement_count", 0)
    model._report()
    return model
