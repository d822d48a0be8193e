"""Losses by name and with their settings, and expected values checked and brought into form.

Every loss is summed over the outputs and averaged over the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpubp.backends import Array, Backend
from gpubp.backends.formulas.losses import LOSSES as FUNCTIONS
from gpubp.checks import check_from_zero, check_positive, check_share
from gpubp.errors import ConfigurationError, DataError, ShapeError, UnknownNameError, brief
from gpubp.nn.activations import Activation
from gpubp.nn.schedule import Setting, is_schedule, peak_of, value_at


@dataclass(frozen=True)
class Loss:
    """A loss of the table in `gpubp.backends.formulas.losses`, with its settings.

    Attributes
    ----------
    name : str
        Name of the loss.
    logits_of : str
        The output activation it is fused with and whose logits it acts on; "" when it acts on
        the network's outputs.
    classes : bool
        Whether expected values may be class indices, used as such and not as one-hot rows.
    parameter : float or Schedule
        Its own setting: delta of Huber's loss, q of the quantile loss, gamma of the focal losses,
        the share that a smoothed cross-entropy spreads over all classes. A schedule is followed in
        training; its first value counts elsewhere.
    """

    name: str
    logits_of: str = ""
    classes: bool = False
    parameter: Setting = 0.0

    @property
    def settings(self) -> str:
        """Name and settings, to tell runs apart."""
        if is_schedule(self.parameter):
            return f"{self.name}({self.parameter!r})"
        shown = f"({self.parameter:g})" if self.parameter else ""
        return f"{self.name}{shown}"

    @property
    def first_parameter(self) -> float:
        """Its own setting where no training is under way."""
        return value_at(self.parameter, 1)

    @property
    def plain(self) -> Loss:
        """What `fit` measures on its validation data: the same loss without label smoothing."""
        name = FUNCTIONS[self.name].plain
        return LOSSES[name] if name else self


LOSSES: dict[str, Loss] = {
    name: Loss(name, entry.logits_of, entry.of_classes is not None, entry.parameter)
    for name, entry in FUNCTIONS.items()
}
# What other libraries call them; squared_error has a factor of 1/2 that most of those lack
OTHER_NAMES = {
    "mse": "squared_error",
    "l2": "squared_error",
    "mae": "absolute_error",
    "l1": "absolute_error",
    "pinball": "quantile",
    "ce": "cross_entropy",
    "bce": "binary_cross_entropy",
}
# The first loss of the table on the logits of each activation
_AUTOMATIC = {loss.logits_of: name for name, loss in reversed(LOSSES.items()) if loss.logits_of}


def huber(delta: float = 1.0) -> Loss:
    """Return Huber's loss (1964): squared within `delta` of the expected value, linear beyond.

    Raises
    ------
    ConfigurationError
        When delta is no finite number above 0.
    """
    check_positive(delta=delta)
    return replace(LOSSES["huber"], parameter=float(delta))


def quantile(q: float = 0.5) -> Loss:
    """Return the quantile loss (Koenker and Bassett 1978): outputs below which lies the share q.

    Raises
    ------
    ConfigurationError
        When q is no number between 0 and 1.
    """
    check_share(q=q)
    return replace(LOSSES["quantile"], parameter=float(q))


def focal(gamma: float = 2.0, binary: bool = False) -> Loss:
    """Return the focal loss (Lin et al. 2017): cross-entropy that looks past easy rows.

    Parameters
    ----------
    gamma : float
        0 is cross-entropy; the larger, the less do rows count that are right already.
    binary : bool
        Whether the output is sigmoid, not softmax.

    Raises
    ------
    ConfigurationError
        When gamma is no finite number from 0.
    """
    check_from_zero(gamma=gamma)
    return replace(LOSSES["binary_focal" if binary else "focal"], parameter=float(gamma))


def cross_entropy(label_smoothing: Setting = 0.0, binary: bool = False) -> Loss:
    """Return the cross-entropy of a softmax output, or of a sigmoid one with `binary`.

    Parameters
    ----------
    label_smoothing : float or Schedule
        The share s of every expected probability t that is spread evenly over all k classes: t
        becomes ``(1 - s) t + s / k`` (Szegedy et al. 2016). What `fit` measures on its validation
        data, early stopping goes by it, is the cross-entropy without it.
    binary : bool
        Whether the output is sigmoid: yes or no, two classes for every output.

    Raises
    ------
    ConfigurationError
        When label_smoothing is no number from 0 to below 1.
    """
    if not 0 <= peak_of(label_smoothing) < 1:
        raise ConfigurationError(
            f"label_smoothing is {brief(label_smoothing)}; a number from 0 to below 1 is needed"
        )
    name = "binary_cross_entropy" if binary else "cross_entropy"
    if not label_smoothing:
        return LOSSES[name]
    return replace(LOSSES[f"smoothed_{name}"], parameter=label_smoothing)


def get_loss(name: str | Loss, output: Activation) -> Loss:
    """Return the loss itself or the one of this name; ``"auto"`` follows the output.

    Softmax takes cross-entropy, sigmoid binary cross-entropy, exp the Poisson deviance, anything
    else squared error. The usual short names, ``"mse"``, ``"mae"``, ``"ce"``, ``"bce"``, are known
    too.

    Raises
    ------
    UnknownNameError
        When there is no such loss; lists the known names.
    ConfigurationError
        When the loss acts on the logits of another output activation.
    """
    if isinstance(name, Loss):
        loss = name
    else:
        known = {"auto": _AUTOMATIC.get(output.name, "squared_error")} | OTHER_NAMES
        wanted = known.get(name, name) if isinstance(name, str) else None
        if wanted not in LOSSES:
            raise UnknownNameError("loss", name, ["auto", *LOSSES])
        loss = LOSSES[wanted]
    if loss.logits_of not in ("", output.name):
        raise ConfigurationError(
            f"loss {loss.name!r} needs output={loss.logits_of!r} and the network's output is"
            f" {output.name!r}: choose another loss or output"
        )
    return loss


def kernel_name(loss: Loss, expected: Array) -> str:
    """Name the kernel for expected values in the form `prepare` gave them."""
    return f"class_{loss.name}" if loss.classes and expected.ndim == 1 else loss.name


def prepare(expected: Array, outputs: int, loss: Loss, backend: Backend, dtype: Any) -> Array:
    """Check expected values and bring them into the form the loss takes.

    Parameters
    ----------
    expected : array, (rows,) or (rows, outputs)
        Class indices as integers; or probabilities or values, one a output.

    Returns
    -------
    array
        int64 class indices (rows,) for cross-entropy over classes, else (rows, outputs) of the
        network's dtype; class indices become one-hot rows for any other loss.

    Raises
    ------
    ShapeError, DataError
        When the shape does not fit the outputs, or a value is out of range or not finite.
    """
    if expected.ndim == 2 and expected.shape[1] == 1 and outputs > 1:
        expected = expected.reshape(-1)
    if expected.ndim == 1 and outputs > 1:
        return _classes(expected, outputs, loss, backend, dtype)
    if expected.ndim == 1:
        expected = expected.reshape(-1, 1)
    if expected.ndim != 2 or expected.shape[1] != outputs:
        raise ShapeError(
            f"expected values have shape {tuple(expected.shape)}; (rows, {outputs})"
            f"{' or (rows,) of class indices' if outputs > 1 else ''} is needed"
        )
    values = backend.asarray(expected, dtype)
    _check_finite(values, backend)
    if loss.logits_of in ("softmax", "sigmoid"):
        _check_probabilities(values, loss, backend)
    if loss.logits_of == "exp" and bool((values < 0).any()):
        row = int(backend.xp.argmax((values < 0).any(axis=1)))
        raise DataError(
            f"expected value in row {row} is {float(values[row].min()):g}; {loss.name} needs values"
            " from 0"
        )
    return values


def _classes(expected: Array, outputs: int, loss: Loss, backend: Backend, dtype: Any) -> Array:
    xp = backend.xp
    if expected.dtype.kind == "f":
        _check_finite(expected, backend)
        if not bool((expected == xp.floor(expected)).all()):
            raise ShapeError(
                f"expected values have shape {tuple(expected.shape)} and are no whole numbers;"
                f" class indices or shape (rows, {outputs}) is needed"
            )
    if len(expected) and not 0 <= int(expected.min()) <= int(expected.max()) < outputs:
        wrong = xp.logical_or(expected < 0, expected >= outputs)
        row = int(xp.argmax(wrong))
        raise DataError(
            f"expected class in row {row} is {int(expected[row])}; a class from 0 to"
            f" {outputs - 1} is needed, as the network has {outputs} outputs"
        )
    classes = backend.asarray(expected, np.int64)
    if loss.classes:
        return classes
    columns = xp.arange(outputs, dtype=np.int64)
    return backend.asarray(classes.reshape(-1, 1) == columns, dtype)


def _check_finite(values: Array, backend: Backend) -> None:
    finite = backend.xp.isfinite(values)
    if not bool(finite.all()):
        row = int(backend.xp.argmin(finite.reshape(len(values), -1).all(axis=1)))
        raise DataError(f"expected values are not finite in row {row}; finite numbers are needed")


def _check_probabilities(values: Array, loss: Loss, backend: Backend) -> None:
    xp = backend.xp
    outside = xp.logical_or(values < 0, values > 1)
    if bool(outside.any()):
        row = int(xp.argmax(outside.any(axis=1)))
        worst = float(values[row][outside[row]][0])
        raise DataError(
            f"expected value in row {row} is {worst:g}; {loss.name} needs probabilities from 0 to 1"
        )
    if loss.classes:
        far = xp.abs(values.sum(axis=1) - 1) > 1e-3
        if bool(far.any()):
            row = int(xp.argmax(far))
            raise DataError(
                f"expected probabilities in row {row} sum to {float(values[row].sum()):g};"
                f" {loss.name} needs rows that sum to 1"
            )
