"""Precisions: what is computed with, what is stored, and what products may round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpubp.checks import checked_name
from gpubp.errors import ConfigurationError, brief


@dataclass(frozen=True)
class Precision:
    """How exactly a network computes on a GPU.

    A CPU computes in `dtype` whatever the rest says, but for the products of "bfloat16" where the
    processor has instructions for them (`gpubp.backends.cpu.bfloat16_backend`).

    Attributes
    ----------
    name : str
        Its name.
    dtype : numpy.dtype
        Of parameters, moments, losses and results.
    stored : numpy.dtype
        Of the hidden layers' outputs and gradients and of the weights that products read;
        bfloat16, for which NumPy has no name, is kept in uint16.
    tf32 : bool
        Whether products round their operands to 10 bits after the point, for the sake of speed.
    """

    name: str
    dtype: np.dtype[Any]
    stored: np.dtype[Any]
    tf32: bool = False

    @property
    def half(self) -> bool:
        """Whether what is stored has 16 bits."""
        return self.stored.itemsize == 2

    @property
    def scaled(self) -> bool:
        """Whether gradients are so small in it that the loss has to be scaled up."""
        return self.stored == np.float16

    @property
    def largest(self) -> float:
        """The largest finite number that an input may be."""
        kind: Any = np.float16 if self.scaled else self.dtype
        return float(np.finfo(kind).max)

    @property
    def largest_code(self) -> int:
        """The number up to which all whole numbers are exact in what inputs are stored in."""
        digits = 8 if self.stored == np.uint16 else int(np.finfo(self.stored).nmant) + 1
        return 1 << digits


_TABLE = (
    Precision("float32", np.dtype(np.float32), np.dtype(np.float32)),
    Precision("tf32", np.dtype(np.float32), np.dtype(np.float32), tf32=True),
    Precision("bfloat16", np.dtype(np.float32), np.dtype(np.uint16)),
    Precision("float16", np.dtype(np.float32), np.dtype(np.float16)),
    Precision("float64", np.dtype(np.float64), np.dtype(np.float64)),
)
PRECISIONS = {precision.name: precision for precision in _TABLE}
_KINDS = {"float32": ("f4", "f", "single"), "float64": ("f8", "d", "double", "float")}
# every text for a dtype; others are not NumPy's to read, which would parse them as Python
_DTYPE_NAMES = {other: name for name, others in _KINDS.items() for other in (name, *others)}


def dtype_name(dtype: Any) -> str:
    """Return the name of a dtype, given as a text, as NumPy's dtype or as its class of numbers.

    Raises
    ------
    ConfigurationError
        When it is neither float32 nor float64.
    """
    name = dtype if isinstance(dtype, str) else ""
    if isinstance(dtype, np.dtype | type):
        name = np.dtype(dtype).name
    if name not in _DTYPE_NAMES:
        raise ConfigurationError(f"dtype is {brief(dtype)}; float32 or float64 is needed")
    return _DTYPE_NAMES[name]


def get_precision(precision: str | None, dtype: Any = "float32") -> Precision:
    """Return the precision of this name, or for None that of a dtype, see `dtype_name`.

    Raises
    ------
    UnknownNameError, ConfigurationError
        When there is none, or the two contradict each other.
    """
    wanted = dtype_name(dtype)
    if precision is None:
        return PRECISIONS[wanted]
    checked_name("precision", precision, PRECISIONS)
    chosen = PRECISIONS[precision]
    if wanted == "float64" and chosen.dtype != np.float64:
        raise ConfigurationError(
            f"dtype is float64 and precision {precision!r}; leave one of them out"
        )
    return chosen
