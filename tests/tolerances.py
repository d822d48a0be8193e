"""How far results may lie from the truth, in one place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Relative tolerance for short sums and chains of numbers of ordinary size.
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


# kernels/README.md states the same numbers, and test_kernels.py compares the two.
ACTIVATIONS = {
    "identity": Bound(0, 0),
    "sigmoid": Bound(4, 2, forward_floor=1e-30),
    "tanh": Bound(3, 2),
    "exp": Bound(4, 1, forward_floor=1e-30),
    "relu": Bound(0, 0),
    "leaky_relu": Bound(1, 1),
    "elu": Bound(3, 1),
    "selu": Bound(4, 2, backward_floor=1),
    "softplus": Bound(4, 3, forward_floor=1e-30),
    "softsign": Bound(2, 2),
    "hard_sigmoid": Bound(2, 1),
    "silu": Bound(5, 16, forward_floor=1e-30, backward_floor=1),
    "gelu": Bound(16, 4, forward_floor=1e-3, backward_floor=1),
    "gelu_tanh": Bound(16, 4, forward_floor=1e-3, backward_floor=1),
    "mish": Bound(8, 4, forward_floor=1e-30, backward_floor=1),
}


def assert_close(result: np.ndarray, exact: np.ndarray, factor: float = 1.0) -> None:
    """Assert that a result is the exact one up to rounding.

    An element's error is measured against its own size or the mean size of all, whichever is
    larger, as a small element can be the difference of two ordinary ones.
    """
    assert result.shape == exact.shape
    size = float(np.mean(np.abs(exact))) if exact.size else 0.0
    allowed = factor * RELATIVE[result.dtype]
    np.testing.assert_allclose(
        result.astype(np.float64), exact.astype(np.float64), rtol=allowed, atol=allowed * size
    )
