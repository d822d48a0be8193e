"""What ranks must have in common: they take it from rank 0, or are told that they differ."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import gpubp
import gpubp.data
from gpubp import errors
from thread_ranks import ThreadCommunicator, arrays, network, run_ranks, trained


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
