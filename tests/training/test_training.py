"""Fit: learning, epochs, callbacks, and the way back from a loss that is not finite."""

import numpy as np
import pytest

import gpubp
from gpubp import errors
from gpubp.backends.random import permutation
from gpubp.training import fit as training


@pytest.fixture(scope="module")
def digits():
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_digits(return_X_y=True)
    return x / 16, y


def blobs(rows=200, seed=0):
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, rows)
    return random.standard_normal((rows, 3)) + 2 * y[:, None], y


def parameters(net):
    return net.backend.to_numpy(net.parameters).copy()


def test_learns_handwritten_digits(digits):
    x, y = digits
    net = gpubp.Network([64, 64, 10], output="softmax", backend="cpu")
    history = net.fit(x[:1400], y[:1400], epochs=25, batch_size=32)
    assert history.epochs == 25
    assert history.loss[-1] < 0.1 < history.loss[0]
    assert net.evaluate(x[1400:], y[1400:])["accuracy"] > 0.9


def test_same_loss_curve_as_scikit_learn(digits):
    """Full-batch gradient descent from the same weights follows scikit-learn's loss."""
    neural = pytest.importorskip("sklearn.neural_network")
    x, y = digits[0][:300], digits[1][:300]
    settings = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1, "alpha": 0.0}
    peer = neural.MLPClassifier((20,), "tanh", batch_size=300, shuffle=False, **settings)
    net = gpubp.Network([64, 20, 10], "tanh", "softmax", "cpu", "float64")
    peer.partial_fit(x, y, classes=np.arange(10))  # makes its weights, and one step of its own
    for layer, weight, bias in zip(net.layers, peer.coefs_, peer.intercepts_, strict=True):
        layer.weight[...], layer.bias[...] = weight, bias
    for _ in range(10):
        peer.partial_fit(x, y)
    history = net.fit(x, y, optimizer=gpubp.SGD(0.1), epochs=10, batch_size=300, shuffle=False)
    np.testing.assert_allclose(history.loss, peer.loss_curve_[1:], rtol=1e-10)


def test_each_epoch_sees_every_row_once_in_an_order_of_its_own():
    orders = [permutation(7, epoch, 50) for epoch in range(3)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(50))
    assert (orders[0] != orders[1]).any()
    np.testing.assert_array_equal(orders[1], permutation(7, 1, 50))


@pytest.mark.parametrize("shuffle", [True, False])
def test_fit_is_a_series_of_train_steps(backend, shuffle):
    x, y = blobs(50)
    fitted = gpubp.Network([3, 4, 2], "tanh", "softmax", backend, "float64", seed=5)
    stepped = gpubp.Network([3, 4, 2], "tanh", "softmax", backend, "float64", seed=5)
    history = fitted.fit(
        x, y, optimizer=gpubp.RMSProp(0.01), epochs=2, batch_size=16, shuffle=shuffle
    )
    for epoch in range(2):
        order = permutation(5, epoch, 50) if shuffle else np.arange(50)
        losses, sizes = [], []
        for start in range(0, 50, 16):
            rows = order[start : start + 16]
            losses.append(stepped.train_step(x[rows], y[rows], gpubp.RMSProp(0.01)))
            sizes.append(len(rows))
        assert history.loss[epoch] == pytest.approx(np.average(losses, weights=sizes), rel=1e-12)
    np.testing.assert_array_equal(parameters(fitted), parameters(stepped))


def test_two_fits_are_one_long_fit(backend):
    x, y = blobs(60)
    nets = [gpubp.Network([3, 4, 2], output="softmax", backend=backend) for _ in range(2)]
    nets[0].fit(x, y, epochs=6, batch_size=25)
    nets[1].fit(x, y, epochs=2, batch_size=25)
    nets[1].fit(x, y, epochs=4, batch_size=25)
    np.testing.assert_array_equal(parameters(nets[0]), parameters(nets[1]))


