"""Split of rows to three parts: sizes, strata, seeds and shares that cannot be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp.errors import ConfigurationError, DataError, ShapeError
from gpubp.tables.splits import time_split, train_validation_test_split


@given(st.integers(5, 200), st.integers(0, 2**32 - 1), st.integers(1, 6), st.booleans())
def test_parts_are_sorted_disjoint_and_complete(rows, seed, classes, labelled):
    labels = np.arange(rows) % classes if labelled else None
    split = train_validation_test_split(rows, 0.2, 0.3, seed, labels)
    assert [len(part) for part in split] == [
        rows - round(0.2 * rows) - round(0.3 * rows),
        round(0.3 * rows),
        round(0.2 * rows),
    ]
    assert all((np.diff(part) > 0).all() for part in split)
    assert sorted(np.concatenate(split).tolist()) == list(range(rows))


@given(st.lists(st.integers(0, 9), min_size=5, max_size=60), st.booleans())
def test_parts_by_time_follow_each_other(times, tested):
    times = np.array(times, float)
    split = time_split(times, 0.2 * tested, 0.3)
    assert [len(part) for part in split][1:] == [
        round(0.3 * len(times)),
        round(0.2 * len(times)) * tested,
    ]
    assert sorted(np.concatenate(split).tolist()) == list(range(len(times)))
    train, validation, test = (times[part] for part in split)
    assert train.max() <= validation.min()
    assert not tested or validation.max() <= test.min()


def test_times_that_are_none():
    with pytest.raises(DataError, match="missing values; times are needed"):
        time_split(np.array([1.0, np.nan, 2, 3, 4, 5, 6, 7, 8, 9]), 0.2, 0.2)
    with pytest.raises(DataError, match="leave the test part empty"):
        time_split(np.arange(2.0), 0.2, 0.2)


def test_classes_are_in_proportion():
    labels = np.array(["a"] * 80 + ["b"] * 20)
    split = train_validation_test_split(100, 0.2, 0.2, seed=3, labels=labels)
    counts = [(labels[part] == "b").sum() for part in split]
    assert counts == [12, 4, 4]


def test_class_with_a_single_row_is_split_plainly():
    labels = np.array(["a"] * 19 + ["b"])
    split = train_validation_test_split(20, labels=labels)
    assert [len(part) for part in split] == [12, 4, 4]


def test_same_seed_same_split_and_another_seed_another():
    first, same, other = (train_validation_test_split(50, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first.test, other.test)


def test_share_of_zero_is_an_empty_part():
    split = train_validation_test_split(4, test=0, validation=0)
    assert split.train.tolist() == [0, 1, 2, 3]
    assert len(split.validation) == len(split.test) == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((2, 0.2, 0.2), DataError, "2 rows with test 0.2 and validation 0.2 leave the test part"),
        ((4, 0.3, 0.1), DataError, "leave the validation part empty"),
        ((3, 0.45, 0.54), DataError, "leave the training part empty"),
        ((9, 1.0, 0.1), ConfigurationError, "test is 1.0; a number from 0 to below 1"),
        ((9, 0.1, -0.1), ConfigurationError, "validation is -0.1"),
        ((9, 0.5, 0.5), ConfigurationError, "leave nothing to train on"),
        ((9, 0.2, 0.2, -1), ConfigurationError, "seed is -1"),
        ((9, 0.2, 0.2, 0, np.zeros(3)), ShapeError, "labels has 3 entries for 9 rows"),
    ],
)
def test_splits_that_cannot_be(arguments, error, message):
    with pytest.raises(error, match=message):
        train_validation_test_split(*arguments)
