"""Exceptions raised by gpubp, every one of `GpubpError`, and how they show what was given."""

from __future__ import annotations

import copyreg
import difflib
import importlib
from collections.abc import Iterable
from typing import Any

# What a terminal obeys and does not show: control characters, and marks of the writing direction.
_OBEYED = [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ESCAPES = {code: repr(chr(code))[1:-1] for code in _OBEYED if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """Return a text from a file as a terminal can be given it: what it would obey is escaped."""
    return text.translate(_ESCAPES)


def brief(value: object, room: int = 60) -> str:
    """Return how a value that was given looks in a message, cut to so many characters."""
    try:
        return repr(value)[:room]
    except ValueError:  # Python writes out no whole number of more than some thousand digits
        return "a number of thousands of digits"


class GpubpError(Exception):
    """Base of every exception that gpubp raises on purpose.

    Attributes
    ----------
    everywhere : bool
        Whether all processes that train together raise it.
    """

    everywhere = False


class BackendUnavailableError(GpubpError, RuntimeError):
    """A backend was asked for that cannot run here; says what is missing and the fix."""


class DeviceError(GpubpError, ValueError):
    """Arrays and network live on different devices."""


class ShapeError(GpubpError, ValueError):
    """An array has the wrong number of dimensions, rows or columns."""


class DataError(GpubpError, ValueError):
    """Data cannot be used: empty, wrong type, out of range, one class only."""


class NonFiniteError(DataError):
    """Data hold NaN or infinity; names the row and the column."""


class ConfigurationError(GpubpError, ValueError):
    """A setting is out of its range, or two settings contradict each other."""


class UnknownNameError(ConfigurationError):
    """A name (activation, loss, column, ...) is not known; lists those that are."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1) if isinstance(name, str) else []
        hint = f"; did you mean {close[0]!r}?" if close else ""
        given = repr(name) if isinstance(name, str) else brief(name)
        super().__init__(f"unknown {kind} {given}{hint} (known: {', '.join(names)})")

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what makes it again of its text: processes tell each other of errors."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class DivergenceError(GpubpError, ArithmeticError, ValueError):
    """Training produced a loss that is not finite; a ValueError, as scikit-learn's is.

    Attributes
    ----------
    step : int
        Number of the training step, from 1, since the fit began.
    layer : str
        Where the first non-finite number was found, e.g. ``"layer 2 (weighted sum)"``.
    """

    def __init__(self, message: str, step: int = 0, layer: str = "") -> None:
        super().__init__(message)
        self.step = step
        self.layer = layer


class DeviceMemoryError(GpubpError, MemoryError):
    """Memory ran out; names what training takes and the largest batch that fits."""


class ModelFileError(GpubpError, ValueError):
    """A model file is torn, foreign, or of a newer version."""


class CheckpointError(GpubpError, ValueError):
    """A checkpoint is torn, foreign, of a newer version, or of another run; names what differs."""


class DistributedError(GpubpError, RuntimeError):
    """Processes that train together are not what they take each other for."""


class OutputPathError(GpubpError, OSError):
    """A file cannot be written where it was asked for."""


class MissingExtraError(GpubpError, ImportError):
    """An optional dependency is not installed; names the extra that brings it."""


def import_extra(module: str, extra: str) -> Any:
    """Import an optional dependency by its module name.

    Raises
    ------
    MissingExtraError
        When the module is not installed; the message names the extra to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"{package} is needed here and is not installed: pip install 'gpubp[{extra}]'"
        ) from error