def test_another_optimizer_starts_with_fresh_moments():
    x, y = blobs(20)
    net = gpubp.Network([3, 2], output="softmax", backend="cpu")
    net.train_step(x, y, gpubp.Adam(0.1))
    net.train_step(x, y, gpubp.Adam(0.05))
    assert net._state.updates == 2
    net.train_step(x, y, gpubp.SGD(0.1, momentum=0.9))
    assert net._state.updates == 1
    net.reset_optimizer()
    net.train_step(x, y, gpubp.SGD(0.1, momentum=0.9))
    assert net._state.updates == 1


def test_validation_loss_and_early_stopping_put_the_best_weights_back(backend):
    x, y = blobs(120)
    noise = np.random.default_rng(1).integers(0, 2, 60)  # nothing to learn: overfits at once
    net = gpubp.Network([3, 32, 2], output="softmax", backend=backend)
    stopping = gpubp.EarlyStopping(patience=3)
    history = net.fit(
        x[:60], noise, optimizer=gpubp.Adam(0.05), epochs=100, batch_size=20,
        validation=(x[60:], y[60:]), callbacks=[stopping],
    )  # fmt: skip
    assert history.stopped == "early stopping"
    assert history.epochs == stopping.best_epoch + 3 < 100
    assert stopping.best_loss == min(history.validation_loss)
    again = net.evaluate(x[60:], y[60:])["loss"]
    assert again == pytest.approx(stopping.best_loss, rel=1e-6)


class Interrupt:
    """A callback during which the user presses Ctrl-C in epoch 3."""

    def begin(self, net, epochs):
        self.ended = False

    def advance(self, history, share):
        if history.epochs == 2:
            raise KeyboardInterrupt

    def epoch_end(self, net, history):
        return False

    def end(self, net, history):
        self.ended = True


def test_ctrl_c_puts_the_best_weights_back_and_is_passed_on():
    x, y = blobs(100)
    net = gpubp.Network([3, 8, 2], output="softmax", backend="cpu")
    stopping, interrupt = gpubp.EarlyStopping(), Interrupt()
    with pytest.raises(KeyboardInterrupt):
        net.fit(x, y, epochs=9, validation=(x, y), callbacks=[stopping, interrupt])
    assert net.history.stopped == "interrupted"
    assert net.history.epochs == 2
    assert interrupt.ended
    assert net.evaluate(x, y)["loss"] == pytest.approx(min(net.history.validation_loss), rel=1e-6)


@pytest.mark.parametrize("whole", [0, 2])
def test_an_epoch_that_ctrl_c_ends_while_it_is_measured_is_not_told(whole, tmp_path):
    """Its loss is known, its measures are not: a file with that alone could not be read again."""
    x, y = blobs(100)
    net = gpubp.Network([3, 8, 2], output="softmax", backend="cpu")
    calls = []

    def ended(expected, outputs):
        calls.append(0)
        if len(calls) > whole:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        net.fit(x, y, epochs=9, validation=(x, y), metrics=["accuracy", ended])
    told = net.history.to_dict()
    metrics = told.pop("metrics", {})
    assert (told.pop("stopped"), sorted(metrics)) == (
        "interrupted",
        ["accuracy", "ended"] if whole else [],
    )
    assert {len(curve) for curve in (*told.values(), *metrics.values())} == {whole}
    net.save(tmp_path / "net.safetensors")
    read = gpubp.load(tmp_path / "net.safetensors").history
    assert (read.loss, read.metrics) == (net.history.loss, net.history.metrics)


@pytest.mark.parametrize("every", [1, 2, 3, 200])
@pytest.mark.parametrize("shuffle", [True, False])
def test_divergence_names_step_and_layer_and_goes_back(backend, every, shuffle, monkeypatch):
    """The weights put back are those before the last update that still had a finite loss."""
    monkeypatch.setattr(training, "STEPS_BETWEEN_LOOKS", every)
    x, y = blobs(40)
    settings = {"output": "identity", "backend": backend, "dtype": "float32", "dropout": 0.1}
    target = y * 1.0
    net = gpubp.Network([3, 4, 1], "relu", **settings)
    optimizer = gpubp.SGD(30.0, momentum=0.5)
    with pytest.raises(errors.DivergenceError, match="learning rate below 30") as caught:
        net.fit(x, target, optimizer=optimizer, epochs=50, batch_size=10, shuffle=shuffle)
    assert net.history.stopped == "diverged"
    assert caught.value.layer == "the loss" or caught.value.layer.startswith("layer ")
    twin = gpubp.Network([3, 4, 1], "relu", **settings)
    losses, kept = [], []
    for step in range(caught.value.step):
        epoch, index = divmod(step, 4)
        order = permutation(0, epoch, 40) if shuffle else np.arange(40)
        rows = order[index * 10 : index * 10 + 10]
        kept.append(parameters(twin))
        if step + 1 < caught.value.step:
            losses.append(twin.train_step(x[rows], target[rows], optimizer))
    with pytest.raises(errors.DivergenceError) as single:
        twin.train_step(x[rows], target[rows], optimizer)
    assert single.value.layer == caught.value.layer
    assert np.isfinite(losses).all()
    np.testing.assert_array_equal(parameters(net), kept[-2])


