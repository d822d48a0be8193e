"""Data sets that need not fit into memory: the order of rows, what is read, what is refused."""

from __future__ import annotations

import time

import numpy as np
import pytest

import gpubp
import gpubp.data
from data_building import INPUTS, arrays, network, parameters, trained, write
from gpubp import errors
from gpubp.data.prefetch import Prefetcher
from gpubp.data.protocol import Dataset, Reading, Schema


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("block", [1000, 100, 37])
def test_an_array_its_map_and_its_parquet_file_train_alike(backend, tmp_path, shuffle, block):
    x, y = arrays()
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    data = [
        gpubp.data.ArrayDataset(x, y, block=block, window=2),
        gpubp.data.npy(tmp_path / "x.npy", tmp_path / "y.npy", block=block, window=2),
        gpubp.data.parquet(write(tmp_path, x, y, block), "y", window=2),
    ]
    assert all(isinstance(each, Dataset) for each in data)
    found = [trained(backend, each, shuffle=shuffle) for each in data]
    if not shuffle or block >= len(x):  # one window: the order is that of arrays
        found.append(trained(backend, x, y, shuffle=shuffle))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_weights_of_rows_come_along(backend, tmp_path):
    x, y = arrays()
    weights = np.random.default_rng(1).random(300).astype(np.float32)
    file = write(tmp_path, x, y, w=weights)
    expected = trained(backend, x, y, sample_weight=weights)
    found = trained(backend, gpubp.data.parquet(file, "y", weight="w"))
    np.testing.assert_array_equal(found, expected)
    found = trained(backend, gpubp.data.ArrayDataset(x, y, weights))
    np.testing.assert_array_equal(found, expected)


def test_batches_of_ones_own(backend):
    x, y = arrays()
    pieces = [(x[start : start + 32], y[start : start + 32]) for start in range(0, 300, 32)]
    expected = trained(backend, x, y, shuffle=False)
    for source, steps in ((pieces, None), (lambda epoch: iter(pieces), 10)):
        data = gpubp.data.BatchDataset(source, steps)
        found = trained(backend, data, batch_size=None, shuffle=False)
        np.testing.assert_array_equal(found, expected)


def test_validation_and_evaluation_read_data_sets(tmp_path):
    x, y = arrays()
    data = gpubp.data.parquet(write(tmp_path, x, y, 70), "y")
    net, other = network(), network()
    by_arrays = net.fit(x, y, epochs=2, validation=(x, y)).validation_loss
    assert other.fit(x, y, epochs=2, validation=data).validation_loss == by_arrays
    assert net.evaluate(data) == net.evaluate(x, y)


def test_the_steps_before_a_loss_that_is_not_finite_are_done_again(tmp_path):
    x, y = arrays()
    data = gpubp.data.ArrayDataset(x, y, block=50, window=2)
    net = gpubp.Network([INPUTS, 8, 2], "relu", "softmax", "cpu")
    with pytest.raises(errors.DivergenceError) as caught:
        net.fit(data, epochs=2, batch_size=32, optimizer=gpubp.SGD(1e9))
    assert caught.value.step > 2
    other = gpubp.Network([INPUTS, 8, 2], "relu", "softmax", "cpu")
    for number in range(caught.value.step - 2):  # the last update made it so
        rows = list(data.batches(Reading(32, 0), 0))[number]
        other.train_step(rows.x, rows.y, gpubp.SGD(1e9))
    np.testing.assert_array_equal(parameters(net), parameters(other))


