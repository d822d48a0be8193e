"""Inputs and targets of the estimators: checked as scikit-learn does, kept in their dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from gpubp.backends.interchange import is_cupy
from gpubp.errors import DataError, NonFiniteError, ShapeError

# Kept as they are until a batch is read; anything else becomes the first of them.
KEPT = [np.float64, np.float32, np.float16, np.uint8]


# Numbers in X from which on dtype="auto" is float32: training takes long enough to want it fast.
MANY_NUMBERS = 10_000_000
NO_TARGETS: Any = object()


def checked(estimator: Any, x: Any, y: Any = NO_TARGETS, reset: bool = False, **how: Any) -> Any:
    """Return x, or x and y, as validated arrays; CuPy arrays stay where they are.

    A sparse matrix becomes CSR. The estimator learns the number and names of the features where
    `reset`, and else compares them.

    Raises
    ------
    ValueError
        scikit-learn's own, or one of ours for CuPy arrays.
    """
    if is_cupy(x):
        return _checked_on_device(estimator, x, y, reset)
    settings = {"accept_sparse": "csr", "dtype": KEPT, "reset": reset} | how
    if y is NO_TARGETS:
        return validate_data(estimator, x, **settings)
    return validate_data(estimator, x, y, multi_output=True, **settings)


def _checked_on_device(estimator: Any, x: Any, y: Any, reset: bool) -> Any:
    if x.ndim != 2:
        raise ShapeError(f"X has shape {x.shape}; two dimensions are needed: rows, features")
    if len(x) == 0:
        raise DataError("X has 0 rows; at least one is needed")
    if x.dtype.kind == "f" and not bool(abs(x).max() < np.inf):
        raise NonFiniteError("X holds NaN or infinity; finite numbers are needed")
    if reset:
        estimator.n_features_in_ = x.shape[1]
    elif x.shape[1] != estimator.n_features_in_:
        raise ShapeError(
            f"X has {x.shape[1]} features, but {type(estimator).__name__} is expecting"
            f" {estimator.n_features_in_} features as input"
        )
    if y is NO_TARGETS:
        return x
    if y.shape[:1] != x.shape[:1]:
        raise ShapeError(f"X has {len(x)} rows and y has shape {y.shape}; as many are needed")
    return x, y


def training_dtype(dtype: str, x: Any, on_gpu: bool) -> tuple[str, str]:
    """Return the dtype to train in, and why."""
    if dtype != "auto":
        return dtype, "asked for"
    if on_gpu:
        return "float32", "on a GPU, where float64 is slow; dtype='float64' asks for it"
    if x.dtype != np.float64:
        return "float32", f"X is {x.dtype.name}"
    if x.shape[0] * x.shape[1] > MANY_NUMBERS:
        return "float32", f"X holds more than {MANY_NUMBERS:,} numbers; float32 is twice as fast"
    return "float64", "as X; dtype='float32' is twice as fast"
