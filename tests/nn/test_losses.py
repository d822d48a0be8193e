"""Losses as users choose them: names, settings, expected values; kernels have their own tests."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
from gpubp import errors
from gpubp.nn import losses

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((40, 3))
CLASSES = RANDOM.integers(0, 4, 40)


def network(output, outputs, backend="cpu"):
    return gpubp.Network([3, 6, outputs], "tanh", output, backend, "float64")


def test_label_smoothing_is_that_of_smoothed_probabilities(backend):
    one, other = network("softmax", 4, backend), network("softmax", 4, backend)
    smoothed = np.eye(4)[CLASSES] * 0.9 + 0.1 / 4
    one.fit(X, CLASSES, loss=losses.cross_entropy(label_smoothing=0.1), epochs=3)
    other.fit(X, smoothed, epochs=3)
    np.testing.assert_allclose(one.history.loss, other.history.loss, rtol=1e-12)
    one.fit(X, np.eye(4)[CLASSES], loss=losses.cross_entropy(label_smoothing=0.1), epochs=1)
    other.fit(X, smoothed, epochs=1)
    np.testing.assert_allclose(one.history.loss, other.history.loss, rtol=1e-12)


def test_label_smoothing_of_yes_and_no(backend):
    one, other = network("sigmoid", 1, backend), network("sigmoid", 1, backend)
    yes = (CLASSES > 1).astype(float)
    loss = losses.cross_entropy(label_smoothing=0.2, binary=True)
    found = one.fit(X, yes, loss=loss, epochs=2).loss
    np.testing.assert_allclose(found, other.fit(X, yes * 0.8 + 0.1, epochs=2).loss, rtol=1e-12)


def test_validation_is_measured_without_label_smoothing(backend):
    net, loss = network("softmax", 4, backend), losses.cross_entropy(0.3)
    history = net.fit(X, CLASSES, loss=loss, epochs=2, validation=(X, CLASSES))
    z = net.predict(X)  # probabilities
    plain = -np.log(z[np.arange(40), CLASSES]).mean()
    smoothed = -(np.log(z) * (np.eye(4)[CLASSES] * 0.7 + 0.3 / 4)).sum(axis=1).mean()
    assert history.validation_loss[-1] == pytest.approx(plain, rel=1e-12)
    assert net.evaluate(X, CLASSES, loss=loss)["loss"] == pytest.approx(smoothed, rel=1e-12)


def test_no_label_smoothing_is_the_plain_loss():
    assert losses.cross_entropy(0.0) is losses.LOSSES["cross_entropy"]
    assert losses.cross_entropy(0.1).settings == "smoothed_cross_entropy(0.1)"


@pytest.mark.parametrize("q", [0.1, 0.5, 0.8])
def test_the_quantile_loss_finds_the_quantile(q):
    """A network of one bias alone: the best constant is the quantile of the values."""
    values = RANDOM.exponential(size=2001)
    net = gpubp.Network([1, 1], dtype="float64", backend="cpu")
    net.fit(
        np.zeros((2001, 1)),
        values,
        loss=losses.quantile(q),
        epochs=400,
        batch_size=2001,
        optimizer=gpubp.Adam(gpubp.CosineDecay(0.05, 400)),
    )
    assert net.predict(np.zeros((1, 1)))[0, 0] == pytest.approx(np.quantile(values, q), abs=0.02)


def test_poisson_regression_finds_the_mean():
    counts = RANDOM.poisson(3.0, 500)
    net = gpubp.Network([1, 1], output="exp", dtype="float64", backend="cpu")
    optimizer = gpubp.Adam(gpubp.CosineDecay(0.1, 300))
    net.fit(np.zeros((500, 1)), counts, epochs=300, batch_size=500, optimizer=optimizer)
    assert net.predict(np.zeros((1, 1)))[0, 0] == pytest.approx(counts.mean(), rel=1e-4)
    sklearn = pytest.importorskip("sklearn.metrics")
    found = net.evaluate(np.zeros((500, 1)), counts)["loss"]
    half = sklearn.mean_poisson_deviance(counts, np.full(500, counts.mean())) / 2
    assert found == pytest.approx(half, rel=1e-6)


def test_a_focal_loss_of_gamma_zero_is_cross_entropy(backend):
    one, other = network("softmax", 4, backend), network("softmax", 4, backend)
    found = one.fit(X, CLASSES, loss=losses.focal(0), epochs=3).loss
    np.testing.assert_allclose(found, other.fit(X, CLASSES, epochs=3).loss, rtol=1e-10)


@pytest.mark.parametrize(
    ("loss", "output", "y"),
    [
        (losses.huber(0.3), "identity", X[:, :2]),
        (losses.quantile(0.3), "identity", X[:, :2]),
        ("poisson", "exp", abs(X[:, :2])),
        ("focal", "softmax", CLASSES % 2),
        (losses.focal(1.5), "softmax", np.eye(2)[CLASSES % 2]),
        (losses.focal(2.0, binary=True), "sigmoid", np.eye(2)[CLASSES % 2]),
        (losses.cross_entropy(0.1), "softmax", CLASSES % 2),
        (losses.cross_entropy(0.1), "softmax", np.eye(2)[CLASSES % 2]),
        (losses.cross_entropy(0.2, binary=True), "sigmoid", np.eye(2)[CLASSES % 2]),
    ],
    ids=str,
)
def test_gradients_are_those_of_finite_differences(backend, loss, output, y):
    net = network(output, 2, backend)
    assert gpubp.gradient_check(net, X, y, loss=loss).passed


def test_labels_changed_behind_the_check_are_not_seen():
    labels = CLASSES.copy()

    class Changed(gpubp.Callback):
        def epoch_end(self, net, history):
            labels[:] = 10**9
            return False

    nets = [network("softmax", 4), network("softmax", 4)]
    nets[0].fit(X, labels, epochs=2, shuffle=False, callbacks=[Changed()])
    nets[1].fit(X, CLASSES, epochs=2, shuffle=False)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.huber(0), "delta is 0; a finite number above 0"),
        (lambda: losses.quantile(1), "q is 1; a number between 0 and 1"),
        (lambda: losses.focal(-1), "gamma is -1; a finite number from 0"),
        (lambda: losses.cross_entropy(1.0), "label_smoothing is 1.0; a number from 0 to below 1"),
        (
            lambda: network("exp", 1).fit(X, X[:, 0]),
            r"expected value in row \d+ is -.*; poisson needs values from 0",
        ),
        (
            lambda: network("identity", 1).fit(X, X[:, 0], loss=losses.focal()),
            "loss 'focal' needs output='softmax' and the network's output is 'identity'",
        ),
    ],
)
def test_settings_and_values_out_of_range_are_refused(make, message):
    with pytest.raises((errors.ConfigurationError, errors.DataError), match=message):
        make()
