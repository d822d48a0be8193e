"""Measures over folds: each row is measured once, by a model that had neither it nor its fold."""

import statistics

import numpy as np
import pytest

from gpubp.errors import ConfigurationError
from gpubp.tables.folds import cross_validate
from gpubp.tables.prepared import prepare
from gpubp.tables.splits import fold_splits
from table_building import table

pytest.importorskip("sklearn")

A = np.random.default_rng(0).normal(size=60)
CLASSES = np.array(["x"] * 45 + ["y"] * 15)


@pytest.mark.parametrize("labels", [None, CLASSES, np.arange(60)], ids=["none", "two", "lonely"])
@pytest.mark.parametrize("count", [2, 7, 60])
def test_every_row_is_in_the_test_part_of_one_fold(count, labels):
    splits = fold_splits(60, count, 0.25, 3, labels)
    assert len(splits) == count
    np.testing.assert_array_equal(np.sort(np.concatenate([s.test for s in splits])), range(60))
    for split in splits:
        np.testing.assert_array_equal(np.sort(np.concatenate(split)), range(60))
        assert len(split.validation) == round(0.25 * (60 - len(split.test)))
    for one, other in zip(splits, fold_splits(60, count, 0.25, 3, labels), strict=True):
        np.testing.assert_array_equal(one.test, other.test)


def test_folds_hold_the_classes_in_equal_proportion():
    for split in fold_splits(60, 5, 0.25, 0, CLASSES):
        assert [(CLASSES[part] == "y").sum() for part in split] == [9, 3, 3]


@pytest.mark.parametrize("count", [1, 61, -3])
def test_a_number_of_folds_that_cannot_be(count):
    with pytest.raises(ConfigurationError, match=f"{count} folds of 60 rows; 2 to 60"):
        fold_splits(60, count, 0.2, 0)


def test_a_fold_is_measured_by_what_the_others_hold():
    """The preprocessing too knows only rows of the others; the spread is that of the folds."""
    prepared = prepare(table(a=A, y=A), "y", "regression", 0.2, 0.2, 0)
    folds = []

    class Model:
        def evaluate(self, held):
            folds[-1].append(held.column("a"))
            return {"error": float(held.column("a").mean())}, []

    def train(fold):
        learnt = A[fold.split.train]
        (column,) = fold.preprocessing.columns
        assert column.standardisation.mean == pytest.approx(learnt.mean())
        folds.append([np.concatenate([learnt, A[fold.split.validation]])])
        return Model()

    found = cross_validate(prepared, 4, 0.2, 0, False, train)
    for known, held in folds:
        np.testing.assert_array_equal(np.sort(np.concatenate([known, held])), np.sort(A))
    errors = [held.mean() for _, held in folds]
    assert found["error"].folds == pytest.approx(errors)
    assert found["error"].mean == pytest.approx(statistics.mean(errors))
    assert found["error"].deviation == pytest.approx(statistics.stdev(errors))