@pytest.mark.parametrize("kind", ["parquet", "batches"])
def test_a_training_cut_off_in_mid_epoch_goes_on_with_the_next_batch(backend, tmp_path, kind):
    pytest.importorskip("safetensors")
    x, y = arrays()
    file = write(tmp_path, x, y, 40)
    reads = []

    def batches(epoch):
        for start in range(0, 300, 30):
            reads.append((epoch, start))
            yield x[start : start + 30], y[start : start + 30]

    def data():
        if kind == "parquet":
            return gpubp.data.parquet(file, "y", window=2)
        return gpubp.data.BatchDataset(batches, 10)

    given = {"epochs": 3, "batch_size": 30 if kind == "parquet" else None}
    whole = network(backend)
    whole.fit(data(), **given)

    class Cut:
        def __init__(self):
            self.looks = 0

        def begin(self, net, epochs):
            pass

        def advance(self, history, share):
            self.looks += 1
            if self.looks == 4:  # in the second epoch
                raise ZeroDivisionError

        def epoch_end(self, net, history):
            return False

        def end(self, net, history):
            pass

    keep = {"checkpoint": tmp_path / "run", "every": 4}
    with pytest.raises(ZeroDivisionError):
        network(backend).fit(data(), **given, **keep, callbacks=[Cut()])
    again = network(backend)

    class Same(Cut):  # the callbacks of a run are part of what must be the same
        def advance(self, history, share):
            pass

    Same.__name__ = "Cut"
    again.fit(data(), **given, **keep, resume=True, callbacks=[Same()])
    np.testing.assert_array_equal(parameters(again), parameters(whole))
    other = gpubp.data.ArrayDataset(*arrays(seed=1))
    if kind == "batches":
        other = gpubp.data.BatchDataset(batches, 9)
    with pytest.raises(errors.CheckpointError, match=r"of another run: (data|rows)"):
        network(backend).fit(other, **given, **keep, resume=True, callbacks=[Same()])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda f: gpubp.data.parquet(f / "no.parquet", "y"), errors.DataError, "does not exist"),
        (lambda f: gpubp.data.parquet([], "y"), errors.DataError, "list of Parquet files is empty"),
        (lambda f: gpubp.data.parquet(f / "t.parquet", "z"), errors.UnknownNameError, "column"),
        (lambda f: gpubp.data.parquet(f / "t.parquet", "text"), errors.DataError, "holds string"),
        (lambda f: gpubp.data.parquet(f / "t.parquet", "y", missing="x", columns=["x0"]),
         errors.ConfigurationError, "missing is 'x'"),
        (lambda f: gpubp.data.parquet(f / "t.parquet", "y", window=0, columns=["x0"]),
         errors.ConfigurationError, "window is 0"),
        (lambda f: gpubp.data.npy(f / "no.npy", f / "no.npy"), errors.DataError, "there is none"),
        (lambda f: gpubp.data.npy(f / "t.parquet", f / "t.parquet"), errors.DataError, "as a .npy"),
        (lambda f: gpubp.data.ArrayDataset(np.zeros(3), np.zeros(3)), errors.ShapeError, r"\(3,\)"),
        (lambda f: gpubp.data.ArrayDataset(np.zeros((3, 1)), np.zeros(2)), errors.ShapeError,
         "3 rows and y has 2"),
        (lambda f: gpubp.data.ArrayDataset(np.zeros((0, 1)), np.zeros(0)), errors.DataError,
         "no rows"),
        (lambda f: gpubp.data.BatchDataset(iter([])), errors.ConfigurationError, "no length"),
        (lambda f: gpubp.data.BatchDataset(iter([]), 3), errors.ConfigurationError, "once only"),
        (lambda f: gpubp.data.BatchDataset([]), errors.ConfigurationError, "steps is 0"),
        (lambda f: gpubp.data.BatchDataset([3]), errors.DataError, r"batch 1 is no \(x, y\)"),
    ],
)  # fmt: skip
def test_what_is_no_data_set_is_refused(tmp_path, make, error, message):
    x, y = arrays(20)
    write(tmp_path, x, y, text=[str(row) for row in range(20)])
    with pytest.raises(error, match=message):
        make(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"y": np.zeros(300)}, "y with a data set"),
        ({"sample_weight": np.ones(300)}, "sample_weight with a data set"),
        ({"shuffle": lambda epoch: np.arange(300)}, "shuffle is a function"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 301}, "batch_size is 301"),
    ],
)
def test_what_does_not_go_with_a_data_set_is_refused(settings, message):
    with pytest.raises(errors.GpubpError, match=message):
        network().fit(gpubp.data.ArrayDataset(*arrays()), **settings)


def test_data_for_another_network_are_refused():
    with pytest.raises(errors.ShapeError, match="5 inputs and the network 4"):
        gpubp.Network([4, 2], output="softmax").fit(gpubp.data.ArrayDataset(*arrays()))


def test_batches_of_ones_own_that_end_early_or_grow(tmp_path):
    x, y = arrays()
    with pytest.raises(errors.DataError, match="ended after 1 in epoch 1; 3 are needed"):
        network().fit(gpubp.data.BatchDataset(lambda epoch: [(x, y)], 3))
    with pytest.raises(errors.DataError, match="batch 2 has 20 rows; 10 at most"):
        network().fit(gpubp.data.BatchDataset([(x[:10], y[:10]), (x[:20], y[:20])]))


class Own:
    """A data set of the user's own: four things, and no base class."""

    schema = Schema(("a", "b", "c", "d", "e"), "float32", ("y",))

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def batches(self, reading, epoch, start=0):
        for first in range(start * reading.batch_size, len(self), reading.batch_size):
            rows = slice(first, first + reading.batch_size)
            yield gpubp.data.Rows(self.x[rows], self.y[rows])

    def fingerprint(self):
        return "own"


def test_any_object_with_the_four_things_is_a_data_set(backend):
    x, y = arrays()
    found, expected = trained(backend, Own(x, y)), trained(backend, x, y, shuffle=False)
    np.testing.assert_array_equal(found, expected)


def test_a_prefetcher_runs_no_further_ahead_than_it_may():
    made = []

    def numbers():
        for number in range(100):
            made.append(number)
            yield number

    ahead = Prefetcher(numbers(), 2)
    assert next(ahead) == 0
    time.sleep(0.2)
    assert made == [0, 1, 2]
    ahead.close()
    assert not ahead._thread.is_alive()
    with pytest.raises(StopIteration):
        next(ahead)


def test_a_prefetcher_ends_and_raises_where_it_is_read():
    assert list(Prefetcher(iter(range(5)), 1)) == [0, 1, 2, 3, 4]

    def broken():
        yield 1
        raise KeyError("x")

    ahead = Prefetcher(broken(), 3)
    assert next(ahead) == 1
    with pytest.raises(KeyError):
        next(ahead)
