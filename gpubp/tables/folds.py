"""Cross-validation of a table: measures on rows that the networks measured there never had."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from gpubp.backends import Lockstep
from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import Prepared, prepare_split
from gpubp.tables.splits import Split, fold_splits
from gpubp.training.side_by_side import results_of

Train = Callable[[Prepared], TabularModel]


class Spread(NamedTuple):
    """A measure over folds.

    Attributes
    ----------
    folds : tuple of float
        Its value on each fold that has one.
    mean, deviation : float
        Of the values; the deviation is that of a sample, or 0 of one value.
    """

    folds: tuple[float, ...]
    mean: float
    deviation: float


def cross_validate(
    prepared: Prepared,
    count: int,
    validation: float,
    seed: int,
    several: bool,
    train: Train,
    lockstep: Lockstep | None = None,
) -> dict[str, Spread]:
    """Measure how well networks answer for rows of a table that they did not have.

    All rows, whatever part they are of, are dealt to folds. For each fold networks are trained on
    the rows of all others, with a preprocessing fitted on these alone.

    Parameters
    ----------
    prepared : Prepared
        The table with its target and task.
    count : int
        Number of folds.
    validation : float
        Share of the rows that are trained on to choose the epoch by.
    several : bool
        As for `prepare`.
    train : callable
        ``train(prepared)`` returns trained networks.
    lockstep : Lockstep or None
        What folds train in at a time; None for one after the other.

    Returns
    -------
    dict of str to Spread
        By measure, as `gpubp.tables.metrics` names them.

    Raises
    ------
    ConfigurationError
        When there are fewer rows than folds, or a number is out of range.
    """
    table, goal = prepared.table, prepared.preprocessing
    labels = table.column(goal.target) if goal.task == "classification" else None

    def measured(split: Split) -> dict[str, float]:
        fold = prepare_split(table, goal.target, goal.task, split, seed, several)
        return train(fold).evaluate(table.take(split.test))[0]

    splits = fold_splits(table.rows, count, validation, seed, labels)
    measures = results_of([partial(measured, split) for split in splits], lockstep)
    names = dict.fromkeys(name for each in measures for name in each)
    return {name: _spread([each[name] for each in measures if name in each]) for name in names}


def _spread(values: Sequence[float]) -> Spread:
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return Spread(tuple(values), float(np.mean(values)), float(deviation))
