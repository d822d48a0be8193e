"""Data sets that need not fit into memory: the order of rows, what is read, what is refused."""

from __future__ import annotations

import functools
import operator
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpubp
import gpubp.data
from gpubp import errors
from gpubp.data.blocks import shard_rows, windows
from gpubp.data.prefetch import Prefetcher
from gpubp.data.protocol import Dataset, Reading, Schema
from gpubp.data.shards import Shards, shards_of

INPUTS = 5


def arrays(rows=300, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((rows, INPUTS)).astype(np.float32)
    return x, (x.sum(axis=1) > 0).astype(np.int64)


def network(backend="cpu", **given):
    return gpubp.Network([INPUTS, 8, 2], "tanh", "softmax", backend, **given)


def parameters(net):
    return net.backend.to_numpy(net.parameters)


def trained(backend, *data, **given):
    net = network(backend)
    net.fit(*data, **{"epochs": 2, "batch_size": 32} | given)
    return parameters(net)


def read_rows(data, reading, epoch=0, start=0):
    return [rows.x[:, 0].tolist() for rows in data.batches(reading, epoch, start)]


def numbered(rows, block, window=None):
    """Return a data set whose only input is the number of the row."""
    x = np.arange(rows, dtype=np.float64)[:, None]
    return gpubp.data.ArrayDataset(x, np.zeros(rows), block=block, window=window)


@given(
    rows=st.integers(1, 200),
    block=st.integers(1, 60),
    window=st.integers(1, 5),
    batch=st.integers(1, 80),
    count=st.integers(1, 9),
    size=st.integers(1, 9),
    shuffle=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_every_row_comes_once_an_epoch(rows, block, window, batch, count, size, shuffle, epoch):
    size = min(size, count)
    data = numbered(rows, block, window)
    batch = min(batch, rows)
    by_rank = [
        read_rows(data, Reading(batch, 3, shuffle, shards_of(rank, size, count)), epoch)
        for rank in range(size)
    ]
    batches = [functools.reduce(operator.iadd, parts, []) for parts in zip(*by_rank, strict=True)]
    assert [len(each) for each in batches] == [
        min(batch, rows - start) for start in range(0, rows, batch)
    ]
    assert sorted(functools.reduce(operator.iadd, batches, [])) == list(range(rows))
    alone = read_rows(data, Reading(batch, 3, shuffle, Shards(count, 0, count)), epoch)
    assert alone == batches  # however many processes share the shards out


@pytest.mark.parametrize("start", [1, 2, 6])
def test_reading_can_begin_anywhere_in_an_epoch(start):
    data, reading = numbered(100, 7, 2), Reading(15, 1, shards=Shards(3, 1, 3))
    assert read_rows(data, reading, 5, start) == read_rows(data, reading, 5)[start:]


def test_epochs_and_seeds_have_orders_of_their_own():
    data = numbered(64, 8, 2)
    orders = {str(read_rows(data, Reading(64, seed), epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4
    assert read_rows(data, Reading(64, shuffle=False)) == [list(range(64))]


def test_rows_are_mixed_within_windows_of_blocks_dealt_at_random():
    sizes, reading = [10] * 12, Reading(10, 4)
    found = list(windows(sizes, 3, reading, 0, 0))
    assert [len(window.pieces) for window in found] == [3, 3, 3, 3]
    blocks = [piece.block for window in found for piece in window.pieces]
    assert sorted(blocks) == list(range(12)) != blocks
    assert all(sorted(window.order) == list(range(30)) for window in found)
    assert not all((window.order == found[0].order).all() for window in found)


def test_a_shard_has_its_part_of_every_batch():
    reading = Reading(10, shards=Shards(4, 0, 4))
    # whole batches of 2, 3, 2, 3 rows; the last of 7 rows gives 1, 2, 2, 2
    assert [shard_rows(reading, 27, shard) for shard in range(4)] == [5, 8, 6, 8]


def test_the_default_window_holds_128_mib(monkeypatch):
    x = np.zeros((2_000_000, 8), np.float32)
    data = gpubp.data.ArrayDataset(x, np.zeros(len(x)))
    assert data.window == 16  # blocks of 2 MiB: no more than 16
    big = gpubp.data.ArrayDataset(x, np.zeros(len(x)), block=1_000_000)
    assert big.window == 4  # blocks of 32 MB


def write(folder, x, y, group=100, name="t.parquet", **more):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {f"x{column}": x[:, column] for column in range(x.shape[1])}
    pq.write_table(pa.table(columns | {"y": y} | more), folder / name, row_group_size=group)
    return folder / name


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


def test_narrow_inputs_stay_as_they_are(tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (90, INPUTS)).astype(np.uint8)
    y = np.zeros(90, np.int64)
    data = gpubp.data.parquet(write(tmp_path, x, y), "y")
    assert data.schema.dtype == "uint8"
    assert next(iter(data.batches(Reading(10), 0))).x.dtype == np.uint8


def test_mixed_types_become_float32(tmp_path):
    x, y = arrays(50)
    whole = np.arange(50)
    data = gpubp.data.parquet(write(tmp_path, x, y, whole=whole, flag=whole > 9), "y")
    rows = data.read(0)
    assert rows.x.dtype == np.float32
    np.testing.assert_array_equal(rows.x[:, -2], whole)
    np.testing.assert_array_equal(rows.x[:, -1], whole > 9)
    assert data.schema.inputs == ("x0", "x1", "x2", "x3", "x4", "whole", "flag")


def test_missing_inputs_become_the_mean_and_a_mask(tmp_path):
    pa = pytest.importorskip("pyarrow")
    x, y = arrays(50)
    holes = pa.array([None if row % 7 == 3 else float(row) for row in range(50)])
    file = write(tmp_path, x, y, 20, holes=holes)
    with pytest.raises(
        errors.DataError, match=r"row group 0: column 'holes' has no value in row 4"
    ):
        gpubp.data.parquet(file, "y").read(0)
    data = gpubp.data.parquet(file, "y", missing="mean")
    assert data.schema.inputs[-2:] == ("holes", "holes is missing")
    rows = np.concatenate([data.read(block).x for block in range(3)])
    there = np.array([row for row in range(50) if row % 7 != 3])
    np.testing.assert_allclose(rows[np.arange(50) % 7 == 3, -2], there.mean(), rtol=1e-6)
    np.testing.assert_array_equal(rows[there, -2], there)
    np.testing.assert_array_equal(rows[:, -1], np.arange(50) % 7 == 3)


def test_a_folder_and_a_list_are_one_data_set(tmp_path):
    x, y = arrays()
    files = [write(tmp_path, x[s], y[s], 60, f"{n}.parquet") for n, s in
             (("b", slice(100, 300)), ("a", slice(0, 100)))]  # fmt: skip
    folder = gpubp.data.parquet(tmp_path, "y")
    named = gpubp.data.parquet(files[::-1], "y")
    for data in (folder, named):
        rows = [data.read(block) for block in range(len(data.sizes))]
        np.testing.assert_array_equal(np.concatenate([each.x for each in rows]), x)
    assert folder.fingerprint() == named.fingerprint()


def test_schemas_that_differ_are_found_before_training(tmp_path):
    x, y = arrays(50)
    write(tmp_path, x, y, name="a.parquet")
    write(tmp_path, x.astype(np.float64), y, name="b.parquet")
    with pytest.raises(
        errors.DataError, match=r"column 'x0' is double in .*b.parquet and float in"
    ):
        gpubp.data.parquet(tmp_path, "y")
    write(tmp_path, x[:, :3], y, name="b.parquet")
    with pytest.raises(errors.DataError, match=r"b.parquet lacks the column 'x3'"):
        gpubp.data.parquet(tmp_path, "y")


def test_it_warns_of_data_sorted_by_the_target(tmp_path):
    x, y = arrays()
    file = write(tmp_path, x, np.sort(y), 30)
    with pytest.warns(UserWarning, match="sorted by 'y' and has 10 row groups, of which 2 are"):
        gpubp.data.parquet(file, "y", window=2)
    gpubp.data.parquet(file, "y", window=10)  # all are mixed
    gpubp.data.parquet(write(tmp_path, x, y, 30), "y", window=2)


def test_a_number_that_is_not_finite_is_named(tmp_path):
    x, y = arrays()
    x[130, 2] = np.inf
    data = gpubp.data.parquet(write(tmp_path, x, y), "y")
    message = r"'t.parquet', row group 1: column 'x2' is inf in row 31"
    with pytest.raises(errors.NonFiniteError, match=message):
        network().fit(data, batch_size=32)  # raised by a thread, and here
    assert not [thread for thread in threading.enumerate() if thread.name == "gpubp prefetch"]


def test_a_file_that_is_cut_off_while_it_is_read(tmp_path):
    x, y = arrays()
    file = write(tmp_path, x, y, 30)
    data = gpubp.data.parquet(file, "y")
    content = file.read_bytes()
    file.write_bytes(content[:200] + b"\0" * (len(content) - 200))
    with pytest.raises(errors.DataError, match=r"'t.parquet', row group \d+ cannot be read"):
        network().fit(data, batch_size=32)


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


def test_a_csv_file_is_converted_once(tmp_path, capsys, monkeypatch):
    pytest.importorskip("pyarrow")
    from gpubp.data import csv_cache

    monkeypatch.setattr(csv_cache, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(csv_cache, "ROWS", 64)
    x, y = arrays()
    # from row 150 on whole numbers get a point, and later letters: types are found anew
    late = [str(row) if row < 150 else f"{row}.5" for row in range(300)]
    lines = [f"{','.join(map(repr, x[row].tolist()))},{late[row]},{y[row]}" for row in range(300)]
    file = tmp_path / "t.csv"
    file.write_text("\n".join(["a,b,c,d,e,late,y", *lines]) + "\n")
    data = gpubp.data.csv(file, "y", cache=tmp_path / "cache")
    assert f"converting {file}" in capsys.readouterr().err
    assert data.sizes == [64, 64, 64, 64, 44]
    rows = [data.read(block) for block in range(5)]
    np.testing.assert_array_equal(np.concatenate([each.x for each in rows])[:, :5], x)
    np.testing.assert_array_equal(np.concatenate([each.x for each in rows])[:, 5], np.float32(late))
    np.testing.assert_array_equal(np.concatenate([each.y for each in rows]), y)
    gpubp.data.csv(file, "y", cache=tmp_path / "cache")
    assert capsys.readouterr().err == ""
    file.write_text("\n".join(["a,b,c,d,e,late,y", *lines[:200], "1,2,3,4,5,word,1"]) + "\n")
    with pytest.raises(errors.DataError, match=r"'late' .* holds string"):
        gpubp.data.csv(file, "y", cache=tmp_path / "cache")


def test_a_csv_file_that_is_none(tmp_path):
    pytest.importorskip("pyarrow")
    file = tmp_path / "t.csv"
    file.write_text("a,b\n1,2\n3\n")
    with pytest.raises(errors.DataError, match="cannot be read as a CSV file"):
        gpubp.data.csv(file, "b", cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    (tmp_path / "file").write_text("")
    file.write_text("a,b\n1,2\n")
    with pytest.raises(errors.OutputPathError, match="set XDG_CACHE_HOME"):
        gpubp.data.csv(file, "b", cache=tmp_path / "file")
