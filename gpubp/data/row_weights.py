"""What each row weighs in the loss: weights of rows and of classes, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array, Backend
from gpubp.backends.interchange import take_in
from gpubp.data.reading import Reader
from gpubp.errors import ConfigurationError, DataError, NonFiniteError, ShapeError, brief

ClassWeight = str | Mapping[Any, float] | Sequence[float] | None


def take_weights(
    net: Reader,
    sample_weight: Any,
    class_weight: ClassWeight,
    expected: Array,
    name: str,
    chosen: Any = None,
) -> Array | None:
    """Return the weights of the rows, (rows,), those given times their classes'; None for all 1.

    Parameters
    ----------
    class_weight : {"balanced"}, dict, sequence or None
        A weight a class, by its index; ``"balanced"`` gives every class the same in all:
        ``rows / (classes * rows of the class)`` (King and Zeng 2001).
    chosen : array, (chosen,), or None
        The rows that are trained on, among which classes are counted; None for all.

    Raises
    ------
    ShapeError, DataError, NonFiniteError, ConfigurationError
        When they do not fit, are negative or not finite, or sum to nothing.
    """
    rows, backend = len(expected), net.backend
    weights = None
    if sample_weight is not None:
        array = take_in(sample_weight, backend, f"{name}sample_weight")
        if array.shape != (rows,):
            raise ShapeError(
                f"{name}sample_weight has shape {tuple(array.shape)}; ({rows},) is needed, one for"
                " each row"
            )
        weights = checked_weights(array, backend, net.dtype, name)
    if class_weight is not None:
        by_class = _weights_by_class(net, class_weight, expected, chosen)
        weights = by_class if weights is None else weights * by_class
    return weights


def checked_weights(given: Array, backend: Backend, dtype: Any, name: str) -> Array:
    """Return weights of rows in a network's dtype.

    Raises
    ------
    NonFiniteError, DataError
        When one is not finite or negative, or all are 0.
    """
    weights = backend.asarray(given, dtype)
    if not backend.all_finite(weights):
        raise NonFiniteError(f"{name}sample_weight is not finite; finite numbers are needed")
    if bool((weights < 0).any()) or not bool((weights > 0).any()):
        raise DataError(
            f"{name}sample_weight goes from {float(weights.min()):g} to"
            f" {float(weights.max()):g}; numbers from 0, and one above, are needed"
        )
    return weights


def _weights_by_class(
    net: Reader, class_weight: ClassWeight, expected: Array, chosen: Any
) -> Array:
    host = net.backend.to_numpy(expected)
    classes = max(net.sizes[-1], 2)
    indices = host.argmax(axis=1) if host.ndim == 2 and host.shape[1] > 1 else host.reshape(-1)
    if (
        not (indices == np.floor(indices)).all()
        or not 0 <= indices.min() <= indices.max() < classes
    ):
        raise ConfigurationError("class_weight without classes; expected class indices are needed")
    indices = indices.astype(np.int64)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ConfigurationError(
                f"class_weight is {class_weight!r}; 'balanced', or a weight a class, is needed"
            )
        counted = indices if chosen is None else indices[chosen]
        counts = np.bincount(counted, minlength=classes)
        table = len(counted) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    elif isinstance(class_weight, Mapping):
        unknown = [key for key in class_weight if key not in range(classes)]
        if unknown:
            raise ConfigurationError(
                f"class_weight has key {unknown[0]!r}; class indices from 0 to {classes - 1} are"
                " needed"
            )
        table = _numbers([class_weight.get(index, 1.0) for index in range(classes)])
    else:
        table = _numbers(class_weight)
    if table.shape != (classes,) or not np.isfinite(table).all() or (table < 0).any():
        raise ConfigurationError(
            f"class_weight is {brief(class_weight)}; {classes} finite numbers from 0 are needed"
        )
    return net.backend.asarray(table[indices], net.dtype)


def _numbers(values: Any) -> NDArray[np.float64]:
    """Return an array of float64; an empty one where the values are no numbers."""
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        return np.empty(0)
