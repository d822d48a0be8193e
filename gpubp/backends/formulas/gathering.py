"""Numbers taken from an array by their places, into an array that is there."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.backends.scratch import Array


def take(array: Array, places: Array, out: Array, axis: int | None = None) -> None:
    """Write what lies at the places into `out`, of the same dtype; no place may be outside."""
    # NumPy's mode="raise" would copy `out`; CuPy knows no modes.
    mode: dict[str, Any] = {"mode": "clip"} if isinstance(out, np.ndarray) else {}
    np.take(array, places, axis, out, **mode)
