"""Short epochs, done together in one call, against the same ones with a look between them."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
from conftest import simulated_gpu
from gpubp import errors
from gpubp.backends import get_backend
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from gpubp.backends.cpu.planned_steps import PlannedSteps
from gpubp.training import fit as fitting

RANDOM = np.random.default_rng(0)
X, CLASSES = RANDOM.standard_normal((100, 5)), RANDOM.integers(0, 3, 100)
ROWS = RANDOM.integers(0, 100, 110)


class Idle:
    """A callback that does nothing."""

    def __init__(self, every_epoch=True):
        self.every_epoch, self.ends = every_epoch, 0

    def begin(self, net, epochs):
        pass

    def advance(self, history, share):
        pass

    def epoch_end(self, net, history):
        self.ends += 1
        return False

    def end(self, net, history):
        pass


class Leap:
    """A learning rate that leaps up after so many updates."""

    peak = 1e30

    def __init__(self, after):
        self.after = after

    def __call__(self, step):
        return 0.01 if step < self.after else self.peak


class AtShare(Idle):
    """Stops, or raises, when it is asked for the n-th time."""

    def __init__(self, number, error=None, every_epoch=False):
        super().__init__(every_epoch)
        self.left, self.error = number, error

    def advance(self, history, share):
        self.left -= 1
        if self.left == 0 and self.error is not None:
            raise self.error
        return self.left == 0


def network(backend="cpu", **settings):
    return gpubp.Network([5, 8, 3], "tanh", "softmax", backend, **settings)


def outcome(net):
    state = net._state
    return (
        *(net.history.loss, net.backend.to_numpy(net.parameters).tobytes()),
        *(state.step, state.epoch, state.updates),
        *(len(net.history.seconds), net.history.stopped),
    )


def together_and_apart(train):
    """Train with callbacks that need not see every epoch, and with those that do."""
    found = []
    for every_epoch in (False, True):
        callback = Idle(every_epoch)
        found.append((outcome(train(callback)), callback.ends))
    (together, asked), (apart, asked_each) = found
    assert asked < asked_each, "the epochs were not done together"
    assert together == apart


@pytest.mark.parametrize("kind", ["compiled", "plain", "gpu"])
@pytest.mark.parametrize("batch_size", [32, 25, 100, 7])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": False},
        {"rows": ROWS},
        {"average": 0.9, "regularization": gpubp.Regularization(l2=1e-3)},
        {"optimizer": gpubp.SGD(gpubp.CosineDecay(0.3, 300)), "dropout_factor": 0.5},
    ],
    ids=["usual", "in order", "chosen rows", "averaged", "scheduled"],
)
def test_nothing_depends_on_doing_epochs_together(monkeypatch, kind, batch_size, options):
    if kind == "gpu":
        backend = simulated_gpu(monkeypatch)
    else:
        backend = get_backend("cpu") if kind == "compiled" else NumpyBackend()

    def train(callback):
        net = network(backend, dropout=0.2)
        for epochs in (33, 70):
            net.fit(
                X, CLASSES, epochs=epochs, batch_size=batch_size, callbacks=[callback], **options
            )
        return net

    together_and_apart(train)


def test_looks_may_fall_within_epochs(monkeypatch):
    monkeypatch.setattr(fitting, "STEPS_BETWEEN_LOOKS", 5)

    def train(callback):
        net = network()
        net.fit(X, CLASSES, epochs=30, batch_size=16, callbacks=[callback])
        return net

    together_and_apart(train)


@pytest.mark.parametrize("after", [26, 27, 28, 33])  # an epoch has four steps
@pytest.mark.parametrize("looks", [3, 5, 201])
def test_a_training_that_diverges_ends_at_the_same_step(monkeypatch, looks, after):
    monkeypatch.setattr(fitting, "STEPS_BETWEEN_LOOKS", looks)
    said = []

    def train(callback):
        net = gpubp.Network([5, 8, 1], "relu", backend="cpu")
        with pytest.raises(errors.DivergenceError) as caught:
            net.fit(
                X,
                X[:, 0],
                optimizer=gpubp.SGD(Leap(after)),
                epochs=60,
                batch_size=25,
                callbacks=[callback],
            )
        said.append(str(caught.value))
        return net

    nets = [train(Idle(every_epoch)) for every_epoch in (False, True)]
    assert said[0] == said[1]
    assert outcome(nets[0]) == outcome(nets[1])
    assert nets[0].history.epochs in (6, 7, 8)
    assert nets[0]._state.epoch == nets[0]._state.step // 4


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
def test_what_was_finished_is_kept_when_it_ends_in_the_middle(monkeypatch, error):
    monkeypatch.setattr(fitting, "STEPS_BETWEEN_LOOKS", 6)  # an epoch has four steps
    ended, whole = network(), network()
    try:
        ended.fit(X, CLASSES, epochs=40, batch_size=25, callbacks=[AtShare(5, error)])
    except KeyboardInterrupt:
        assert error is not None
    whole.fit(X, CLASSES, epochs=7, batch_size=25)
    assert ended._state.step == 30
    assert ended._state.epoch == 7
    assert ended.history.loss == whole.history.loss
    assert len(ended.history.seconds) == 7
    assert ended.history.stopped == ("interrupted" if error else "early stopping")


def test_short_epochs_are_one_call_of_the_compiled_backend(monkeypatch):
    if isinstance(get_backend("cpu"), NumpyBackend) and get_backend("cpu").device == "CPU":
        pytest.skip("no compiled kernels")
    calls = []
    in_turn = PlannedSteps.in_turn

    def counted(steps):
        calls.append(sum(count for _, count in steps))
        in_turn(steps)

    monkeypatch.setattr(PlannedSteps, "in_turn", staticmethod(counted))
    network().fit(X, CLASSES, epochs=40, batch_size=32)
    assert calls == [159, 1], "four steps an epoch, the last one by itself"


def test_epochs_that_something_must_see_are_done_one_by_one(tmp_path):
    for options in (
        {"validation": (X, CLASSES)},
        {"sample_weight": RANDOM.random(100)},
        {"checkpoint": tmp_path / "run"},
        {"accumulate": 2},
        {"shuffle": lambda epoch: np.arange(100)},
    ):
        callback = Idle(every_epoch=False)
        network().fit(X, CLASSES, epochs=6, batch_size=32, callbacks=[callback], **options)
        assert callback.ends == 6, options


def test_epochs_of_much_work_are_done_one_by_one(monkeypatch):
    callback, net = Idle(every_epoch=False), network()
    monkeypatch.setattr(fitting, "WORK_TOGETHER", 3 * 100 * net.parameters.size)
    net.fit(X, CLASSES, epochs=12, batch_size=50, callbacks=[callback])
    assert callback.ends == 4
