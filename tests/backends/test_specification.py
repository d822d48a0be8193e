"""The operations as they are specified, done on CuPy's arrays, agree with the CUDA kernels.

So one piece of code in array expressions serves NumPy and CuPy, and what a kernel does better it
does alike. CuPy is simulated; it takes what NumPy hands on as the real one does.
"""

from __future__ import annotations

import numpy as np
import pytest

import simulated.cupy
from gpubp.backends import Scratch, get_backend
from gpubp.backends.formulas.activations import ACTIVATIONS
from gpubp.backends.formulas.losses import KERNELS as LOSSES
from gpubp.backends.formulas.operations import ArrayOperations
from gpubp.backends.formulas.updates import UPDATES
from gpubp.backends.scheduled import Scheduled
from gpubp.nn.bins import quantile_bins
from gpubp.nn.layers.categories import Codes
from gpubp.nn.layers.periodic import Waves
from gpubp.nn.layers.piecewise_linear import Bins
from kernel_compilation import host_compiler

pytestmark = pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)
ROWS, COLUMNS = 40, 6


@pytest.fixture
def gpu(monkeypatch):
    simulated.cupy.install(monkeypatch)
    return get_backend("gpu")


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def positive(*shape):
    return np.abs(numbers(*shape)) + 0.1


def embedding(backend):
    x = numbers(ROWS, 3)
    bins = Bins.of(quantile_bins(x, 5), backend, np.dtype(np.float64))
    table = numbers(len(bins.owner), 2)
    return x, bins, table


def clock():
    return np.array([7, 1, 1, 7, 1, 1])


def clean():
    return np.array([1, 0, 0], np.float32)


def cells():
    return np.random.default_rng(5).integers(0, 5, (ROWS, 3))


def codes():
    """Three columns, of which two are codes, most of them known."""
    drawn = np.random.default_rng(6).integers(-1, 5, (ROWS, 3)).astype(float)
    drawn[:3] += 0.5
    return drawn


def places():
    """The rows of the table that the codes select."""
    first, second = np.random.default_rng(7).integers(0, 4, (2, ROWS))
    return np.stack([first - 1, second + 3], axis=1)


