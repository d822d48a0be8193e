"""Feeds: a batch is the same whether a step reads it or it is asked for by itself."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
import gpubp.data
import simulated.cupy
from feed_checks import (
    CLASSES,
    INPUTS,
    ROWS,
    SEED,
    VALUES,
    WEIGHTS,
    Steps,
    X,
    check,
    feed_from,
    on_host,
    seeded,
    stack_of,
    turned,
)
from gpubp.backends import get_backend
from gpubp.backends.scheduled import new_clock
from gpubp.data.array_feeds import ArrayFeed, HostArrayFeed
from gpubp.data.dataset_feeds import DatasetFeed
from gpubp.data.feeds import held_out, validation_rows
from gpubp.data.reading import read_rows
from gpubp.data.shards import Shards, shards_of
from gpubp.nn.losses import get_loss
from kernel_compilation import host_compiler


@pytest.fixture
def small_gpu(monkeypatch):
    """A device that holds the network, and not the data."""
    if host_compiler() is None:
        pytest.skip("the simulated GPU needs a C++ compiler: g++ or clang++")
    simulated.cupy.install(monkeypatch, free=400)
    return get_backend("gpu")


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
