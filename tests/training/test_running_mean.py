"""What validation and callbacks see of a network whose running mean is kept."""

import numpy as np
import pytest

import gpubp
from gpubp import errors

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(90, 4)).astype(np.float32)
Y = (X[:, :1] * X[:, 1:2]).astype(np.float32)
HELD = (X[60:], Y[60:])
SETTINGS = {"epochs": 8, "batch_size": 8, "optimizer": gpubp.Adam(0.05), "average": 0.9}


class Look:
    """Note what an epoch's end shows; then do something with the network."""

    def __init__(self, then=lambda net: None):
        self.then, self.parameters, self.means = then, [], []

    def begin(self, net, epochs):
        pass

    def advance(self, history, share):
        pass

    def epoch_end(self, net, history):
        to_numpy = net.backend.to_numpy
        self.parameters.append(to_numpy(net.parameters).copy())
        self.means.append(to_numpy(net.averaged().parameters).copy())
        self.then(net)
        return False

    def end(self, net, history):
        pass


def trained(backend, **settings):
    net = gpubp.Network([4, 16, 1], backend=backend, seed=1)
    history = net.fit(X[:60], Y[:60], **(SETTINGS | settings))
    return net, history


def host(net):
    return net.backend.to_numpy(net.parameters)


def test_the_end_of_an_epoch_shows_the_better_of_the_parameters_and_their_mean(backend):
    look = Look()
    net, history = trained(backend, validation=HELD, callbacks=[look], metrics=["rmse"])
    shown = set()
    for epoch in range(SETTINGS["epochs"]):
        alone, _ = trained(backend, epochs=epoch + 1)
        mean = alone.averaged()
        np.testing.assert_array_equal(look.means[epoch], host(mean))
        better = min(alone, mean, key=lambda net: net.evaluate(*HELD)["loss"])
        shown.add(better is mean)
        np.testing.assert_array_equal(look.parameters[epoch], host(better))
        loss = better.evaluate(*HELD)["loss"]
        assert history.validation_loss[epoch] == pytest.approx(loss, rel=1e-6)
        off = net.backend.to_numpy(better.predict(HELD[0])) - HELD[1]
        assert history.metrics["rmse"][epoch] == pytest.approx(np.sqrt((off**2).mean()), rel=1e-5)
    assert shown == {False, True}


def test_without_validation_callbacks_see_the_parameters(backend):
    look = Look()
    net, _ = trained(backend, callbacks=[look])
    np.testing.assert_array_equal(look.parameters[-1], host(net))


def test_who_looks_changes_nothing(backend):
    alone, _ = trained(backend)
    watched, _ = trained(backend, validation=HELD, callbacks=[Look()])
    np.testing.assert_array_equal(host(watched), host(alone))
    np.testing.assert_array_equal(host(watched.averaged()), host(alone.averaged()))
    assert np.abs(host(alone) - host(alone.averaged())).max() > 1e-3


def test_early_stopping_puts_the_best_of_both_back(backend):
    look, stopping = Look(), gpubp.EarlyStopping(patience=3)
    net, history = trained(backend, validation=HELD, callbacks=[look, stopping], epochs=60)
    best = int(np.argmin(history.validation_loss))
    assert stopping.best_epoch == best + 1
    assert best + 1 < history.epochs
    np.testing.assert_array_equal(host(net), look.parameters[best])
    np.testing.assert_array_equal(look.parameters[best], look.means[best])


@pytest.mark.parametrize("epochs", [1, 8])
def test_what_a_callback_changes_is_what_it_sees(epochs):
    def double(net):
        if len(look.means) == epochs:
            net.parameters *= 2

    look = Look(double)
    net, _ = trained("cpu", epochs=epochs, validation=HELD, callbacks=[look])
    alone, _ = trained("cpu", epochs=epochs, validation=HELD)
    sees_mean = epochs > 1
    assert np.array_equal(look.parameters[-1], look.means[-1]) == sees_mean
    np.testing.assert_array_equal(host(net), (1 if sees_mean else 2) * host(alone))
    mean = host(alone.averaged())
    np.testing.assert_array_equal(host(net.averaged()), (2 if sees_mean else 1) * mean)


def test_a_callback_that_fails_leaves_the_parameters():
    def fail(net):
        if np.array_equal(look.parameters[-1], look.means[-1]):
            raise errors.DataError("no more")

    look = Look(fail)
    net = gpubp.Network([4, 16, 1], seed=1)
    with pytest.raises(errors.DataError, match="no more"):
        net.fit(X[:60], Y[:60], **SETTINGS, validation=HELD, callbacks=[look])
    alone, _ = trained("cpu", epochs=len(look.means))
    np.testing.assert_array_equal(host(net), host(alone))
    np.testing.assert_array_equal(host(net.averaged()), look.means[-1])