# two numbers behind one that passes: the embedding, and the waves that a linear map reads
PERIODIC = {"pbld": (Waves(1, 2, 4, 4, 1), 4), "plr": (Waves(1, 2, 4, 3, 0), 8)}
CASES = {
    **{
        f"activate {name}": ("activate", name, numbers(ROWS, COLUMNS), numbers(COLUMNS), "like 1")
        for name in ACTIVATIONS
    },
    **{
        f"activate_backward {name}": (
            *("activate_backward", name, positive(ROWS, COLUMNS) / 9),
            *(numbers(ROWS, COLUMNS, seed=1), numbers(ROWS, COLUMNS), numbers(COLUMNS)),
        )
        for name in ACTIVATIONS
    },
    **{
        f"loss {name}": (
            *("loss", name, entry.parameter, positive(ROWS, COLUMNS) / 9),
            np.arange(ROWS) % COLUMNS if "class_" in name else positive(ROWS, COLUMNS) / 7,
            *(numbers(ROWS, COLUMNS), np.zeros(())),
        )
        for name, entry in LOSSES.items()
    },
    "weighted loss": (
        *("loss", "squared_error", 0.0, numbers(ROWS, 2), numbers(ROWS, 2, seed=1)),
        *(np.zeros((ROWS, 2)), np.zeros(()), "scratch", (positive(ROWS), np.zeros(()))),
    ),
    **{
        f"scheduled loss {name}": (
            *("loss", name, Scheduled(np.array([0.9, 0.25]), clock()), positive(ROWS, 4) / 9),
            np.arange(ROWS) % 4 if "class_" in name else positive(ROWS, 4) / 7,
            *(numbers(ROWS, 4), np.zeros(())),
        )
        for name, entry in LOSSES.items()
        if entry.plain
    },
    **{
        f"update {name}": (
            *("update", name, numbers(50), numbers(50, seed=1)),
            tuple(positive(50) for _ in entry.state),
            np.stack([np.full(len(entry.scalars), 0.5), np.full(len(entry.scalars), 0.3)]),
            *(clock(), clean(), None),
        )
        for name, entry in UPDATES.items()
    },
    "update of a span": (
        *("update", "adam", numbers(50), numbers(50, seed=1), (positive(50), positive(50))),
        *(np.full((2, 6), 0.5), clock(), clean(), None, "scratch", (7, 31)),
    ),
    "gather": ("gather", numbers(9, 4), np.array([3, 0, 8]), np.zeros((3, 4)), 0.5),
    "gather_batch": (
        *("gather_batch", numbers(9, 4), np.arange(9)[::-1].copy(), clock(), 3, 0.5),
        np.zeros((3, 4)),
    ),
    "gather_batch of bytes": (
        *("gather_batch", np.arange(36, dtype=np.uint8).reshape(9, 4), np.arange(9), clock(), 3),
        *(0.5, np.zeros((3, 4))),
    ),
    "multiply": ("multiply", numbers(5, 4), numbers(4, 3), np.zeros((5, 3))),
    "scaled multiply": ("multiply", numbers(5, 4), numbers(4, 3), np.zeros((5, 3)), 0.3),
    "add": ("add", numbers(5, 4), numbers(5, 4, seed=1), np.zeros((5, 4))),
    **{
        f"mix {name}": (
            *("mix", name, numbers(ROWS, COLUMNS), numbers(COLUMNS), numbers(COLUMNS, seed=2)),
            "like 1",
        )
        for name, entry in ACTIVATIONS.items()
        if not entry.whole_rows
    },
    **{
        f"mix_backward {name}": (
            *("mix_backward", name, numbers(ROWS, COLUMNS), numbers(COLUMNS, seed=2)),
            *(numbers(ROWS, COLUMNS, seed=1), np.zeros((ROWS, COLUMNS))),
            *(np.zeros(COLUMNS), np.zeros(COLUMNS)),
        )
        for name, entry in ACTIVATIONS.items()
        if not entry.whole_rows
    },
    "dropout": ("dropout", numbers(ROWS, 4), np.zeros((ROWS, 4)), 0.3, (1, 2, 3)),
    "dropout of a scheduled rate": (
        *("dropout", numbers(ROWS, 4), np.zeros((ROWS, 4))),
        *(Scheduled(np.array([0.9, 0.3]), clock()), (1, 2, 3)),
    ),
    "penalize": ("penalize", numbers(5, 4), numbers(5, 4, seed=1), 0.1, 0.2),
    "clip": ("clip", numbers(50), 0.5),
    "clip_norm": ("clip_norm", numbers(50), 0.5),
    "limit_norms": ("limit_norms", numbers(5, 4), 0.5),
    "accumulate first": ("accumulate", numbers(50), 0.5, True, numbers(50, seed=1)),
    "accumulate": ("accumulate", numbers(50), 0.5, False, numbers(50, seed=1)),
    "average": ("average", numbers(50), 0.9, numbers(50, seed=1)),
    "find_overflow": ("find_overflow", np.array([1.0, np.inf]), clean()),
    "finish_step": ("finish_step", np.array(3.5), np.zeros(4), clock(), clean(), 0),
    "normalize_rows": ("normalize_rows", numbers(ROWS, COLUMNS), np.zeros(ROWS)),
    "normalize_columns": (
        *("normalize_columns", numbers(ROWS, COLUMNS), np.zeros(COLUMNS), np.zeros((2, COLUMNS))),
    ),
    "normalize_columns_by": (
        *("normalize_columns_by", numbers(ROWS, COLUMNS), np.zeros(COLUMNS)),
        positive(2, COLUMNS),
    ),
    "scale_columns": ("scale_columns", numbers(5, 4), numbers(4), np.zeros((5, 4))),
    "normalize_rows_backward": (
        *("normalize_rows_backward", numbers(ROWS, COLUMNS), positive(ROWS), positive(COLUMNS)),
        *(numbers(ROWS, COLUMNS, seed=1), np.zeros(COLUMNS)),
    ),
    "normalize_columns_backward": (
        *("normalize_columns_backward", numbers(ROWS, COLUMNS), positive(COLUMNS)),
        *(positive(COLUMNS), numbers(ROWS, COLUMNS, seed=1), positive(COLUMNS)),
        *(np.zeros(COLUMNS), False),
    ),
    "find_bins": ("find_bins", "x", "bins", cells(), np.zeros((ROWS, 3))),
    "embed_numbers": (
        *("embed_numbers", "x", "bins", cells(), positive(ROWS, 3), numbers(3, 2)),
        *(numbers(3, 2, seed=1), "table", np.zeros((ROWS, 6))),
    ),
    "embed_numbers_backward": (
        *("embed_numbers_backward", "x", "bins", cells(), positive(ROWS, 3), numbers(ROWS, 6)),
        *(np.zeros((3, 2)), np.zeros((3, 2)), np.zeros((15, 2))),
    ),
    "embed_categories": (
        *("embed_categories", codes(), "codes", numbers(7, 2), np.zeros((ROWS, 2), np.int64)),
        np.zeros((ROWS, 5)),
    ),
    "embed_categories_backward": (
        *("embed_categories_backward", "codes", places(), numbers(ROWS, 5), np.zeros((7, 2))),
    ),
    "sum_products": (
        *("sum_products", numbers(ROWS, COLUMNS), numbers(ROWS, COLUMNS, seed=1)),
        np.zeros(COLUMNS),
    ),
    **{
        f"embed_periodic {kind}": (
            *("embed_periodic", numbers(ROWS, 3), waves, numbers(2, 4), numbers(2, 4, seed=1)),
            *(numbers(2 * read, 3), numbers(2, 3), np.zeros((ROWS, 16))),
            np.zeros((ROWS, 1 + 2 * waves.width)),
        )
        for kind, (waves, read) in PERIODIC.items()
    },
    **{
        f"embed_periodic_backward {kind}": (
            *("embed_periodic_backward", numbers(ROWS, 3), waves, numbers(2 * read, 3)),
            *(numbers(ROWS, 16), numbers(ROWS, 1 + 2 * waves.width)),
            *(numbers(ROWS, 1 + 2 * waves.width, seed=1), np.zeros((2, 4)), np.zeros((2, 4))),
            *(np.zeros((2 * read, 3)), np.zeros((2, 3))),
        )
        for kind, (waves, read) in PERIODIC.items()
    },
    **{
        f"embed_periodic_slope {kind}": (
            *("embed_periodic_slope", waves, numbers(2, 4), numbers(2 * read, 3)),
            *(numbers(ROWS, 16), numbers(ROWS, 1 + 2 * waves.width)),
            *(numbers(ROWS, 1 + 2 * waves.width, seed=1), np.zeros((ROWS, 3))),
        )
        for kind, (waves, read) in PERIODIC.items()
    },
    "embed_numbers_slope": (
        *("embed_numbers_slope", "bins", cells(), numbers(ROWS, 6), numbers(3, 2), "table"),
        np.zeros((ROWS, 3)),
    ),
}
# what takes no scratch
BARE = {
    *("multiply", "clip", "accumulate", "find_overflow", "finish_step", "gather_batch"),
    *("scale_columns", "normalize_columns_by", "find_bins", "embed_numbers_backward"),
    *("embed_numbers_slope", "embed_categories", "embed_categories_backward", "add"),
    *("embed_periodic", "embed_periodic_backward", "embed_periodic_slope"),
}


