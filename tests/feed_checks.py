"""Rows, feeds of them, and a check that a feed gives each batch its rows."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
import gpubp.data
from gpubp.backends.random import permutation
from gpubp.backends.scheduled import new_clock, put_clock
from gpubp.data.batches import take_data
from gpubp.data.feeds import feed_of
from gpubp.data.shards import ALL
from gpubp.nn.losses import get_loss

INPUTS, ROWS, SEED = 5, 47, 7
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((ROWS, INPUTS)).astype(np.float32)
X[RANDOM.random(X.shape) < 0.5] = 0
CLASSES = RANDOM.integers(0, 3, ROWS)
VALUES = RANDOM.random((ROWS, 3))
SHARES = VALUES / VALUES.sum(axis=1, keepdims=True)
WEIGHTS = RANDOM.random(ROWS)


def stack_of(backend, **given):
    return gpubp.Network([INPUTS, 4, 3], "tanh", "identity", backend, seed=SEED, **given).stack


def feed_from(kind, stack, x=X, y=VALUES, weights=None, batch_size=10, shuffle=True, shards=ALL):
    loss = get_loss("auto", stack.output)
    if kind == "dataset":
        source = gpubp.data.ArrayDataset(x, y, weights)
    else:
        if kind == "sparse":
            x = pytest.importorskip("scipy.sparse").csr_matrix(x)
        source = take_data(stack, x, y, loss, sample_weight=weights)
    return feed_of(stack, source, batch_size, shuffle, loss, shards)


def on_host(stack, data):
    arrays = (data.x, data.expected, data.weights)
    return [None if array is None else stack.backend.to_numpy(array).copy() for array in arrays]


class Steps:
    """Reads batches as the steps of a training do."""

    def __init__(self, stack, feed, ops=None):
        self.stack, self.feed = stack, feed
        self.ops = stack.backend if ops is None else ops
        self.clock = new_clock(stack.backend)
        self.epoch = None

    def read(self, epoch, index):
        if epoch != self.epoch:
            self.feed.begin_epoch(epoch)
            self.epoch = epoch
        slot = self.feed.prepare(index)
        put_clock(self.stack.backend, self.clock, 0, index, 0)
        data = self.feed.read(self.ops, self.feed.own_sizes[index], slot, self.clock)
        found = on_host(self.stack, data)
        self.feed.done(index)
        return found


def check(stack, feed, x, y, weights=None, order=None, shards=ALL):
    """Hold each batch of some epochs against the rows that it should have, in any order."""
    steps = Steps(stack, feed)
    places = [(epoch, index) for epoch in (0, 1, 5) for index in range(feed.steps)]
    for epoch, index in [*places, (5, 1), (0, feed.steps - 1), (0, 0)]:
        rows = np.arange(ROWS) if order is None else order(epoch)
        batch = rows[index * feed.size : (index + 1) * feed.size]
        first, stop = shards.span(len(batch))
        chosen = batch[first:stop]
        assert feed.sizes[index] == len(batch)
        assert feed.own_sizes[index] == len(chosen)
        expected = [x[chosen], y[chosen], None if weights is None else weights[chosen]]
        read = steps.read(epoch, index)
        alone = on_host(stack, feed.batch(epoch, index))
        for name, one, other, right in zip(
            ("x", "y", "weights"), read, alone, expected, strict=True
        ):
            if right is None:
                assert one is None
                assert other is None
                continue
            if len(chosen):
                assert one.dtype == other.dtype == right.dtype, name
            np.testing.assert_array_equal(one, right, err_msg=f"{name} read by a step")
            np.testing.assert_array_equal(other, right, err_msg=f"{name} by itself")
    feed.close()


def seeded(epoch):
    return permutation(SEED, epoch, ROWS)


def turned(epoch):
    return np.roll(np.arange(ROWS), epoch + 1)
