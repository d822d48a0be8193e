"""Weights of rows and classes, scikit-learn's alpha, gathered gradients, averaged parameters."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
import simulated.cupy
from gpubp import Regularization, errors
from gpubp.backends.gpu import recording as _recorder
from kernel_compilation import host_compiler

needs_compiler = pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((60, 5))
Y = RANDOM.integers(0, 3, 60)
COUNTS = RANDOM.integers(0, 4, 60)


def network(backend="cpu", **settings):
    return gpubp.Network([5, 8, 3], "tanh", "softmax", backend, **{"dtype": "float64"} | settings)


def parameters(net):
    return net.backend.to_numpy(net.parameters)


def repeated(array):
    return np.repeat(array, COUNTS, axis=0)


@pytest.mark.parametrize("dropout", [0.0, 1e-9])  # with dropout a step is done layer by layer
def test_a_row_of_weight_n_is_n_rows(backend, dropout):
    weighted, plain = network(backend, dropout=dropout), network(backend)
    settings = {"epochs": 5, "shuffle": False, "optimizer": gpubp.SGD(0.5)}
    weighted.fit(X, Y, sample_weight=COUNTS, batch_size=60, **settings)
    plain.fit(repeated(X), repeated(Y), batch_size=len(repeated(Y)), **settings)
    np.testing.assert_allclose(weighted.history.loss, plain.history.loss, rtol=1e-8)
    np.testing.assert_allclose(parameters(weighted), parameters(plain), rtol=1e-7, atol=1e-9)
    measures = weighted.evaluate(X, Y, sample_weight=COUNTS)
    repeated_measures = plain.evaluate(repeated(X), repeated(Y))
    assert measures == pytest.approx(repeated_measures, rel=1e-7)
    assert measures["accuracy"] != weighted.evaluate(X, Y)["accuracy"]
    one = weighted.train_step(X, Y, sample_weight=COUNTS)
    assert one == pytest.approx(plain.train_step(repeated(X), repeated(Y)), rel=1e-7)


def test_every_backend_weighs_alike_in_shuffled_batches(backend):
    net, reference = network(backend), network()
    weights = RANDOM.random(60)
    for each in (net, reference):
        each.fit(X, Y, sample_weight=weights, epochs=4, batch_size=16, validation=(X, Y, weights))
    np.testing.assert_allclose(net.history.loss, reference.history.loss, rtol=1e-9)
    found = net.history.validation_loss
    np.testing.assert_allclose(found, reference.history.validation_loss, rtol=1e-9)
    np.testing.assert_allclose(parameters(net), reference.parameters, rtol=1e-7, atol=1e-9)


def test_weights_of_classes_are_weights_of_their_rows():
    table = [2.0, 0.5, 1.0]
    found = []
    for how in (
        {"class_weight": table},
        {"class_weight": {0: 2.0, 1: 0.5}},
        {"sample_weight": np.array(table)[Y]},
        {"sample_weight": np.array(table)[Y] / 2, "class_weight": [2, 2, 2]},
    ):
        net = network()
        net.fit(X, Y, epochs=3, **how)
        found.append(net.parameters)
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-10)


def test_balanced_classes_are_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.utils.class_weight")
    rare = np.where(RANDOM.random(60) < 0.8, 0, Y)
    balanced, given = network(), network()
    balanced.fit(X, rare, epochs=3, class_weight="balanced")
    weights = sklearn.compute_sample_weight("balanced", rare)
    given.fit(X, rare, epochs=3, sample_weight=weights)
    np.testing.assert_allclose(balanced.parameters, given.parameters, rtol=1e-10)


def test_alpha_is_the_penalty_of_scikit_learn(backend):
    """A step written out: divided by the rows, in the gradient of weights and in the loss."""
    net = gpubp.Network([5, 3], output="softmax", backend=backend, dtype="float64")
    weight = net.backend.to_numpy(net.layers[0].weight).copy()
    z = X @ weight
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    delta = (p - np.eye(3)[Y]) / 60
    loss = -np.log(p[np.arange(60), Y]).mean() + 3.0 / 2 * (weight**2).sum() / 60
    held = Regularization(alpha=3.0)
    assert net.train_step(X, Y, gpubp.SGD(0.5), regularization=held) == pytest.approx(loss)
    weight -= 0.5 * (X.T @ delta + 3.0 * weight / 60)
    np.testing.assert_allclose(net.backend.to_numpy(net.layers[0].weight), weight, rtol=1e-10)
    np.testing.assert_allclose(
        net.backend.to_numpy(net.layers[0].bias), -0.5 * delta.sum(0), rtol=1e-9
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_alpha_of_a_planned_step_is_that_of_single_passes(weighted):
    weights = RANDOM.random(60) if weighted else None
    nets = [network(), network(dropout=1e-12)]
    for net in nets:
        net.fit(
            X,
            Y,
            epochs=4,
            batch_size=25,
            sample_weight=weights,
            regularization=Regularization(alpha=2.0),
        )
    np.testing.assert_allclose(nets[0].history.loss, nets[1].history.loss, rtol=1e-9)
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_gathered_batches_are_one_batch(backend, alpha):
    """60 rows in batches of 8, 3 of them an update: updates of 24, 24 and 12 rows."""
    gathered, whole = network(backend), network(backend)
    settings = {"epochs": 3, "regularization": Regularization(alpha=alpha), "shuffle": False}
    gathered.fit(X, Y, batch_size=8, accumulate=3, **settings)
    whole.fit(X, Y, batch_size=24, **settings)
    np.testing.assert_allclose(parameters(gathered), parameters(whole), rtol=1e-7, atol=1e-9)
    if not alpha:  # but for the loss of the first epochs, whose weights are the same
        np.testing.assert_allclose(gathered.history.loss, whole.history.loss, rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.7])
@pytest.mark.parametrize("weights", [{"sample_weight": COUNTS}, {"class_weight": [1, 5, 0.2]}])
def test_gathered_batches_with_weights_are_one_batch(backend, alpha, weights):
    gathered, whole = network(backend), network(backend)
    settings = {"epochs": 3, "regularization": Regularization(alpha=alpha), "shuffle": False}
    settings |= weights
    gathered.fit(X, Y, batch_size=8, accumulate=3, **settings)
    whole.fit(X, Y, batch_size=24, **settings)
    np.testing.assert_allclose(parameters(gathered), parameters(whole), rtol=1e-7, atol=1e-9)


def test_the_average_is_that_of_the_parameters_after_every_update(backend):
    net = network(backend)
    expected = parameters(net).copy()
    for _ in range(2):
        for start in range(0, 60, 20):
            rows = slice(start, start + 20)
            net.train_step(X[rows], Y[rows], gpubp.SGD(0.3))
            expected = 0.9 * expected + 0.1 * parameters(net)
    averaged = network(backend)
    averaged.fit(
        X, Y, epochs=2, batch_size=20, shuffle=False, optimizer=gpubp.SGD(0.3), average=0.9
    )
    np.testing.assert_allclose(parameters(averaged), parameters(net), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(parameters(averaged.averaged()), expected, rtol=1e-9, atol=1e-11)
    with pytest.raises(errors.ConfigurationError, match=r"averaged without fit\(average"):
        net.averaged()


@needs_compiler
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_recorded_steps_do_all_of_it(monkeypatch, precision):
    weights = RANDOM.random(60) + 0.5
    found = []
    for warm_ups in (2, 10**9):
        simulated.cupy.install(monkeypatch)
        monkeypatch.setattr(_recorder, "WARM_UPS", warm_ups)
        net = network("gpu", dtype="float32", precision=precision)
        net.fit(
            X,
            Y,
            epochs=8,
            batch_size=8,
            accumulate=3,
            average=0.9,
            sample_weight=weights,
            regularization=Regularization(alpha=0.5),
        )
        found += [parameters(net), parameters(net.averaged())]
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[3])


def test_checkpoints_keep_gathered_gradients_and_average(tmp_path):
    pytest.importorskip("safetensors")
    settings = {"batch_size": 8, "accumulate": 3, "average": 0.9, "sample_weight": COUNTS}
    whole = network()
    whole.fit(X, Y, epochs=4, **settings)

    class Stop:
        def begin(self, net, epochs):
            self.calls = 0

        def advance(self, history, share):
            self.calls += 1
            if self.calls == 11:
                raise KeyboardInterrupt

        def epoch_end(self, net, history):
            return False

        def end(self, net, history):
            pass

    parts = network()
    with pytest.raises(KeyboardInterrupt):
        parts.fit(X, Y, epochs=4, checkpoint=tmp_path, every=1, callbacks=[Stop()], **settings)
    again = network()
    Stop.advance = lambda self, history, share: None
    again.fit(
        X, Y, epochs=4, checkpoint=tmp_path, every=1, resume=True, callbacks=[Stop()], **settings
    )
    np.testing.assert_array_equal(again.parameters, whole.parameters)
    np.testing.assert_array_equal(again.averaged().parameters, whole.averaged().parameters)


def test_the_order_of_rows_may_be_given(backend):
    orders = [RANDOM.permutation(60) for _ in range(3)]
    given, by_hand = network(backend), network(backend)
    given.fit(X, Y, epochs=3, batch_size=16, shuffle=lambda epoch: orders[epoch])
    for order in orders:
        by_hand.fit(X[order], Y[order], epochs=1, batch_size=16, shuffle=False)
    np.testing.assert_allclose(parameters(given), parameters(by_hand), rtol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_weight": np.ones(59)}, r"sample_weight has shape \(59,\); \(60,\) is needed"),
        ({"sample_weight": -np.ones(60)}, "sample_weight goes from -1 to -1; numbers from 0"),
        ({"sample_weight": np.zeros(60)}, "sample_weight goes from 0 to 0"),
        ({"sample_weight": np.full(60, np.nan)}, "sample_weight is not finite"),
        ({"class_weight": "even"}, "class_weight is 'even'; 'balanced'"),
        ({"class_weight": {3: 1.0}}, "class_weight has key 3; class indices from 0 to 2"),
        ({"class_weight": [1, 2]}, r"class_weight is \[1, 2\]; 3 finite numbers from 0"),
        ({"accumulate": 0}, "accumulate is 0; a whole number above 0"),
        ({"average": 1.0}, "average is 1.0; a number between 0 and 1"),
        ({"shuffle": lambda epoch: np.arange(5)}, r"shuffle returned int64 of shape \(5,\)"),
        ({"shuffle": lambda epoch: np.full(60, 60)}, "shuffle returned rows 60 to 60"),
        ({"validation": X}, r"validation is no tuple \(x, y\)"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(errors.GpubpError, match=message):
        network().fit(X, Y, **settings)
