"""Labels to a network's targets and back, on the host or where they lie on a GPU."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import column_or_1d

from gpubp.backends.interchange import is_cupy
from gpubp.errors import ConfigurationError, DataError, brief


def module_of(array: Any) -> Any:
    """Return the library of an array: CuPy or NumPy."""
    return sys.modules["cupy"] if is_cupy(array) else np


class Labels:
    """The labels of a classifier, in the order of its outputs.

    Parameters
    ----------
    y : array, (rows,), or (rows, labels) of 0 and 1
        All labels there are; of CuPy arrays only the different ones are fetched.

    Attributes
    ----------
    classes : array, (classes,)
    several : bool
        Whether a row may have several labels, or none.
    """

    def __init__(self, y: Any) -> None:
        self._binarizer = LabelBinarizer()
        if is_cupy(y) and y.ndim == 2 and y.shape[1] > 1:
            y = np.eye(y.shape[1], dtype=int)
        elif is_cupy(y):
            y = module_of(y).unique(y).get()
        check_classification_targets(y)
        self._binarizer.fit(y)
        self.classes = self._binarizer.classes_
        self.several = self._binarizer.y_type_.startswith("multilabel")

    @property
    def outputs(self) -> int:
        """Number of outputs of the network."""
        return 1 if len(self.classes) <= 2 and not self.several else len(self.classes)

    def check(self, y: Any, same: bool) -> None:
        """Raise DataError where y has labels that are not known, or with `same` lacks some."""
        if self.several and is_cupy(y):
            return
        labels = module_of(y).unique(y).get() if is_cupy(y) else unique_labels(y)
        if same and set(labels) != set(self.classes):
            raise DataError(
                "warm_start can only be used where `y` has the same classes as in the previous call"
                f" to fit. Previously got {self.classes}, `y` has {labels}"
            )
        unknown = np.setdiff1d(labels, self.classes)
        if len(unknown):
            raise DataError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes}. 'y'"
                f" has {unknown}."
            )

    def encode(self, y: Any) -> Any:
        """Return class indices (rows,), or for two classes or several labels 0 and 1 by output."""
        if is_cupy(y):
            return self._encode_on_device(y)
        if self.outputs == 1 or self.several:
            indicators = self._binarizer.transform(y)
            dense = indicators.toarray() if hasattr(indicators, "toarray") else indicators
            return dense.astype(np.float32)
        return np.searchsorted(self.classes, y)

    def _encode_on_device(self, y: Any) -> Any:
        xp = module_of(y)
        if self.several:
            return y.astype(np.float32)
        if self.outputs == 1:
            yes = y.reshape(-1, 1) == self.classes[-1].item()
            return (yes & (len(self.classes) == 2)).astype(np.float32)
        return xp.searchsorted(xp.asarray(self.classes), y.reshape(-1))

    def decode(self, outputs: Any) -> Any:
        """Return the most probable label of every row, (rows,), or all of several.

        Labels that are no numbers cannot lie on a GPU: they are NumPy arrays in any case.
        """
        xp = module_of(outputs)
        if self.several:
            return (outputs > 0.5).astype(int)
        if self.outputs == 1:
            place = (outputs[:, 0] > 0.5).astype(int) * (len(self.classes) > 1)
        else:
            place = outputs.argmax(axis=1)
        if xp is not np and self.classes.dtype.kind in "iufb":
            return xp.asarray(self.classes)[place]
        return self.classes[place.get() if xp is not np else place]

    def weights(self, class_weight: Any, y: Any) -> Any:
        """Return what each row weighs by its class, (rows,)."""
        if not self.several and not isinstance(class_weight, dict | str):
            raise ConfigurationError(
                f"class_weight is {brief(class_weight)}; 'balanced' or a dictionary is needed"
            )
        if not is_cupy(y):
            return compute_sample_weight(class_weight, y)
        xp = module_of(y)
        if self.several:
            raise DataError("class_weight with several labels a row on a GPU; NumPy's y is needed")
        places = xp.searchsorted(xp.asarray(self.classes), y.reshape(-1))
        rows = xp.bincount(places, minlength=len(self.classes)).get()
        by_class = compute_class_weight(
            class_weight, classes=self.classes, y=np.repeat(self.classes, rows)
        )
        return xp.asarray(by_class)[places]


def one_column(y: Any) -> Any:
    """Return labels (rows,) for those of shape (rows, 1), with scikit-learn's warning."""
    if y.ndim == 2 and y.shape[1] == 1:
        return y.reshape(-1) if is_cupy(y) else column_or_1d(y, warn=True)
    return y
