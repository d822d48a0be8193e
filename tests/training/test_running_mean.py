"""What validation and callbacks see of a network whose running mean is kept."""

import numpy as np
import pytest

import gpubp
from gpubp import errors

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(90, 4)).astype(np.float32)
Y = (X[:, :1] * X[:, 1:2]).astype(np.float32)
HELD = (X[60:], Y[60:])
SETTINGS = {"epochs": 6, "batch_size": 8, "average": 0.9}


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


def test_the_end_of_an_epoch_shows_the_mean(backend):
    look = Look()
    net, history = trained(backend, validation=HELD, callbacks=[look], metrics=["rmse"])
    for epoch, mean in enumerate(look.means):
        np.testing.assert_array_equal(look.parameters[epoch], mean)
        shown, _ = trained(backend, epochs=epoch + 1)
        np.testing.assert_array_equal(host(shown.averaged()), mean)
        loss = shown.averaged().evaluate(*HELD)["loss"]
        assert history.validation_loss[epoch] == pytest.approx(loss, rel=1e-6)
        off = net.backend.to_numpy(shown.averaged().predict(HELD[0])) - HELD[1]
        assert history.metrics["rmse"][epoch] == pytest.approx(np.sqrt((off**2).mean()), rel=1e-5)


def test_who_looks_changes_nothing(backend):
    alone, _ = trained(backend)
    watched, _ = trained(backend, validation=HELD, callbacks=[Look()])
    np.testing.assert_array_equal(host(watched), host(alone))
    np.testing.assert_array_equal(host(watched.averaged()), host(alone.averaged()))
    assert np.abs(host(alone) - host(alone.averaged())).max() > 1e-3


def test_early_stopping_puts_the_best_mean_back(backend):
    look, stopping = Look(), gpubp.EarlyStopping(patience=3)
    net, history = trained(
        backend,
        validation=HELD,
        callbacks=[look, stopping],
        epochs=60,
        optimizer=gpubp.Adam(0.05),
    )
    best = int(np.argmin(history.validation_loss))
    assert stopping.best_epoch == best + 1
    assert best + 1 < history.epochs
    np.testing.assert_array_equal(host(net), look.means[best])


def test_what_a_callback_changes_is_the_mean():
    def double(net):
        net.parameters *= 2

    net, _ = trained("cpu", epochs=1, callbacks=[Look(double)])
    alone, _ = trained("cpu", epochs=1)
    np.testing.assert_array_equal(host(net), host(alone))
    np.testing.assert_array_equal(host(net.averaged()), 2 * host(alone.averaged()))


def test_a_callback_that_fails_leaves_the_parameters():
    def fail(net):
        raise errors.DataError("no more")

    alone, _ = trained("cpu", epochs=1)
    net = gpubp.Network([4, 16, 1], seed=1)
    with pytest.raises(errors.DataError, match="no more"):
        net.fit(X[:60], Y[:60], **SETTINGS, callbacks=[Look(fail)])
    np.testing.assert_array_equal(host(net), host(alone))
