"""Batches of one's own that do not go with the first, and data sets that end early."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
import gpubp.data
from feed_checks import (
    CLASSES,
    INPUTS,
    ROWS,
    SHARES,
    VALUES,
    WEIGHTS,
    Steps,
    X,
    stack_of,
)
from gpubp import errors
from gpubp.data.feeds import feed_of
from gpubp.data.protocol import Schema
from gpubp.nn.losses import get_loss


def batches_of(*batches, **given):
    return gpubp.data.BatchDataset(list(batches), **given)


def test_batches_may_be_shorter_than_the_first(backend):
    stack = stack_of(backend)
    cuts = [(0, 10), (10, 14), (14, 24), (24, 27)]
    data = batches_of(*[(X[start:stop], VALUES[start:stop]) for start, stop in cuts])
    feed = feed_of(stack, data, None, True, get_loss("auto", stack.output))
    assert not feed.same_sizes
    steps = Steps(stack, feed)
    for epoch in (0, 1):
        for index, (start, stop) in enumerate(cuts):
            x, y, _ = steps.read(epoch, index)
            np.testing.assert_array_equal(x, X[start:stop])
            np.testing.assert_array_equal(y, VALUES[start:stop].astype(np.float32))
    assert feed.sizes == feed.own_sizes == [10, 4, 10, 3]
    feed.close()


def test_a_batch_of_another_dtype_is_brought_to_that_of_the_first(backend):
    stack = stack_of(backend)
    data = batches_of((X[:10], VALUES[:10]), (X[10:20].astype(np.float64), VALUES[10:20]))
    feed = feed_of(stack, data, None, True, get_loss("auto", stack.output))
    steps = Steps(stack, feed)
    for index in (0, 1):
        rows = slice(10 * index, 10 * index + 10)
        np.testing.assert_array_equal(steps.read(0, index)[0], X[rows])
    feed.close()


BAD = {
    "too large": (
        (X[:4].astype(np.float64) + 1e300, SHARES[:4]),
        errors.NonFiniteError,
        r"x of batch 2\[0, 0\] is inf",
    ),
    "not bytes": ((X[:4], SHARES[:4]), errors.DataError, "batch 2 has x of float32; uint8"),
    "classes": (
        (X[:4], CLASSES[:4]),
        errors.DataError,
        r"batch 2 has y of shape \(4,\); \(rows, 3\) is needed, as the schema",
    ),
    "weights": (
        (X[:4], SHARES[:4], WEIGHTS[:4]),
        errors.DataError,
        "batch 2 has weights; none are needed",
    ),
    "no rows": ((X[:0], SHARES[:0]), errors.DataError, "batch 2 has no rows"),
}


@pytest.mark.parametrize("bad", BAD)
def test_batches_that_do_not_go_with_the_first_are_refused(backend, bad):
    stack = gpubp.Network([INPUTS, 3], (), "softmax", backend).stack
    batch, error, message = BAD[bad]
    x = X[:10].astype(np.uint8) if bad == "not bytes" else X[:10]
    data = batches_of((x, SHARES[:10]), batch)
    feed = feed_of(stack, data, None, True, get_loss("auto", stack.output))
    steps = Steps(stack, feed)
    steps.read(0, 0)  # a batch that is fetched ahead is refused when it is asked for
    for _ in range(2):
        with pytest.raises(error, match=message):
            steps.read(0, 1)
    feed.close()


def test_a_first_batch_without_rows_is_refused():
    with pytest.raises(errors.DataError, match="the first batch has no rows"):
        batches_of((X[:0], VALUES[:0]), (X, VALUES))


class Short:
    """A data set whose second batch lacks a row."""

    schema = Schema(tuple("abcde"), "float32", tuple("pqr"))

    def __len__(self):
        return ROWS

    def batches(self, reading, epoch, start=0):
        for index in range(start, -(-ROWS // reading.batch_size)):
            rows = slice(
                index * reading.batch_size, (index + 1) * reading.batch_size - (index == 1)
            )
            yield gpubp.data.Rows(X[rows], VALUES[rows])

    def fingerprint(self):
        return "short"


def test_a_data_set_that_gives_too_few_rows_is_refused(backend):
    """Not trained on, with rows of another batch for those that are missing."""
    stack = stack_of(backend)
    feed = feed_of(stack, Short(), 10, False, get_loss("auto", stack.output))
    steps = Steps(stack, feed)
    steps.read(0, 0)
    with pytest.raises(errors.DataError, match="batch 2 has 9 rows; 10 are needed"):
        steps.read(0, 1)
    feed.close()
