"""The operations of a training step, handed over to C++ to be done in one call.

Each operation becomes a tuple of its name, arrays and numbers, as `kernels/host/run.h` lists them.
An operation that C++ lacks makes the step one that is walked in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpubp.backends.cpu import blas
from gpubp.backends.formulas.activations import ACTIVATIONS
from gpubp.backends.program import Operation, largest_product
from gpubp.backends.scheduled import Number, Scheduled

Row = tuple[Any, ...]
# In the largest products of the steps of one call; between two calls Python takes an interrupt.
MULTIPLICATIONS_A_CALL = 20_000_000_000


class NotPlannedError(Exception):
    """A step that C++ does not do; says why."""


class Places:
    """Where functions stand in the tables of a compiled module."""

    def __init__(self, host: Any) -> None:
        self.activation = {name: place for place, name in enumerate(host.ACTIVATIONS)}
        self.loss = {name: place for place, name in enumerate(host.LOSSES)}
        self.update = {name: place for place, name in enumerate(host.UPDATES)}


class PlannedSteps:
    """A training step that C++ does, as often as it is asked to.

    Parameters
    ----------
    host : module
        The compiled kernels.
    operations : sequence of Operation
        Those of one step.
    products : Products or None
        Those of BLAS, or what stands in for them.
    parts : int
        Into how many parts its work is cut; every bit of a result depends on it, and none on how
        many threads there are.

    Raises
    ------
    NotPlannedError
        When C++ lacks an operation, or what it needs for one.
    """

    def __init__(
        self,
        host: Any,
        places: Places,
        products: blas.Products | None,
        operations: Sequence[Operation],
        parts: int,
    ) -> None:
        if products is None:
            raise NotPlannedError("NumPy's products were not found")
        flat = _flat_buffers(operations)
        rows = [_row(operation, places) for operation in operations]
        try:
            self._plan = host.plan(rows, parts, products, flat, flat[0].dtype == np.float64)
        except (TypeError, BufferError, ValueError) as error:
            raise NotPlannedError(str(error)) from error
        self._run, self._one_thread = host.run_plans, blas.threads_for(0)
        self._largest = max(1, largest_product(operations))

    def __call__(self, count: int = 1) -> None:
        """Do so many steps."""
        self.in_turn([(self, count)])

    @staticmethod
    def in_turn(calls: Sequence[tuple[PlannedSteps, int]]) -> None:
        """Do so many of each of several steps, one after the other, in one call if it is short."""
        first, runs, work = calls[0][0], list[Any](), 0
        with first._one_thread:
            for steps, count in calls:
                while count:
                    some = max(1, (MULTIPLICATIONS_A_CALL - work) // steps._largest)
                    some = min(count, some)
                    runs += [steps._plan, some]
                    count, work = count - some, work + some * steps._largest
                    if work >= MULTIPLICATIONS_A_CALL:
                        first._run(*runs)
                        runs, work = [], 0
            if runs:
                first._run(*runs)


def _flat_buffers(operations: Sequence[Operation]) -> tuple[Any, Any]:
    """Return the flat gradients and parameters; what gradients are gathered in for the latter."""
    called = dict(operations)
    if "update" in called:
        return called["update"][1], called["update"][2]
    if "accumulate" in called:
        return called["accumulate"][0], called["accumulate"][3]
    if not any(name == "loss" or name.endswith("_backward") for name in called):
        arrays = (one for one in operations[-1].arguments if isinstance(one, np.ndarray))
        none = np.empty(0, next(arrays).dtype)  # a forward pass has no gradients
        return none, none
    raise NotPlannedError("a step without an update")


def _row(operation: Operation, places: Places) -> Row:
    make = _ROWS.get(operation.name)
    if make is None:
        raise NotPlannedError(f"{operation.name} is not among the operations of C++")
    return (operation.name, *make(places, *operation.arguments))


def _multiply(places: Places, a: Any, b: Any, out: Any, scale: float) -> Row:
    a, b, of_a, of_b = untransposed(a, b)
    return a, b, out, of_a, of_b, float(scale)


def untransposed(a: Any, b: Any) -> tuple[Any, Any, bool, bool]:
    """Return two matrices as they lie in memory, and whether each was a transposed view of that."""
    of_a, of_b = not a.flags.c_contiguous, not b.flags.c_contiguous
    return a.T if of_a else a, b.T if of_b else b, of_a, of_b


def _activate(places: Places, name: str, z: Any, bias: Any, y: Any, scratch: Any) -> Row:
    return z, bias, y, places.activation[name], ACTIVATIONS[name].whole_rows


def _activate_backward(
    places: Places, name: str, kept: Any, dy: Any, dz: Any, dbias: Any, scratch: Any
) -> Row:
    whole_rows = ACTIVATIONS[name].whole_rows
    return kept, dy, dz, dbias, places.activation[name], whole_rows


def _dropout(places: Places, x: Any, y: Any, rate: Number, key: Any, scratch: Any) -> Row:
    seed, stream, clock = key
    if isinstance(clock, int):
        raise NotPlannedError("dropout of a fixed step")
    return x, y, clock, *_number(rate), int(seed), int(stream)


def _number(number: Number) -> Row:
    """Return a number and nothing; or the numbers and the clock that selects one."""
    return tuple(number) if isinstance(number, Scheduled) else (float(number), 0)


def _loss(
    places: Places,
    name: str,
    parameter: Number,
    y: Any,
    expected: Any,
    dy: Any,
    mean: Any,
    scratch: Any,
    weighting: Any,
    scaling: Any,
) -> Row:
    weights = () if weighting is None else tuple(weighting)
    return y, expected, dy, mean, *_number(parameter), places.loss[name], *weights


def _update(
    places: Places,
    name: str,
    gradients: Any,
    parameters: Any,
    state: Any,
    settings: Any,
    clock: Any,
    scaling: Any,
    half: Any,
    scratch: Any,
    span: Any,
) -> Row:
    start, stop = span or (0, parameters.size)
    place = places.update[name]
    return gradients, parameters, settings, clock, scaling, place, start, stop, *state


def _bins(bins: Any) -> Row:
    return bins.edges, bins.starts, bins.columns, bins.others


# For each operation, what of its arguments C++ takes, in the order of `kernels/host/`.
_ROWS: dict[str, Callable[..., Row]] = {
    "gather_batch": lambda _, array, order, clock, batch, scale, out: (
        *(array, order, clock, out),
        *(int(batch), float(scale)),
    ),
    "multiply": _multiply,
    "add": lambda _, a, b, out: (a, b, out),
    "activate": _activate,
    "activate_backward": _activate_backward,
    "mix": lambda places, name, z, bias, factor, y, scratch: (
        *(z, bias, factor, y),
        places.activation[name],
    ),
    "mix_backward": lambda places, name, z, factor, dy, dz, dbias, dfactor, scratch: (
        *(z, factor, dy, dz, dbias, dfactor),
        places.activation[name],
    ),
    "dropout": _dropout,
    "loss": _loss,
    "normalize_rows": lambda _, n, inverse, scratch: (n, inverse),
    "normalize_columns": lambda _, n, inverse, statistics, scratch: (n, inverse, statistics),
    "scale_columns": lambda _, n, gamma, z: (n, gamma, z),
    "sum_products": lambda _, a, b, sums, scratch: (a, b, sums),
    "normalize_rows_backward": lambda _, n, inverse, gamma, delta, dgamma, scratch: (
        *(n, inverse, gamma),
        *(delta, dgamma),
    ),
    "normalize_columns_backward": (
        lambda _, n, inverse, gamma, delta, dbias, dgamma, fixed, scratch: (
            *(n, inverse, gamma, delta),
            *(dbias, dgamma, fixed),
        )
    ),
    "find_bins": lambda _, x, bins, cell, share: (x, cell, share, *_bins(bins)),
    "embed_numbers": lambda _, x, bins, cell, share, weight, bias, table, y, scratch: (
        *(x, cell, share, *_bins(bins)),
        *(weight, bias, table, y),
    ),
    "embed_numbers_backward": lambda _, x, bins, cell, share, dy, dweight, dbias, dtable: (
        *(x, cell, share, *_bins(bins)),
        *(dy, dweight, dbias, dtable),
    ),
    "embed_numbers_slope": lambda _, bins, cell, dy, weight, table, dx: (
        *(dx, cell, *_bins(bins)),
        *(dy, weight, table),
    ),
    "embed_categories": lambda _, x, codes, weight, place, y: (
        *(x, place, codes.starts, codes.columns, codes.others),
        *(weight, y),
    ),
    "embed_categories_backward": lambda _, codes, place, dy, dweight: (place, dy, dweight),
    "embed_periodic": lambda _, x, waves, frequency, phase, weight, bias, wave, y: (
        *(x, *waves, frequency, phase),
        *(weight, bias, wave, y),
    ),
    "embed_periodic_backward": lambda _, x, waves, *others: (x, *waves, *others),
    "embed_periodic_slope": lambda _, waves, frequency, weight, wave, y, dy, dx: (
        *(dx, *waves, frequency),
        *(weight, wave, y, dy),
    ),
    "accumulate": lambda _, gradients, share, first, total: (
        *(gradients, float(share)),
        *(bool(first), total),
    ),
    "convert": lambda _, array, out: (array, out),
    "average": lambda _, values, decay, mean, scratch, scaling: (
        *(values, float(decay)),
        *(mean, scaling),
    ),
    "penalize": lambda _, weight, dweight, l1, l2, scratch, scaling, per: (
        *(weight, dweight, float(l1), float(l2), scaling),
        *(() if per is None else (per,)),
    ),
    "add_squares": lambda _, weights, factor, per, mean, scratch, scaling: (
        *(float(factor), per, mean),
        *weights,
    ),
    "clip": lambda _, gradients, limit, scaling: (gradients, float(limit)),
    "clip_norm": lambda _, gradients, limit, scratch, scaling: (gradients, float(limit)),
    "limit_norms": lambda _, weight, limit, scratch: (weight, float(limit)),
    "update": _update,
    "find_overflow": lambda _, values, scaling: (values, scaling),
    "finish_step": lambda _, mean, losses, clock, scaling, growth, updated: (
        *(mean, losses, clock),
        *(scaling, bool(updated)),
    ),
}
