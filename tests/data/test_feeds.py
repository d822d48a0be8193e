"""Feeds: a batch is the same whether a step reads it or it is asked for by itself."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
import gpubp.data
import simulated.cupy
from gpubp import errors
from gpubp.backends import get_backend
from gpubp.backends.random import permutation
from gpubp.backends.scheduled import new_clock, put_clock
from gpubp.data.array_feeds import ArrayFeed, HostArrayFeed
from gpubp.data.batches import take_data
from gpubp.data.dataset_feeds import DatasetFeed
from gpubp.data.feeds import feed_of, held_out, validation_rows
from gpubp.data.protocol import Schema
from gpubp.data.reading import read_rows
from gpubp.data.shards import ALL, Shards, shards_of
from gpubp.nn.losses import get_loss
from kernel_compilation import host_compiler

INPUTS, ROWS, SEED = 5, 47, 7
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((ROWS, INPUTS)).astype(np.float32)
X[RANDOM.random(X.shape) < 0.5] = 0
CLASSES = RANDOM.integers(0, 3, ROWS)
VALUES = RANDOM.random((ROWS, 3))
SHARES = VALUES / VALUES.sum(axis=1, keepdims=True)
WEIGHTS = RANDOM.random(ROWS)


@pytest.fixture
def small_gpu(monkeypatch):
    """A device that holds the network, and not the data."""
    if host_compiler() is None:
        pytest.skip("the simulated GPU needs a C++ compiler: g++ or clang++")
    simulated.cupy.install(monkeypatch, free=400)
    return get_backend("gpu")


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


KINDS = ("arrays", "sparse", "dataset")


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_reads_the_rows_of_its_batch(backend, kind, shuffle, weights):
    stack = stack_of(backend)
    feed = feed_from(kind, stack, weights=weights, shuffle=shuffle)
    types = {"arrays": ArrayFeed, "sparse": HostArrayFeed, "dataset": DatasetFeed}
    assert type(feed) is types[kind]
    assert (feed.rows, feed.size, feed.steps) == (ROWS, 10, 5)
    assert feed.weighted == (weights is not None)
    given = None if weights is None else weights.astype(np.float32)
    check(stack, feed, X, VALUES.astype(np.float32), given, seeded if shuffle else None)


@pytest.mark.parametrize("kind", KINDS)
def test_class_indices_stay_whole_numbers(backend, kind):
    stack = gpubp.Network([INPUTS, 3], (), "softmax", backend, seed=SEED).stack
    feed = feed_from(kind, stack, y=CLASSES)
    check(stack, feed, X, CLASSES.astype(np.int64), order=seeded)


@pytest.mark.parametrize("storage", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("kind", ["arrays", "dataset"])
def test_inputs_are_scaled_as_they_are_read(backend, kind, storage):
    stack = stack_of(backend, input_scale=0.25)
    x = (np.abs(X) * 50).astype(storage)
    feed = feed_from(kind, stack, x)
    check(
        stack,
        feed,
        x.astype(np.float32) * np.float32(0.25),
        VALUES.astype(np.float32),
        order=seeded,
    )


@pytest.mark.parametrize("kind", ["arrays", "sparse"])
def test_a_function_gives_the_order(backend, kind):
    stack = stack_of(backend)
    check(
        *(stack, feed_from(kind, stack, shuffle=turned), X, VALUES.astype(np.float32)), order=turned
    )


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("kind", ["arrays", "sparse"])
def test_shards_read_their_rows_of_every_batch(backend, kind, count):
    """With five shards the last batch, of 7 rows, has more rows for one than the first, of 8."""
    stack = stack_of(backend)
    for rank in range(count):
        shards = shards_of(rank, count, count)
        feed = feed_from(kind, stack, weights=WEIGHTS, batch_size=8, shards=shards)
        given = WEIGHTS.astype(np.float32)
        check(stack, feed, X, VALUES.astype(np.float32), given, seeded, shards)


@pytest.mark.parametrize("batch_size", [3, 8, 10])
@pytest.mark.parametrize("count", [2, 5])
def test_shards_of_a_data_set_cover_every_batch(backend, count, batch_size):
    stack = stack_of(backend)
    rows = [[] for _ in range(-(-ROWS // batch_size))]
    for rank in range(count):
        shards = shards_of(rank, count, count)
        feed = feed_from("dataset", stack, batch_size=batch_size, shuffle=False, shards=shards)
        steps = Steps(stack, feed)
        for index, found in enumerate(rows):
            x, y, _ = steps.read(0, index)
            assert len(x) == len(y) == feed.own_sizes[index]
            found += x.tolist()
        feed.close()
    assert [len(found) for found in rows] == feed.sizes
    assert sorted(row for found in rows for row in found) == sorted(X.tolist())


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("shuffle", [True, False, turned])
@pytest.mark.parametrize("storage", ["uint8", "float32"])
def test_inputs_too_large_for_the_device_go_through_slots(small_gpu, storage, shuffle, weights):
    stack = stack_of(small_gpu)
    x = np.abs(X).astype(storage)
    feed = feed_from("arrays", stack, x, weights=weights, shuffle=shuffle)
    assert type(feed) is HostArrayFeed
    order = {True: seeded, False: None}.get(shuffle, shuffle)
    given = None if weights is None else weights.astype(np.float32)
    check(stack, feed, x.astype(np.float32), VALUES.astype(np.float32), given, order)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_reads_by_a_backends_operations_alone(backend, kind):
    """So that they can be noted: nothing is computed while they are."""
    noted = []

    class Notes:
        def __getattr__(self, name):
            return lambda *_: noted.append(name)

    stack = stack_of(backend, input_scale=0.5)
    feed = feed_from(kind, stack, weights=WEIGHTS)
    Steps(stack, feed, Notes()).read(0, 0)
    feed.close()
    assert noted
    assert set(noted) <= {"gather_batch", "convert"}


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_a_size_lie_in_one_place(backend, kind):
    """A step is planned or recorded once, for each slot."""
    stack = stack_of(backend)
    feed = feed_from(kind, stack, weights=WEIGHTS)
    clock = new_clock(backend)
    feed.begin_epoch(0)
    places = {}
    for index in range(4):
        slot = feed.prepare(index)
        data = feed.read(backend, 10, slot, clock)
        arrays = (data.x, data.expected, data.weights)
        pointers = [
            array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr
            for array in arrays
        ]
        assert places.setdefault(slot, pointers) == pointers
        feed.done(index)
    feed.close()


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


def unaligned(array):
    memory = np.zeros(array.nbytes + 1, np.uint8)
    copy = memory[1:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert not copy.flags.aligned
    return copy


STRANGE = {
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "unaligned": unaligned,
    "every second": lambda array: np.repeat(array, 2, axis=0)[::2],
    "by columns": np.asfortranarray,
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("kind", ["arrays", "dataset"])
def test_arrays_of_any_layout_are_taken(backend, kind, strange, dtype):
    stack = stack_of(backend)
    x, change = X.astype(dtype), STRANGE[strange]
    feed = feed_from(kind, stack, change(x), change(VALUES), change(WEIGHTS))
    given = WEIGHTS.astype(np.float32)
    check(stack, feed, x.astype(np.float32), VALUES.astype(np.float32), given, seeded)


@pytest.mark.parametrize("strange", STRANGE)
def test_a_network_learns_from_arrays_of_any_layout(backend, strange):
    change, found = STRANGE[strange], []
    for x, y in ((X, CLASSES), (change(X), change(CLASSES))):
        net = gpubp.Network([INPUTS, 4, 3], "tanh", "softmax", backend)
        losses = net.fit(x, y, epochs=2, batch_size=10, validation=(x, y)).loss
        found.append((losses, net.predict(x).tobytes(), net.train_step(x, y)))
    assert found[0] == found[1]


def test_classes_that_are_written_to_later_are_not_read(backend):
    stack = gpubp.Network([INPUTS, 3], (), "softmax", backend).stack
    classes = CLASSES.astype(np.int64)
    feed = feed_from("arrays", stack, y=classes)
    classes[:] = 10**6
    found = np.concatenate([Steps(stack, feed).read(0, index)[1] for index in range(feed.steps)])
    np.testing.assert_array_equal(np.sort(found), np.sort(CLASSES))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [7, 100])
def test_held_out_rows_come_in_chunks(backend, kind, rows):
    stack = stack_of(backend, input_scale=0.5)
    loss = get_loss("auto", stack.output)
    if kind == "dataset":
        data = held_out(stack, gpubp.data.ArrayDataset(X, VALUES, WEIGHTS), loss)
    else:
        x = pytest.importorskip("scipy.sparse").csr_matrix(X) if kind == "sparse" else X
        data = validation_rows(stack, (x, VALUES, WEIGHTS), loss)
    assert len(data) == ROWS
    assert not data.one_class

    def joined(rows_of):
        chunks = []
        for chunk in rows_of.chunks(rows):
            assert len(chunk) <= rows
            x, y, weights = on_host(stack, chunk) if kind != "sparse" else (None, None, None)
            if kind == "sparse":
                y, weights = map(stack.backend.to_numpy, (chunk.expected, chunk.weights))
            x = stack.backend.to_numpy(read_rows(stack, chunk.x)).copy()
            chunks.append((x, y, weights))
        return [np.concatenate(each) for each in zip(*chunks, strict=True)]

    whole = joined(data)
    right = (X * np.float32(0.5), VALUES.astype(np.float32), WEIGHTS.astype(np.float32))
    for found, expected in zip(whole, right, strict=True):
        np.testing.assert_array_equal(found, expected)
    shards = [joined(data.shard(4, shard)) for shard in range(4)]
    for each, together in enumerate(zip(*shards, strict=True)):
        found = np.concatenate(together)
        assert sorted(found.tolist()) == sorted(whole[each].tolist())


def test_most_rows_of_shards_in_batches_up_to_a_size():
    for count in range(1, 9):
        for first in range(count):
            for stop in range(first + 1, count + 1):
                shards = Shards(count, first, stop)
                for size in range(1, 30):
                    spans = [shards.span(rows) for rows in range(size + 1)]
                    assert shards.most(size) == max(high - low for low, high in spans)
