"""Networks trained side by side: what one does when another diverges, is late or is interrupted."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import gpubp
from gpubp.errors import ConfigurationError, DivergenceError
from gpubp.tables.members import train_members
from gpubp.training import side_by_side as trainings

X = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
Y = X[:, :1] * X[:, 1:2]


def networks(count=3):
    return [gpubp.Network([4, 8, 1], seed=seed, backend="cpu") for seed in range(count)]


def fit(net, number, callbacks, **settings):
    net.fit(X, Y, callbacks=callbacks, **({"epochs": 3} | settings))


@pytest.fixture(params=[1, 2], ids=["by turns", "side by side"])
def side_by_side(request, monkeypatch):
    monkeypatch.setattr(trainings, "thread_count", lambda: request.param)
    return request.param > 1


def test_all_are_trained_with_the_bits_of_their_own_training(side_by_side):
    done = []
    found = train_members(networks(), fit, finished=done.append)
    assert sorted(done) == [0, 1, 2]
    for net, alone in zip(found, networks(), strict=True):
        alone.fit(X, Y, epochs=3)
        np.testing.assert_array_equal(net.parameters, alone.parameters)


def test_one_that_diverges_is_left_out(side_by_side):
    def train(net, number, callbacks):
        fit(net, number, callbacks, optimizer=gpubp.SGD(1e9 if number == 1 else 1e-3))

    nets = networks()
    assert train_members(nets, train) == [nets[0], nets[2]]


def test_where_all_diverge_it_is_said(side_by_side):
    with pytest.raises(DivergenceError, match="not finite"):
        train_members(networks(), lambda *given: fit(*given, optimizer=gpubp.SGD(1e9)))


def test_the_time_is_shared_out(side_by_side):
    def train(net, number, callbacks):
        fit(net, number, callbacks, epochs=10**6)

    start = time.perf_counter()
    found = train_members(networks(4), train, time_limit=1.0)
    assert time.perf_counter() - start < 3
    assert len(found) == 4
    assert {net.history.stopped for net in found} == {"time limit"}


@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(limit):
    with pytest.raises(ConfigurationError, match="time_limit is"):
        train_members(networks(1), fit, time_limit=limit)


def test_what_is_not_begun_in_time_is_left_out(monkeypatch):
    monkeypatch.setattr(trainings, "thread_count", lambda: 1)

    def train(net, number, callbacks):
        fit(net, number, callbacks)
        time.sleep(0.3)

    nets = networks()
    assert train_members(nets, train, time_limit=0.2) == nets[:1]


def test_an_error_of_one_ends_the_others(monkeypatch):
    monkeypatch.setattr(trainings, "thread_count", lambda: 2)
    began = threading.Event()

    def train(net, number, callbacks):
        if number == 0:
            began.wait(10)
            raise KeyboardInterrupt
        began.set()
        fit(net, number, callbacks, epochs=10**6)

    nets = networks(2)
    with pytest.raises(KeyboardInterrupt):
        train_members(nets, train)
    assert nets[1].history.stopped == "interrupted"
    assert np.isfinite(nets[1].predict(X)).all()
