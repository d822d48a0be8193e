"""Training by several ranks, here threads: the same weights as one process, or the same bits."""

from __future__ import annotations

import json
import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpubp
import gpubp.data
from gpubp import errors
from gpubp.data.shards import shards_of
from gpubp.distributed import host_sums as reduction
from gpubp.distributed.host_sums import FixedPointSum
from gpubp.training import checkpoint_files as checkpoints
from thread_ranks import ThreadCommunicator, run_ranks

SIZES = [6, 12, 3]


def arrays(rows=205, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((rows, SIZES[0])).astype(np.float32)
    return x, generator.integers(0, SIZES[-1], rows)


def coded():
    """Rows whose first column is a code, most of them known."""
    x, y = arrays()
    x[:, 0] = np.arange(len(x)) % 5
    return x, y


def network(**given):
    return gpubp.Network(SIZES, output="softmax", backend="cpu", **given)


def trained(size, data=None, net=None, **given):
    """Train in so many ranks; return their parameters, by rank, and the first's history."""
    data = arrays() if data is None else data

    def work(talk):
        own = network(**(net or {}))
        fit = {"epochs": 2, "batch_size": 32, "distributed": talk} | given
        history = own.fit(*(data() if callable(data) else data), **fit)
        return own.parameters, history

    found = run_ranks(size, work)
    return [parameters for parameters, _ in found], found[0][1]


def alone(data=None, net=None, **given):
    own = network(**(net or {}))
    history = own.fit(
        *(arrays() if data is None else data), **{"epochs": 2, "batch_size": 32} | given
    )
    return own.parameters, history


CASES = {
    "plain": {},
    "layer norm": {"net": {"normalization": "layer"}},
    "float64": {"net": {"dtype": "float64"}},
    "regularized": {"regularization": gpubp.Regularization(l2=0.1, alpha=0.1, clip_norm=0.5)},
    "waves, float64": {
        "data": coded(),
        "net": {
            "dtype": "float64",
            "categories": [4, *[0] * 5],
            "periodic": gpubp.Periodic(),
            "input_factors": True,
        },
    },
    "bins, float64": {
        "data": coded(),
        "net": {
            "dtype": "float64",
            "categories": [4, *[0] * 5],
            "bins": [[], [-1.0, 0.0, 1.0], *[[]] * 4],
        },
    },
    "weights": {"sample_weight": np.random.default_rng(2).random(205)},
    "classes": {"class_weight": "balanced"},
    "gathered": {"accumulate": 3},
    "gathered, alpha": {"accumulate": 3, "regularization": gpubp.Regularization(alpha=0.5)},
    "averaged": {"average": 0.9},
    "in order": {"shuffle": False},
    "validation": {"validation": arrays(50, 1)},
    "sgd": {"optimizer": gpubp.SGD(0.1, momentum=0.9)},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_several_ranks_train_as_one_process(size, case):
    expected, history = alone(**CASES[case])
    found, their_history = trained(size, **CASES[case])
    for parameters in found:
        np.testing.assert_array_equal(parameters, found[0])
    tolerance = 1e-11 if "float64" in case else 3e-5
    np.testing.assert_allclose(found[0], expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(their_history.loss, history.loss, rtol=1e-5)
    np.testing.assert_allclose(their_history.validation_loss, history.validation_loss, rtol=1e-5)


def test_one_rank_gives_the_bits_of_one_process():
    np.testing.assert_array_equal(trained(1)[0][0], alone()[0])


@pytest.mark.parametrize("case", [*CASES, "dropout"])
def test_any_number_of_ranks_gives_the_same_bits(case):
    given = CASES.get(case, {"net": {"dropout": 0.3}})
    found = [trained(size, deterministic=True, **given) for size in (1, 2, 3, 5, 8)]
    for parameters, history in found:
        np.testing.assert_array_equal(parameters[-1], found[0][0][0])
        assert history.loss == found[0][1].loss
        assert history.validation_loss == found[0][1].validation_loss
    np.testing.assert_allclose(found[0][1].loss[0], alone(**given)[1].loss[0], rtol=0.1)


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_last_batch_with_fewer_rows_than_ranks(deterministic):
    data = arrays(66)  # batches of 32, 32 and 2
    expected = alone(data)[0]
    found = trained(5, data, deterministic=deterministic)[0]
    np.testing.assert_allclose(found[4], expected, rtol=3e-5, atol=3e-5)


def test_large_gradients_are_added_up_in_buckets(monkeypatch):

    expected = alone()[0]
    monkeypatch.setattr(reduction, "BUCKET", 1)  # every layer is one
    sums = []

    def work(talk):
        own = network()
        own.fit(*arrays(), epochs=1, batch_size=32, distributed=talk)
        sums.append(talk.sums)
        return own.parameters

    found = run_ranks(2, work)
    np.testing.assert_allclose(found[0], alone(epochs=1)[0], rtol=3e-5, atol=3e-5)
    np.testing.assert_array_equal(found[0], found[1])
    assert sums == [14, 14]  # 7 steps, two layers
    assert expected.shape == found[0].shape


def streams(folder, rows=205, group=30):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    x, y = arrays(rows)
    columns = {f"x{column}": x[:, column] for column in range(SIZES[0])}
    pq.write_table(pa.table(columns | {"y": y}), folder / "t.parquet", row_group_size=group)
    return lambda: (gpubp.data.parquet(folder / "t.parquet", "y", window=2),)


def test_data_sets_are_read_by_shards_and_give_the_same_bits(tmp_path):
    data = streams(tmp_path)
    validation = gpubp.data.ArrayDataset(*arrays(60, 3), block=20)
    given = {"deterministic": True, "shards": 6, "validation": validation}
    found = [trained(size, data, **given) for size in (1, 2, 3, 6)]
    for parameters, history in found:
        np.testing.assert_array_equal(parameters[-1], found[0][0][0])
        assert history.validation_loss == found[0][1].validation_loss
    rounded = [trained(size, data)[0][0] for size in (1, 2, 3)]
    for other in rounded[1:]:
        np.testing.assert_allclose(other, rounded[0], rtol=3e-5, atol=3e-5)


def test_each_rank_reads_its_shards_alone():
    class Counted(gpubp.data.ArrayDataset):
        def __init__(self):
            super().__init__(*arrays(1600), block=50, window=2)
            self.blocks = []

        def read(self, block):
            self.blocks.append(block)
            return super().read(block)

    counts = []

    def data():
        made = Counted()
        counts.append(made.blocks)
        return (made,)

    trained(4, data, epochs=1, shards=4)
    assert [len(blocks) <= 9 for blocks in counts] == [True] * 4  # of 32, and one shared
    assert set().union(*counts) == set(range(32))


def test_batches_of_ones_own_are_shared_out():
    x, y = arrays(200)
    batches = [(x[start : start + 40], y[start : start + 40]) for start in range(0, 200, 40)]
    given = {"batch_size": None}
    expected = trained(1, (gpubp.data.BatchDataset(batches),), **given)[0][0]
    found = trained(3, (gpubp.data.BatchDataset(batches),), **given)[0]
    np.testing.assert_allclose(found[2], expected, rtol=3e-5, atol=3e-5)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("every", [None, 3])
def test_a_training_goes_on_with_another_number_of_ranks(tmp_path, streamed, every):
    pytest.importorskip("safetensors")
    data = streams(tmp_path) if streamed else arrays()
    given = {"deterministic": True, "epochs": 4}
    expected = trained(2, data, **given)[0][0]
    for number, sizes in enumerate([(3, 2), (1, 5)]):
        keep = {"checkpoint": tmp_path / str(number), "every": every}
        trained(sizes[0], data, **given | {"epochs": 2}, **keep)
        found = trained(sizes[1], data, **given, **keep, resume=True)[0]
        np.testing.assert_array_equal(found[0], expected)
    with pytest.raises(errors.CheckpointError, match="shards is 9 here and 8 there"):
        trained(2, data, **given, **keep, resume=True, shards=9)


def test_rank_0_alone_has_callbacks_and_all_stop_with_it(tmp_path):
    log = tmp_path / "log.csv"
    begun = []

    class Seen(gpubp.EarlyStopping):
        def begin(self, net, epochs):
            begun.append(threading.get_ident())
            super().begin(net, epochs)

    def work(talk):
        own = network()
        callbacks = [Seen(2), gpubp.CSVLog(log), gpubp.ReduceOnPlateau(1)]
        history = own.fit(*arrays(60), epochs=50, batch_size=20, distributed=talk,
                          optimizer=gpubp.SGD(2.0), validation=arrays(60, 9),
                          callbacks=callbacks)  # fmt: skip
        return own.parameters, history, own._state.rate_factor

    found = run_ranks(3, work)
    assert len(begun) == 1
    assert {(history.epochs, history.stopped) for _, history, _ in found} == {
        (found[0][1].epochs, "early stopping")
    }
    assert found[0][1].epochs < 50
    assert len({rate for *_, rate in found}) == 1
    assert found[0][2] < 1
    for parameters, *_ in found:  # the best ones, which rank 0 put back
        np.testing.assert_array_equal(parameters, found[0][0])
    assert len(log.read_text().splitlines()) == found[0][1].epochs + 1


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_loss_that_is_not_finite_ends_all(deterministic):
    caught = []

    def work(talk):
        own = network()
        try:
            own.fit(*arrays(), epochs=3, batch_size=32, distributed=talk,
                    optimizer=gpubp.SGD(1e9), deterministic=deterministic)  # fmt: skip
        except errors.DivergenceError as error:
            caught.append(error)
        return own.parameters

    found = run_ranks(3, work)
    one = network()
    with pytest.raises(errors.DivergenceError) as expected:
        one.fit(*arrays(), epochs=3, batch_size=32, optimizer=gpubp.SGD(1e9))
    # gradients that are not finite are refused before the loss itself is not
    before = 1 if deterministic else 0
    (step,) = {error.step for error in caught}
    assert expected.value.step - before <= step <= expected.value.step
    assert len(caught) == 3
    assert len({error.layer for error in caught}) == 1
    assert all(error.everywhere for error in caught)
    for parameters in found:
        assert np.isfinite(parameters).all()
        np.testing.assert_array_equal(parameters, found[0])
    if step == expected.value.step:
        np.testing.assert_allclose(found[0], one.parameters, rtol=1e-4)


def test_weights_that_come_apart_are_found(monkeypatch):
    original = ThreadCommunicator.sum

    def unequal(self, array, what, patient=False):
        original(self, array, what, patient)
        if self.rank == 2:
            array[70] += 1

    monkeypatch.setattr(ThreadCommunicator, "sum", unequal)
    with pytest.raises(errors.DistributedError, match=r"weights of rank 2 differ .* after epoch 1"):
        trained(3)


def test_ranks_begin_with_the_weights_of_rank_0():
    def work(talk):
        own = network(seed=0)
        own.parameters[...] += talk.rank
        own.fit(*arrays(), epochs=1, batch_size=32, distributed=talk)
        return own.parameters

    found = run_ranks(2, work)
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize(
    ("net", "given", "message"),
    [
        ({"normalization": "batch"}, {}, "normalization='batch'"),
        ({}, {"accumulate": 33}, "accumulate is 33"),
        ({}, {"accumulate": 2, "sample_weight": np.ones(205)}, "accumulate in distributed"),
        ({}, {"shards": 1}, "shards is 1 for 2 processes"),
        ({}, {"shards": 2.5}, "shards is 2.5"),
        ({}, {"accumulate": 2, "every": 3, "checkpoint": "run"}, "every is 3 with accumulate"),
    ],
)
def test_what_ranks_cannot_do_together_is_refused(tmp_path, monkeypatch, net, given, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.ConfigurationError, match=message):
        trained(2, net=net, **given)


def test_settings_for_ranks_need_ranks():
    for setting in ({"deterministic": True}, {"shards": 4}):
        with pytest.raises(errors.ConfigurationError, match="distributed=True is needed"):
            network().fit(*arrays(), **setting)


@given(
    values=st.lists(
        st.lists(
            st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False), min_size=5, max_size=5
        ),
        min_size=1,
        max_size=9,
    )
)
def test_sums_in_fixed_point_are_exact_to_the_largest_number(values):
    parts = [np.array(part, np.float32) for part in values]
    exact = [math.fsum(float(part[place]) for part in parts) for place in range(5)]
    largest = max(float(np.abs(part).max()) for part in parts)
    found = {}
    for size in (1, 2, len(parts)):

        def work(talk, size=size):
            own = shards_of(talk.rank, size, len(parts)).own
            out = np.empty(5, np.float64)
            FixedPointSum(talk, len(parts), 5)([parts[shard] for shard in own], out, "", False)
            return out

        found[size] = run_ranks(size, work)
    first = found[1][0]
    for outs in found.values():
        for out in outs:
            np.testing.assert_array_equal(out, first)
    np.testing.assert_allclose(first, exact, rtol=1e-12, atol=len(parts) * largest * 2.0**-54)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_sums_in_fixed_point_refuse_what_is_not_finite(wrong):
    def work(talk):
        part = np.ones(4, np.float32)
        part[2] = wrong if talk.rank == 1 else 1
        out = np.zeros(4)
        FixedPointSum(talk, 3, 4)([part], out, "", False)
        return out

    assert np.isnan(run_ranks(3, work)).all()


def test_a_checkpoint_of_several_ranks_is_one_file(tmp_path):
    pytest.importorskip("safetensors")
    trained(3, checkpoint=tmp_path, every=4)
    files = checkpoints.CheckpointFolder(tmp_path).files()
    assert len(files) == 2
    run = checkpoints.decode(files[0]).run
    assert json.dumps(run)


def test_ranks_without_a_seed_take_that_of_rank_0():
    def work(talk):
        own = network(seed=None, dropout=0.5)
        own.train_step(*arrays(), gpubp.SGD(1e-30))  # a step that is kept, with dropout of its seed
        drawn = own.spec.seed
        history = own.fit(
            *arrays(), epochs=2, batch_size=32, distributed=talk, validation=0.2, deterministic=True
        )
        return drawn, own.spec, own.parameters, history.loss

    found = run_ranks(3, work)
    seeds = [drawn for drawn, *_ in found]
    assert len(set(seeds)) == 3
    for _, spec, parameters, losses in found:
        assert spec.seed == seeds[0]
        np.testing.assert_array_equal(parameters, found[0][2])
        assert losses == found[0][3]
    chosen = {"dropout": 0.5, "seed": seeds[0]}

    def again(talk):
        own = network(**chosen)
        own.train_step(*arrays(), gpubp.SGD(1e-30))
        own.fit(
            *arrays(), epochs=2, batch_size=32, distributed=talk, validation=0.2, deterministic=True
        )
        return own.parameters

    np.testing.assert_array_equal(run_ranks(3, again)[0], found[0][2])


def test_seeds_that_were_chosen_apart_are_refused():
    def work(talk):
        network(seed=talk.rank).fit(*arrays(), epochs=1, distributed=talk)

    with pytest.raises(errors.DistributedError, match="rank 1 has seed 1 and rank 0 0"):
        run_ranks(2, work)


def test_the_loss_of_an_epoch_counts_batches_by_weight_on_any_number_of_ranks():
    weights = np.random.default_rng(2).random(205) * (np.arange(205) > 100)
    given = {"sample_weight": weights, "shuffle": False, "optimizer": gpubp.SGD(1e-30), "epochs": 1}
    net = network()
    whole = net.evaluate(*arrays(), sample_weight=weights)["loss"]
    for ranks in (1, 2, 3):
        _, history = trained(ranks, **given)
        np.testing.assert_allclose(history.loss, [whole], rtol=1e-6)


@pytest.mark.parametrize(
    "error",
    [
        errors.UnknownNameError("loss", "hubr", ["huber", "mae"]),
        errors.DivergenceError("the loss is not finite", 7, "layer 2"),
    ],
)
def test_an_error_of_rank_0_is_the_same_on_all(error):
    def work(talk):
        def fail():
            raise error

        with pytest.raises(type(error)) as raised:
            talk.on_root(fail, "a test")
        return raised.value

    for raised in run_ranks(2, work):
        assert str(raised) == str(error)
        assert vars(raised) == vars(error) | {"everywhere": True}
