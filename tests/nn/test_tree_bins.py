"""Bins by a decision tree on each column, against the best splits found by trying all."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest

import gpubp
from gpubp import errors

pytest.importorskip("sklearn")
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((200, 2)).astype(np.float32).astype(float)


def impurity(y, classes):
    """Rows times variance, or times Gini's impurity."""
    if not classes:
        return ((y - y.mean(axis=0)) ** 2).sum()
    shares = np.unique(y, return_counts=True)[1] / len(y)
    return len(y) * (1 - (shares**2).sum())


def best_split(column, y, leaf, classes):
    """The threshold with the least impurity of both sides, of all that there are."""
    order = np.argsort(column)
    ordered, known = column[order], y[order]
    found = [
        (impurity(known[:at], classes) + impurity(known[at:], classes), at)
        for at in range(leaf, len(column) - leaf + 1)
    ]
    _, at = min(found)
    return (ordered[at - 1] + ordered[at]) / 2


@pytest.mark.parametrize("leaf", [1, 30])
@pytest.mark.parametrize("classes", [False, True])
def test_the_first_split_is_the_best_of_all(leaf, classes):
    values = np.where(X[:, 0] > 0.3, 2.0, np.sin(X[:, 1])) + 0.3 * RANDOM.standard_normal(200)
    y = (values > 0.5).astype(int) + (values > 1.7) if classes else values
    bins = gpubp.tree_bins(X, y, count=2, leaf=leaf, classes=classes)
    for column, edges in zip(X.T, bins, strict=True):
        split = best_split(column, y, leaf, classes)
        np.testing.assert_allclose(edges, [column.min(), split, column.max()], rtol=1e-6)


def test_bins_are_no_more_than_asked_for_and_hold_as_many_rows():
    y = np.stack([np.sin(5 * X[:, 0]), X[:, 1] ** 2], axis=1)
    for edges, column in zip(gpubp.tree_bins(X, y, count=7, leaf=12), X.T, strict=True):
        assert 4 < len(edges) <= 8
        assert np.histogram(column, edges)[0].min() >= 12
    many = gpubp.tree_bins(X, y, leaf=12)
    assert all(8 < len(edges) <= 17 for edges in many)
    assert many == gpubp.tree_bins(X, y, leaf=12)


@pytest.mark.parametrize("sharing", [11, 12])
def test_a_split_beside_a_number_that_many_rows_share_is_two_edges(sharing):
    column = np.sort(X[:, 0])
    column[100 : 100 + sharing] = column[100]  # the leaf of 12 rows needs a neighbour of 11
    below, shared, above = column[[99, 100, 100 + sharing]]
    y = np.where(column == shared, 3.0, 0.0) + 0.01 * RANDOM.standard_normal(200)
    (edges,) = gpubp.tree_bins(column[:, None], y, count=8, leaf=12)
    jumps = {(below, shared), (shared, above)} & set(itertools.pairwise(edges))
    assert len(jumps) == (2 if sharing == 12 else 0)


def test_numbers_shared_by_rows_jump_with_leaves_of_one_row_where_two_share_them():
    x = np.array([[1.0], [2.0], [2.0], [3.0]])
    assert gpubp.tree_bins(x, [0.0, 5.0, 5.0, 0.0], leaf=1) == [[1.0, 2.0, 3.0]]
    assert gpubp.tree_bins([[1.0], [2.0]], [0.0, 5.0], leaf=1) == [[1.0, 1.5, 2.0]]


def test_columns_of_one_value_and_of_codes_have_none():
    x = np.column_stack([X[:, 0], np.ones(200), RANDOM.integers(0, 5, 200)])
    bins = gpubp.tree_bins(x, X[:, 0], categories=[0, 0, 5])
    assert bins[1:] == [[], []]
    net = gpubp.Network([3, 4, 1], bins=bins, categories=[0, 0, 5], backend="cpu")
    assert len(net.layers) == 4


def test_what_cannot_be_used_is_refused(monkeypatch):
    y = X[:, 0]
    with pytest.raises(
        errors.ShapeError, match=r"y has shape \(199,\); 200 rows, as many as x, are"
    ):
        gpubp.tree_bins(X, y[1:])
    with pytest.raises(errors.ShapeError, match="x has 1 dimensions; two"):
        gpubp.tree_bins(y, y)
    with pytest.raises(errors.ConfigurationError, match="count is 1; a whole number from 2"):
        gpubp.tree_bins(X, y, count=1)
    with pytest.raises(errors.ConfigurationError, match="leaf is 0; a whole number above 0"):
        gpubp.tree_bins(X, y, leaf=0)
    for value, read in ((np.nan, "nan"), (-np.inf, "-inf"), (1e39, "inf")):
        spoilt = X.copy()
        spoilt[7, 1] = value
        message = rf"x\[7, 1\] is {read} in float32; finite numbers are needed"
        with pytest.raises(errors.NonFiniteError, match=message):
            gpubp.tree_bins(spoilt, y)
        if value != 1e39:
            with pytest.raises(errors.NonFiniteError, match=rf"x\[7, 1\] is {read} in float64"):
                gpubp.quantile_bins(spoilt)
    with pytest.raises(errors.NonFiniteError, match=r"y\[0\] is nan in float64"):
        gpubp.tree_bins(X, np.where(y == y[0], np.nan, y))
    monkeypatch.setitem(sys.modules, "sklearn.tree", None)
    with pytest.raises(errors.MissingExtraError, match=r"gpubp\[sklearn\]"):
        gpubp.tree_bins(X, y)
