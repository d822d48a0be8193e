"""The default network of `gpubp train`, TabularClassifier and TabularRegressor, as plain numbers.

Every peer builds it: one column of names and the columns of numbers with bins are embedded, the
other inputs pass; then hidden layers, with dropout for classes, by AdamW whose rate falls with half
a cosine, and a running mean of the parameters is kept. `peers/gpubp_default.py` compares these
numbers with gpubp's own recipe.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from cases import CLASSES, Case

Array = np.ndarray[Any, Any]

NAMES, NUMBERS, PASSING = 1000, 16, 24  # names of the one column of names; columns of the others
BINS = 64  # of each column of numbers
CATEGORY_WIDTH, EMBEDDING, HIDDEN = 8, 16, (256, 256, 256)
DECAY, EPOCHS = 0.1, 32
# by activation: of classes and of numbers
RATE = {"mish": 4e-3, "relu": 2e-3}
DROPOUT = {"mish": 0.2, "relu": 0.0}
INPUTS = 1 + NUMBERS + PASSING
FIRST_WIDTH = NUMBERS * EMBEDDING + CATEGORY_WIDTH + PASSING  # what the first dense layer reads
STEPS = 64  # of an epoch
PACE = 1 / STEPS  # of the running mean, which goes back over a thirty-second of all steps


def default_cases() -> list[Case]:
    """Return the cases: classes and numbers, with the batches of a small table and a large one."""
    return [
        Case("default", (INPUTS, *HIDDEN, outputs), batch, activation, rows=STEPS * batch)
        for outputs, activation in ((CLASSES, "mish"), (1, "relu"))
        for batch in (32, 256)
    ]


def edges() -> Array:
    """Return the edges of the bins of every column of numbers, (NUMBERS, BINS + 1)."""
    random = np.random.default_rng(1)
    sample = np.sort(random.standard_normal((NUMBERS, 100 * BINS)).astype(np.float32), axis=1)
    return sample[:, np.linspace(0, sample.shape[1] - 1, BINS + 1).astype(int)]


def default_rows(case: Case) -> tuple[Array, Array]:
    """Return the rows of an epoch: codes and numbers (rows, INPUTS), and the targets (rows,)."""
    random = np.random.default_rng(2)
    codes = random.integers(0, NAMES, (case.rows, 1)).astype(np.float32)
    numbers = random.standard_normal((case.rows, NUMBERS)).astype(np.float32)
    passing = random.integers(0, 2, (case.rows, PASSING)).astype(np.float32)
    y: Array = random.integers(0, CLASSES, case.rows)
    if case.sizes[-1] == 1:
        y = random.standard_normal(case.rows).astype(np.float32)
    return np.hstack([codes, numbers, passing]), y


def start(case: Case) -> dict[str, Any]:
    """Return first parameters: `names`, `weight`, `bias`, `table` and `dense`, pairs of two.

    The columns of the first dense layer are those of the embedded numbers, then of the names, then
    of what passes. The table, which begins at zero in gpubp, has numbers: a wrong row then shows.
    """
    random = np.random.default_rng(3)

    def drawn(bound: float, *shape: int) -> Array:
        return random.uniform(-bound, bound, shape).astype(np.float32)

    widths = (FIRST_WIDTH, *case.sizes[1:])
    return {
        "names": drawn(0.1 * CATEGORY_WIDTH**-0.5, NAMES, CATEGORY_WIDTH),
        "weight": drawn(EMBEDDING**-0.5, NUMBERS, EMBEDDING),
        "bias": drawn(EMBEDDING**-0.5, NUMBERS, EMBEDDING),
        "table": drawn(0.1, NUMBERS, BINS, EMBEDDING),
        "dense": [
            (drawn((6 / inputs) ** 0.5, inputs, outputs), np.zeros(outputs, np.float32))
            for inputs, outputs in pairwise(widths)
        ],
    }