def test_divergence_of_a_single_step_leaves_the_parameters(backend):
    net = gpubp.Network([3, 4, 1], backend=backend)
    net.layers[1].weight[...] = 3e38
    net.layers[0].weight[...] = 3e38
    before = parameters(net)
    with pytest.raises(errors.DivergenceError, match=r"layer 2 \(weighted sum\)|layer 1") as caught:
        net.train_step(np.full((2, 3), 0.1), [1.0, 2.0])
    assert caught.value.step == 1
    np.testing.assert_array_equal(parameters(net), before)


def test_weights_that_overflow_in_the_very_last_step_are_found():
    net = gpubp.Network([1, 1], backend="cpu")
    net.layers[0].weight[...] = 1e18
    with pytest.raises(errors.DivergenceError) as caught:
        net.fit([[1e18]], [[0.0]], optimizer=gpubp.SGD(1e5), epochs=1)
    assert caught.value.step in (1, 2)
    assert np.isfinite(net.parameters).all()


def test_progress_lines_where_there_is_no_terminal(capsys):
    x, y = blobs(20)
    net = gpubp.Network([3, 2], output="softmax", backend="cpu")
    net.fit(x, y, epochs=2, validation=(x, y), progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "validation" in lines[0]


def test_history_is_plain_data():
    import json

    x, y = blobs(20)
    net = gpubp.Network([3, 2], output="softmax", backend="cpu")
    history = net.fit(x, y, epochs=2)
    assert json.loads(json.dumps(history.to_dict()))["loss"] == history.loss
    assert len(history.seconds) == 2
    assert net.history is history


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adagrad", "adam", "adamw", "nadam", "lion"])
def test_every_optimizer_by_name(backend, name):
    x, y = blobs()
    net = gpubp.Network([3, 8, 2], "tanh", "softmax", backend)
    before = net.evaluate(x, y)["loss"]
    net.fit(x, y, optimizer=name, epochs=5)
    assert net.evaluate(x, y)["loss"] < before


def test_evaluate_measures(backend):
    net = gpubp.Network([2, 2], output="softmax", backend=backend, dtype="float64")
    net.layers[0].weight[...] = net.backend.asarray(np.eye(2))
    x = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    measures = net.evaluate(x, [0, 1, 1])
    assert measures["accuracy"] == pytest.approx(2 / 3)
    expected = np.mean([np.log1p(np.exp(-2)), np.log1p(np.exp(-1)), np.log1p(np.exp(3))])
    assert measures["loss"] == pytest.approx(expected)
    yes_no = gpubp.Network([1, 1], output="sigmoid", backend=backend)
    yes_no.layers[0].weight[...] = 1
    assert yes_no.evaluate([[-1.0], [1.0], [2.0]], [0, 1, 0])["accuracy"] == pytest.approx(2 / 3)
    text_network = gpubp.Network([2, 2], output="sigmoid", backend=backend)
    text_network.layers[0].weight[...] = text_network.backend.asarray(np.eye(2))
    measures = text_network.evaluate(x, [0, 1, 1], loss="squared_error")
    assert measures["accuracy"] == pytest.approx(2 / 3)
    number = gpubp.Network([1, 1], backend=backend)
    assert set(number.evaluate([[1.0]], [[1.0]])) == {"loss"}
