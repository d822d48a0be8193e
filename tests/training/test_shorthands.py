"""Short spellings: they do what the long ones do, or one line names the right one."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse

import gpubp
from gpubp import errors


def data(rows=100):
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, 3)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(int)


def network(backend="cpu", **settings):
    return gpubp.Network([3, 8, 2], output="softmax", backend=backend, **settings)


def trained(backend="cpu", **settings):
    net = network(backend)
    net.fit(*data(), epochs=2, **settings)
    return net.backend.to_numpy(net.parameters)


def test_sizes_that_are_no_list_are_refused_with_the_list():
    with pytest.raises(errors.ConfigurationError, match=r"sizes is 2; .* Network\(\[2, 16, 3\]\)"):
        gpubp.Network(2, 16, 3)


def test_a_class_stands_for_its_optimizer():
    given = trained(optimizer=gpubp.RMSProp)
    np.testing.assert_array_equal(given, trained(optimizer=gpubp.RMSProp()))
    for wrong in (3, dict, None.__class__):
        with pytest.raises(
            errors.ConfigurationError, match=r"optimizer is .*; a name, or settings"
        ):
            network().train_step(*data(), optimizer=wrong)


@pytest.mark.parametrize("kind", [gpubp.Adam, gpubp.AdamW, gpubp.SGD, gpubp.Lion, gpubp.RMSProp])
def test_other_names_of_an_optimizers_settings_are_answered_with_its_own(kind):
    with pytest.raises(errors.ConfigurationError, match=r"lr is no setting of \w+; learning_rate"):
        kind(lr=0.1)
    with pytest.raises(errors.UnknownNameError, match=r"did you mean 'learning_rate'\?"):
        kind(learning_rates=0.1)
    made = kind(learning_rate=0.1)
    assert pickle.loads(pickle.dumps(made)) == made == replace(kind(), learning_rate=0.1)


def test_one_callback_needs_no_list():
    x, y = data()
    stopping = gpubp.EarlyStopping(patience=1)
    history = network().fit(x, y, epochs=3, validation=(x, y), callbacks=stopping)
    assert stopping.best_epoch == history.epochs
    for wrong in (gpubp.EarlyStopping, [3]):
        with pytest.raises(errors.ConfigurationError, match=r"callbacks holds .*EarlyStopping"):
            network().fit(x, y, callbacks=wrong)


SAME_LOSSES = [
    ("mse", "squared_error", "identity"),
    ("mae", "absolute_error", "identity"),
    ("pinball", "quantile", "identity"),
    ("bce", "binary_cross_entropy", "sigmoid"),
    ("ce", "cross_entropy", "softmax"),
]


@pytest.mark.parametrize(("short", "name", "output"), SAME_LOSSES)
def test_usual_short_names_of_losses(short, name, output):
    x, y = data()
    net = gpubp.Network([3, 2], output=output, backend="cpu")
    expected = np.eye(2)[y]
    assert net.evaluate(x, expected, loss=short) == net.evaluate(x, expected, loss=name)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_share_of_the_rows_is_held_out(backend, weighted):
    """The loss is that of NumPy on the rows that were left out, in training and in measuring."""
    x, y = data(50)
    weights = np.linspace(1, 3, 50) if weighted else None
    net = network(backend, dtype="float64", seed=3)
    seen = []
    net.fit(
        x,
        y,
        epochs=1,
        batch_size=40,
        validation=0.2,
        sample_weight=weights,
        optimizer=gpubp.SGD(1e-12),
        shuffle=lambda epoch: seen.append(epoch) or np.arange(40),
    )
    assert seen  # 40 rows are trained on
    outputs = np.asarray(net.predict(x))
    losses = -np.log(outputs[np.arange(50), y])
    rng = np.random.Generator(np.random.Philox(key=np.array([3, 4 << 32], np.uint64)))
    order = rng.permutation(50)
    for found, rows in ((net.history.validation_loss, order[:10]), (net.history.loss, order[10:])):
        share = None if weights is None else weights[rows]
        assert found[0] == pytest.approx(np.average(losses[rows], weights=share), rel=1e-6)


def test_a_share_of_sparse_rows_is_held_out():
    x, y = data()
    dense = network().fit(x, y, epochs=2, validation=0.25)
    sparse = network().fit(scipy.sparse.csr_matrix(x), y, epochs=2, validation=0.25)
    assert sparse.validation_loss == pytest.approx(dense.validation_loss, rel=1e-6)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 2, True, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(errors.ConfigurationError, match=f"validation is {share!r}; a share"):
        network().fit(*data(), validation=share)


def test_a_share_that_leaves_no_rows_is_refused():
    with pytest.raises(errors.DataError, match=r"validation is 0.1 of 3 rows, which is 0 of them"):
        network().fit(*data(3), validation=0.1)


def test_metrics_are_in_the_history(backend):
    x, y = data()
    net = network(backend)

    def worst(expected, outputs):
        return 1 - outputs[np.arange(len(expected)), expected].min()

    history = net.fit(x, y, epochs=3, validation=(x, y), metrics=("accuracy", "auc", worst))
    assert list(history.metrics) == ["accuracy", "auc", "worst"]
    outputs = np.asarray(net.predict(x))
    assert history.metrics["accuracy"][-1] == (outputs.argmax(axis=1) == y).mean()
    assert history.metrics["worst"][-1] == worst(y, outputs)
    assert all(len(values) == 3 for values in history.metrics.values())
    assert list(net.fit(x, y, epochs=1, validation=0.5, metrics="auc").metrics) == ["auc"]


def test_metrics_that_cannot_be_measured_are_refused():
    x, y = data()
    for wrong, message in (
        ({"metrics": "acc"}, "unknown metric 'acc'.*accuracy"),
        ({"metrics": [3]}, "metrics holds 3; names, or functions"),
        ({"metrics": "accuracy"}, r"metric 'accuracy' without validation data; fit\(validation"),
    ):
        with pytest.raises(errors.ConfigurationError, match=message):
            network().fit(x, y, **wrong)


def test_a_folder_is_no_model_file(tmp_path):
    network().fit(*data(), epochs=1, checkpoint=tmp_path)
    message = f"{re.escape(str(tmp_path))} is a folder; a model file is needed. .*resume=True"
    with pytest.raises(errors.ModelFileError, match=message):
        gpubp.Network.load(tmp_path)
