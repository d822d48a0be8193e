"""Bins for embeddings of numbers: where the edges lie, found in the rows to train on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends.cpu.thread_count import thread_count
from gpubp.checks import checked_list, checked_whole
from gpubp.errors import DataError, NonFiniteError, ShapeError, import_extra

MOST_BINS = 1 << 20  # of a column
DECREASE = 1e-5  # of a tree's impurity, at least, by each of its splits


def quantile_bins(
    x: Any, count: int = 48, categories: Sequence[int] | None = None
) -> list[list[float]]:
    """Return the edges of bins with about as many rows each, for every column of x.

    Parameters
    ----------
    x : array, (rows, columns)
        The rows to train on.
    count : int
        Bins at most. A column with few values has fewer: equal edges are one. A column of one value
        has no bins and passes as it is.
    categories : sequence of int or None
        As `gpubp.Network` takes them: a column of codes has no bins.

    Returns
    -------
    list of list of float
        What `gpubp.Network` takes as `bins`.

    Raises
    ------
    ShapeError
        When x is no matrix, or categories are given for another number of columns.
    NonFiniteError
        When a number is NaN or infinite.

    Examples
    --------
    >>> quantile_bins([[1.0], [2.0], [3.0], [4.0], [5.0]], count=2)
    [[1.0, 3.0, 5.0]]
    """
    rows = _matrix(x)
    _refuse_infinite("x", rows, np.float64)
    shares = np.linspace(0, 1, checked_whole("count", count, most=MOST_BINS) + 1)
    return _bins_of_numbers(rows, categories, lambda column: np.quantile(column, shares))


def tree_bins(
    x: Any,
    y: Any,
    count: int = 128,
    leaf: int = 16,
    classes: bool = False,
    categories: Sequence[int] | None = None,
) -> list[list[float]]:
    """Return the edges of bins that a decision tree finds for every column of x alone.

    The tree splits the column where that tells most of y; its thresholds, with the least and the
    largest number of the column, are the edges. Gorishniy, Rubachev and Babenko 2022, "On
    embeddings for numerical features": target-aware bins.

    Many rows may share one number: a price of 9.99, a gain of 0. Beside such a number a split
    becomes two edges, the number below it and the one above it, so that the embedding can jump
    between them; with the threshold alone what such a number is worth leaks to those beside it.

    Parameters
    ----------
    x : array, (rows, columns)
        The rows to train on.
    y : array, (rows,) or (rows, outputs)
        What is expected of them.
    count : int
        Leaves of a tree at most, 2 or more. A column of one value has no bins and passes as it is.
    leaf : int
        Rows of a leaf at least; so many, and two at least, have to share a number that a split
        jumps from or to.
    classes : bool
        Whether y holds classes, not numbers.
    categories : sequence of int or None
        As `gpubp.Network` takes them: a column of codes has no bins.

    Returns
    -------
    list of list of float
        What `gpubp.Network` takes as `bins`.

    Raises
    ------
    ShapeError, ConfigurationError, NonFiniteError
        When an argument cannot be used.
    MissingExtraError
        When scikit-learn is not installed.
    """
    trees = import_extra("sklearn.tree", "sklearn")
    expected, rows = np.asarray(y), _matrix(x)
    if expected.shape[:1] != (len(rows),):
        raise ShapeError(
            f"y has shape {expected.shape}; {len(rows)} rows, as many as x, are needed"
        )
    checked_whole("count", count, least=2, most=MOST_BINS)
    _refuse_infinite("x", rows, np.float32)
    if not classes:
        _refuse_infinite("y", expected, np.float64)
    make_tree = partial(
        trees.DecisionTreeClassifier if classes else trees.DecisionTreeRegressor,
        max_leaf_nodes=count,
        min_samples_leaf=min(checked_whole("leaf", leaf), len(expected)),
        min_impurity_decrease=DECREASE,
        random_state=0,
    )

    def edges_of(column: NDArray[Any]) -> NDArray[Any]:
        numbers = column.astype(np.float32)  # as the tree reads them
        grown = make_tree().fit(numbers[:, None], expected, check_input=False).tree_
        splits = grown.threshold[grown.children_left >= 0]
        return _edges_at(splits, *np.unique(numbers, return_counts=True), max(leaf, 2))

    return _bins_of_numbers(rows, categories, edges_of)


def _edges_at(
    splits: NDArray[Any], numbers: NDArray[Any], counts: NDArray[np.int64], shared: int
) -> NDArray[Any]:
    """Return the ends of a column, and one or two edges for each split of it.

    Two are the numbers below and above it, where at least `shared` rows have one of them; `numbers`
    are those of the column in order, `counts` how many rows have each.
    """
    above = np.searchsorted(numbers, splits, side="right")
    jumps = np.maximum(counts[above - 1], counts[above]) >= shared
    below_and_above = numbers[above[jumps] - 1], numbers[above[jumps]]
    return np.concatenate([splits[~jumps].astype(np.float32), *below_and_above, numbers[[0, -1]]])


def _bins_of_numbers(
    rows: NDArray[np.float64],
    categories: Sequence[int] | None,
    edges_of: Callable[[NDArray[Any]], NDArray[Any]],
) -> list[list[float]]:
    """Return bins for every column but those of codes, from edges in any order.

    Raises
    ------
    ShapeError
        When categories are given for another number of columns.
    """
    coded = [0] * rows.shape[1] if categories is None else checked_list("categories", categories)
    if len(coded) != rows.shape[1]:
        raise ShapeError(
            f"categories has {len(coded)} entries; one for each of the {rows.shape[1]} columns"
        )

    def bins_of(column: int) -> list[float]:
        edges = [] if coded[column] else np.unique(edges_of(rows[:, column])).tolist()
        return edges if len(edges) > 1 else []

    with ThreadPoolExecutor(thread_count()) as columns:
        return list(columns.map(bins_of, range(len(coded))))


def _matrix(x: Any) -> NDArray[np.float64]:
    """Return the rows to look for bins in."""
    try:
        rows = np.asarray(x, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"x holds what is no number: {error}") from error
    if rows.ndim != 2:
        raise ShapeError(f"x has {rows.ndim} dimensions; two, (rows, columns), are needed")
    return rows


def _refuse_infinite(name: str, given: Any, dtype: type[np.floating[Any]]) -> None:
    """Raise NonFiniteError that names the first number that is not finite in a dtype."""
    with np.errstate(over="ignore"):
        numbers = np.asarray(given).astype(dtype)
    found = np.argwhere(~np.isfinite(numbers))
    if len(found):
        place = tuple(found[0].tolist())
        raise NonFiniteError(
            f"{name}{list(place)} is {numbers[place]} in {numbers.dtype.name}; finite numbers are"
            " needed"
        )