def arguments(case, backend):
    """Return the case's arguments as arrays of the backend, and those arrays."""
    x, bins, table = embedding(backend)
    named = {"x": backend.asarray(x.copy()), "bins": bins, "table": backend.asarray(table.copy())}
    named["codes"] = Codes.of([3, 0, 4], backend)
    arrays = []

    def placed(value):
        if isinstance(value, Scheduled):
            return Scheduled(*map(placed, value))
        if isinstance(value, tuple) and value and isinstance(value[0], np.ndarray):
            return tuple(map(placed, value))
        if isinstance(value, np.ndarray):
            arrays.append(backend.asarray(value.copy()).reshape(value.shape))
            return arrays[-1]
        return value

    method, *rest = case
    scratch = Scratch(backend.xp)
    values = []
    for value in rest:
        if isinstance(value, str) and value == "like 1":
            value = backend.empty(values[1].shape, values[1].dtype)
            arrays.append(value)
        elif isinstance(value, str) and value == "scratch":
            value = scratch
        elif isinstance(value, str) and value in named:
            value = named[value]
        else:
            value = placed(value)
        values.append(value)
    if method not in BARE and not any(value is scratch for value in values):
        values.append(scratch)
    return values, arrays


@pytest.mark.parametrize("name", CASES)
def test_kernels_do_what_the_specification_says(gpu, name):
    method = CASES[name][0]
    (given, written), (same, specified) = (arguments(CASES[name], gpu) for _ in range(2))
    getattr(gpu, method)(*given)
    getattr(ArrayOperations, method)(gpu, *same)
    assert getattr(type(gpu), method) is not getattr(ArrayOperations, method), (
        "no kernel of its own"
    )
    lost = method == "accumulate"  # whose gradients are of no use any more
    for one, other in zip(written[lost:], specified[lost:], strict=True):
        np.testing.assert_allclose(gpu.to_numpy(one), gpu.to_numpy(other), rtol=1e-11, atol=1e-13)
