"""Training by several ranks, here threads: the same weights as one process, or the same bits."""

from __future__ import annotations

import json

import numpy as np
import pytest

import gpubp
import gpubp.data
from gpubp import errors
from gpubp.distributed import host_sums as reduction
from gpubp.training import checkpoint_files as checkpoints
from thread_ranks import SIZES, alone, arrays, network, run_ranks, trained


def coded():
    """Rows whose first column is a code, most of them known."""
    x, y = arrays()
    x[:, 0] = np.arange(len(x)) % 5
    return x, y


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
    "averaged, validation": {"average": 0.9, "validation": arrays(50, 1)},
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


def test_a_checkpoint_of_several_ranks_is_one_file(tmp_path):
    pytest.importorskip("safetensors")
    trained(3, checkpoint=tmp_path, every=4)
    files = checkpoints.CheckpointFolder(tmp_path).files()
    assert len(files) == 2
    run = checkpoints.decode(files[0]).run
    assert json.dumps(run)


def test_the_loss_of_an_epoch_counts_batches_by_weight_on_any_number_of_ranks():
    weights = np.random.default_rng(2).random(205) * (np.arange(205) > 100)
    given = {"sample_weight": weights, "shuffle": False, "optimizer": gpubp.SGD(1e-30), "epochs": 1}
    net = network()
    whole = net.evaluate(*arrays(), sample_weight=weights)["loss"]
    for ranks in (1, 2, 3):
        _, history = trained(ranks, **given)
        np.testing.assert_allclose(history.loss, [whole], rtol=1e-6)
