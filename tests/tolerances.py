"""How far results may lie from the truth, in one place."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

# Relative tolerance for short sums and chains of numbers of ordinary size.
MEASURED: dict[str, float] = {}  # by test: its largest error, in units in the last place
RELATIVE = {np.dtype(np.float32): 4e-6, np.dtype(np.float64): 2e-14}


@dataclass(frozen=True)
class Bound:
    """Largest error of a function, in units in the last place of max(|exact|, floor).

    They hold for NumPy and for the host compiler with some room for the GPU's exp, expm1, log1p,
    tanh and erfc, whose own errors CUDA's programming guide gives as 1 to 4 units.
    """

    forward: float
    backward: float
    forward_floor: float = 0.0
    backward_floor: float = 0.0


def stated_bounds() -> dict[str, tuple[str, Bound]]:
    """Return what kernels/README.md states of every activation: what it keeps, and its bound."""
    text = files("gpubp.kernels").joinpath("README.md").read_text(encoding="utf-8")
    number = r"\s*([\d.e-]+|none)\s*\|"
    rows = re.findall(rf"^\| `(\w+)` \|[^|]+\| ([xy-]) \|{number * 4}", text, re.MULTILINE)
    stated = {}
    for name, keeps, *values in rows:
        forward, floor, backward, backward_floor = (
            0.0 if value == "none" else float(value) for value in values
        )
        stated[name] = keeps, Bound(forward, backward, floor, backward_floor)
    return stated


ACTIVATIONS = {name: bound for name, (_, bound) in stated_bounds().items()}


def note_error(units: float) -> None:
    """Keep the largest error of the test that is running."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
    MEASURED[test] = max(float(units), MEASURED.get(test, 0.0))


def assert_close(result: np.ndarray, exact: np.ndarray, factor: float = 1.0) -> None:
    """Assert that a result is the exact one up to rounding.

    An element's error is measured against its own size or the mean size of all, whichever is
    larger, as a small element can be the difference of two ordinary ones.
    """
    assert result.shape == exact.shape
    size = float(np.mean(np.abs(exact))) if exact.size else 0.0
    allowed = factor * RELATIVE[result.dtype]
    scale = np.maximum(np.abs(exact), size) * np.finfo(result.dtype).eps
    with np.errstate(all="ignore"):
        error = np.atleast_1d(np.abs(result - exact) / scale)
    note_error(error[np.isfinite(error)].max(initial=0.0))
    np.testing.assert_allclose(
        result.astype(np.float64), exact.astype(np.float64), rtol=allowed, atol=allowed * size
    )
