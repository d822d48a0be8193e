"""Members dealt to ranks, here threads: the bits of one process, known to all of them."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
import gpubp.data
from gpubp import errors
from gpubp.backends.cpu.threads import one_thread
from gpubp.distributed.communicator import Communicator
from gpubp.networks import Networks
from gpubp.training.each import Each
from thread_ranks import run_ranks

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 6)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)
SIZES, OUTPUT = [6, 16, 2], {"output": "softmax"}


def networks(members=3, **settings):
    return Networks(SIZES, members, backend="cpu", **OUTPUT | settings)


def dealt(size, data=(X, Y), **options):
    """Train three members dealt to so many ranks; return the networks of every rank."""

    def work(processes):
        nets = networks()
        nets.fit(*data, distributed=processes, **{"epochs": 3, "batch_size": 32} | options)
        return nets

    return run_ranks(size, work)


def alone(seed, rows, **options):
    """Return a network trained alone on one thread."""
    net = gpubp.Network(SIZES, seed=seed, backend="cpu", **OUTPUT)
    with one_thread(undivided=True):
        net.fit(X[rows], Y[rows], **{"epochs": 3, "batch_size": 32} | options)
    return net


def assert_same_training(nets, others):
    for net, other in zip(nets, others, strict=True):
        np.testing.assert_array_equal(net.parameters, other.parameters)
        np.testing.assert_array_equal(net._state.moments, other._state.moments)
        assert net.history.loss == other.history.loss
        assert net.history.validation_loss == other.history.validation_loss


@pytest.mark.parametrize("size", [1, 2, 5])
def test_members_have_the_bits_of_their_own_trainings(size):
    rows = [np.arange(200), np.arange(100, 300), np.arange(0, 300, 2)]
    others = [alone(seed, rows_of_member) for seed, rows_of_member in enumerate(rows)]
    for nets in dealt(size, rows=Each(rows)):
        assert_same_training(nets.members, others)


def test_members_stop_by_themselves_and_all_ranks_know_their_callbacks():
    options = {
        "data": (X[:200], Y[:200]),
        "validation": (X[200:], Y[200:]),
        "epochs": 30,
        "optimizer": Each([gpubp.Adam(0.1), gpubp.Adam(1e-3), gpubp.Adam(0.05)]),
        "callbacks": [gpubp.EarlyStopping(3)],
    }
    (one,) = dealt(1, **options)
    assert len({history.epochs for history in one.histories}) > 1
    best_epochs = [stopping.best_epoch for (stopping,) in one.callbacks]
    for nets in dealt(2, **options):
        assert_same_training(nets.members, one.members)
        assert [stopping.best_epoch for (stopping,) in nets.callbacks] == best_epochs


def test_a_training_goes_on_with_another_number_of_ranks(tmp_path):
    (whole,) = dealt(1, epochs=4)
    dealt(3, epochs=2, checkpoint=tmp_path)
    for nets in dealt(2, epochs=4, checkpoint=tmp_path, resume=True):
        assert_same_training(nets.members, whole.members)


def test_each_rank_reads_a_data_set_by_itself():
    data = gpubp.data.ArrayDataset(X, Y, block=64, window=2)
    (one,) = dealt(1, data=(data,))
    for nets in dealt(2, data=(data,)):
        assert_same_training(nets.members, one.members)


def test_every_rank_begins_with_the_seeds_and_the_numbers_of_rank_0():
    def work(processes):
        nets = networks(seed=None)
        first_parameters = nets.parameters.copy()
        nets.fit(X, Y, epochs=3, batch_size=32, distributed=processes)
        return first_parameters, nets

    (first_parameters, nets), (_, nets_of_rank_1) = run_ranks(2, work)
    assert_same_training(nets.members, nets_of_rank_1.members)
    seeds = [net.spec.seed for net in nets.members]
    others = networks(seed=Each(seeds))
    np.testing.assert_array_equal(first_parameters, others.parameters)
    assert_same_training(nets.members, [alone(seed, slice(None)) for seed in seeds])


def test_a_member_that_diverges_is_known_to_all_ranks():
    def work(processes, rates=(1e-3, 1e9, 1e-3)):
        nets = Networks([6, 8, 1], 3, backend="cpu")
        optimizers = Each([gpubp.SGD(rate) for rate in rates])
        nets.fit(X, X[:, :1], distributed=processes, optimizer=optimizers, epochs=5)
        return nets

    with pytest.warns(RuntimeWarning, match=r"members \[1\] of 3 diverged") as warned:
        nets_of_ranks = run_ranks(2, work)
    assert len(warned) == 1  # rank 0 says it
    for nets in nets_of_ranks:
        assert [failure is None for failure in nets.failures] == [True, False, True]
        assert [history.stopped for history in nets.histories] == ["", "diverged", ""]
    with pytest.raises(errors.DivergenceError, match="not finite") as raised:
        run_ranks(2, lambda processes: work(processes, (1e9,) * 3))
    assert raised.value.everywhere


class Failing(gpubp.Callback):
    """Raises an error after an epoch of the member with seed 1."""

    def __init__(self, error):
        self.error = error

    def epoch_end(self, net, history):
        if net.spec.seed == 1:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), errors.DataError("a row is wrong")])
def test_an_error_or_ctrl_c_of_one_rank_ends_all_and_nothing_is_lost(error):
    def work(processes):
        nets = networks(2)
        with pytest.raises(type(error)) as raised:
            nets.fit(X, Y, epochs=2, distributed=processes, callbacks=[Failing(error)])
        assert str(raised.value) == str(error)
        return nets

    nets, nets_of_rank_1 = run_ranks(2, work)
    assert_same_training(nets.members, nets_of_rank_1.members)
    assert [history.epochs for history in nets.histories] == [2, 1]


@pytest.mark.parametrize(
    ("settings", "rows", "said"),
    [
        ({"members": 2}, 300, "rank 1 has members 2 and rank 0 3"),
        ({"dropout": 0.5}, 300, "rank 1 has member 0"),
        ({}, 299, "rank 1 has data"),
    ],
)
def test_ranks_with_other_members_or_data_are_told_so(settings, rows, said):
    def work(processes):
        nets = networks(**(settings if processes.rank else {}))
        last = rows if processes.rank else 300
        nets.fit(X[:last], Y[:last], distributed=processes)

    with pytest.raises(errors.DistributedError, match=said):
        run_ranks(2, work)


@pytest.mark.parametrize("option", [{"shards": 4}, {"deterministic": True}])
def test_members_are_not_cut_into_shards(option):
    with pytest.raises(errors.ConfigurationError, match="dealt to the processes whole"):
        networks().fit(X, Y, distributed=True, **option)


def test_ctrl_c_while_waiting_is_raised_when_all_have_come(monkeypatch):
    answers = [False, False, True]

    class Barrier:
        def Ibarrier(self):  # noqa: N802, MPI's name
            return self

        def Test(self):  # noqa: N802, MPI's name
            return answers.pop(0)

    def press_ctrl_c(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", press_ctrl_c)
    processes = object.__new__(Communicator)
    processes._comm, processes.seconds = Barrier(), 0.0
    with pytest.raises(KeyboardInterrupt):
        processes.wait_for_all()
    assert not answers
    assert processes.seconds > 0
