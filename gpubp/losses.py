"""The table of loss functions, and expected values checked and brought into their form.

Every loss is summed over the outputs and averaged over the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpubp.activations import Activation
from gpubp.backends import Array, Backend
from gpubp.errors import ConfigurationError, DataError, ShapeError, UnknownNameError


@dataclass(frozen=True)
class Loss:
    """What the library needs to know of a loss besides its kernel.

    Attributes
    ----------
    name : str
        Name of the loss.
    logits_of : str
        The output activation it is fused with and whose logits it acts on; "" when it acts on
        the network's outputs.
    classes : bool
        Whether expected values may be class indices, used as such and not as one-hot rows.
    """

    name: str
    logits_of: str = ""
    classes: bool = False


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        Loss("squared_error"),
        Loss("absolute_error"),
        Loss("huber"),
        Loss("binary_cross_entropy", logits_of="sigmoid"),
        Loss("cross_entropy", logits_of="softmax", classes=True),
    )
}
_AUTOMATIC = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}


def get_loss(name: str, output: Activation) -> Loss:
    """Return the loss of this name for an output activation; ``"auto"`` follows the output.

    Softmax takes cross-entropy, sigmoid binary cross-entropy, anything else squared error.

    Raises
    ------
    UnknownNameError
        When there is no such loss; lists the known names.
    ConfigurationError
        When the loss acts on the logits of another output activation.
    """
    wanted = _AUTOMATIC.get(output.name, "squared_error") if name == "auto" else name
    if wanted not in LOSSES:
        raise UnknownNameError("loss", name, ["auto", *LOSSES])
    loss = LOSSES[wanted]
    if loss.logits_of not in ("", output.name):
        raise ConfigurationError(
            f"loss {wanted!r} needs output={loss.logits_of!r} and the network's output is"
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
    if loss.logits_of:
        _check_probabilities(values, loss, backend)
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
