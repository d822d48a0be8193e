"""Rows dealt to a training, a validation and a test part."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpubp.checks import check_fraction
from gpubp.errors import ConfigurationError, DataError, ShapeError, import_extra


class Split(NamedTuple):
    """Row indices of the three parts, each sorted; together every row once."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def train_validation_test_split(
    rows: int,
    test: float = 0.2,
    validation: float = 0.2,
    seed: int = 0,
    labels: NDArray[Any] | None = None,
) -> Split:
    """Deal rows at random to three parts, the same for the same seed.

    Parameters
    ----------
    rows
        Number of rows.
    test, validation
        Share of all rows in each part, from 0 (no such part) to below 1; their sum is below 1.
    seed
        From 0 to 2**32 - 1.
    labels
        Class of each row, shape (rows,): the parts then hold the classes in equal proportion,
        wherever every class has enough rows for that.

    Raises
    ------
    ConfigurationError
        When a share or the seed is out of range.
    DataError
        When there are too few rows to give each part one.
    ShapeError
        When there is not one label for each row.
    """
    check_shares(test, validation, seed)
    if labels is not None and len(labels) != rows:
        raise ShapeError(f"labels has {len(labels)} entries for {rows} rows; one each is needed")
    counts = _counts(rows, test, validation)
    remaining, tested = _deal(np.arange(rows), counts["test"], seed, labels)
    trained, validated = _deal(remaining, counts["validation"], seed, labels)
    return Split(trained, validated, tested)


def time_split(times: NDArray[Any], test: float, validation: float) -> Split:
    """Deal rows to three parts by time: the last to test, those before to validate, then to train.

    Parameters
    ----------
    times : array, (rows,)
    test, validation : float
        Shares, as in `train_validation_test_split`.

    Raises
    ------
    ConfigurationError
        When a share is out of range.
    DataError
        When a time is missing or no number, or there are too few rows to give each part one.
    """
    check_shares(test, validation, seed=0)
    counts = _counts(len(times), test, validation)
    order = _by_time(times)
    tested = len(order) - counts["test"]
    trained = tested - counts["validation"]
    return Split(*map(np.sort, np.split(order, [trained, tested])))


def fold_splits(
    rows: int, count: int, validation: float, seed: int, labels: NDArray[Any] | None = None
) -> list[Split]:
    """Return a split for each of `count` folds, every row being in the test part of one.

    Parameters
    ----------
    rows
        Number of rows.
    count
        From 2 to the number of rows.
    validation
        Share of the other rows that each split validates with.
    seed
        From 0 to 2**32 - 1.
    labels
        Class of each row, shape (rows,): the folds then hold the classes in equal proportion, as
        far as they have enough rows for that.

    Raises
    ------
    ConfigurationError
        When the count, the share or the seed is out of range.
    """
    check_shares(0, validation, seed)
    if not 2 <= count <= rows:
        raise ConfigurationError(f"{count} folds of {rows} rows; 2 to {rows} folds are needed")
    selection = import_extra("sklearn.model_selection", "cli")
    stratified = labels is not None and np.unique(labels, return_counts=True)[1].max() >= count
    kind = selection.StratifiedKFold if stratified else selection.KFold
    folds = kind(count, shuffle=True, random_state=seed)
    splits = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a class is rarer than there are folds
        for remaining, tested in folds.split(np.empty((rows, 1)), labels):
            held = min(round(validation * len(remaining)), len(remaining) - 1)
            splits.append(Split(*_deal(remaining, held, seed, labels), np.sort(tested)))
    return splits


def deal_again(
    rows: NDArray[np.int64],
    count: int,
    seed: int,
    labels: NDArray[Any] | None,
    member: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that a member of several networks trains on, and `count` to validate with.

    The first member has the rows of `train_validation_test_split`.
    """
    return _deal(rows, count, (seed + member) % 2**32, labels)


def deal_groups(
    groups: NDArray[Any], share: float, seed: int, member: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return training and validation rows of a member, no group being in both.

    Raises
    ------
    DataError
        When all rows are of one group.
    """
    if len(np.unique(groups)) < 2:
        raise DataError("groups holds one group only; two at least are needed to hold one out")
    splitter = import_extra("sklearn.model_selection", "sklearn").GroupShuffleSplit
    dealt = splitter(1, test_size=share, random_state=(seed + member) % 2**32)
    train, validation = next(dealt.split(groups, groups=groups))
    return np.sort(train), np.sort(validation)


def deal_last(
    times: NDArray[Any], count: int, member: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return training and validation rows, the latter being the `count` last by time.

    The same for every member. Raises DataError where a time is missing.
    """
    order = _by_time(times)
    return np.sort(order[:-count]), np.sort(order[-count:])


def _by_time(times: NDArray[Any]) -> NDArray[np.int64]:
    """Return row indices in the order of time; raises DataError where a time is missing."""
    if times.dtype == object or np.isnan(times).any():
        raise DataError("the time column holds text or has missing values; times are needed")
    return np.argsort(times, kind="stable")


def _counts(rows: int, test: float, validation: float) -> dict[str, int]:
    """Return the rows of the held-out parts; raises DataError where a part would be empty."""
    counts = {"test": round(test * rows), "validation": round(validation * rows)}
    empty = [part for part, share in (("test", test), ("validation", validation)) if share]
    empty = [part for part in empty if not counts[part]]
    if rows - sum(counts.values()) < 1:
        empty.append("training")
    if empty:
        raise DataError(
            f"{rows} rows with test {test:g} and validation {validation:g} leave the {empty[0]}"
            " part empty; more rows or another share are needed"
        )
    return counts


def check_shares(test: float, validation: float, seed: int) -> None:
    """Raise ConfigurationError for a share or a seed out of range."""
    check_fraction(test=test, validation=validation)
    if test + validation >= 1:
        raise ConfigurationError(
            f"test {test} and validation {validation} leave nothing to train on; a sum below 1 is"
            " needed"
        )
    if not 0 <= seed < 2**32:
        raise ConfigurationError(f"seed is {seed}; a whole number from 0 to 2**32 - 1 is needed")


def _deal(
    indices: NDArray[np.int64], count: int, seed: int, labels: NDArray[Any] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices without `count` of them, and those, both sorted."""
    if count == 0:
        return indices, indices[:0]
    strata = None if labels is None else _strata(labels[indices], count)
    split = import_extra("sklearn.model_selection", "cli").train_test_split
    kept, taken = split(indices, test_size=count, random_state=seed, stratify=strata)
    return np.sort(kept), np.sort(taken)


def _strata(labels: NDArray[Any], count: int) -> NDArray[np.int64] | None:
    """Return classes as numbers, or None where a class has too few rows to be in both parts."""
    classes, strata, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if sizes.min() < 2 or min(count, len(labels) - count) < len(classes):
        return None
    return np.asarray(strata)
