"""The best epoch by any metric, and an end when the time is over."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

import gpubp
from gpubp import EarlyStopping, TimeLimit, errors
from gpubp.training import fit as fitting
from gpubp.training import stopping as stopping_module
from gpubp.training.metrics import auc, mae, rmse
from thread_ranks import run_ranks

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((60, 3))
CLASSES = (X[:, 0] + RANDOM.standard_normal(60) > 0).astype(int)
NUMBERS = X[:, :2] + RANDOM.standard_normal((60, 2))
SETTINGS = {"optimizer": gpubp.Adam(0.1), "batch_size": 10, "epochs": 8}


def network(outputs=2, output="softmax", backend="cpu"):
    return gpubp.Network([3, 8, outputs], "tanh", output, backend, "float64")


def trained(stopping, net=None, y=CLASSES, **settings):
    net = network() if net is None else net
    given = {"validation": (X[40:], y[40:]), "callbacks": [stopping]} | SETTINGS | settings
    return net, net.fit(X[:40], y[:40], **given)


def spread(expected, outputs):
    """A metric of one's own: the largest of all outputs."""
    return outputs.max()


def of_predictions(name, y, found):
    if name == "accuracy":
        return (found.argmax(axis=1) == y).mean()
    if name == "auc":
        pairs = itertools.product(found[y == 1, 1], found[y == 0, 1])
        return np.mean([(a > b) + (a == b) / 2 for a, b in pairs])
    if name == "spread":
        return found.max()
    return np.sqrt(((found - y) ** 2).mean()) if name == "rmse" else abs(found - y).mean()


@pytest.mark.parametrize("name", ["accuracy", "auc", "rmse", "mae", "spread"])
def test_the_weights_of_the_best_epoch_by_a_metric(backend, name):
    numbers = name in ("rmse", "mae")
    y = NUMBERS if numbers else CLASSES
    net = network(2, "identity" if numbers else "softmax", backend)
    best = {"metric": spread, "mode": "min"} if name == "spread" else {"metric": name}
    stopping = EarlyStopping(None, **best)
    net, history = trained(stopping, net, y)
    values = history.metrics[name]
    assert (history.epochs, len(values), history.stopped) == (8, 8, "")
    largest = name in ("accuracy", "auc")
    assert stopping.best_loss == (max if largest else min)(values)
    assert values.index(stopping.best_loss) == stopping.best_epoch - 1
    found = of_predictions(name, y[40:], net.predict(X[40:]))
    assert found == pytest.approx(stopping.best_loss, rel=1e-12)
    assert history.columns()[name] == values
    assert history.to_dict()["metrics"] == {name: values}


def test_patience_and_min_delta_are_those_of_the_metric():
    values = iter([0.5, 0.6, 0.65, 0.8, 0.85, 0.8, 0.9])

    def told(expected, outputs):
        return next(values)

    stopping = EarlyStopping(2, 0.1, told, "max")
    _, history = trained(stopping)
    assert (stopping.best_epoch, stopping.best_loss, history.epochs) == (4, 0.8, 6)
    assert history.stopped == "early stopping"


def test_no_patience_keeps_the_best_loss():
    stopping = EarlyStopping(patience=None)
    net, history = trained(stopping, epochs=30)
    assert history.epochs == 30 > stopping.best_epoch
    loss = net.evaluate(X[40:], CLASSES[40:])["loss"]
    assert loss == pytest.approx(min(history.validation_loss), rel=1e-12)
    assert "metrics" not in history.to_dict()


def test_the_metrics_are_those_of_scikit_learn():
    measures = pytest.importorskip("sklearn.metrics")
    yes, found = RANDOM.integers(0, 2, 200), RANDOM.integers(0, 9, (200, 1)) / 8.0  # with ties
    assert auc(yes, found) == pytest.approx(measures.roc_auc_score(yes, found[:, 0]), rel=1e-12)
    both = np.hstack([1 - found, found])
    assert auc(yes, both) == auc(yes.reshape(-1, 1), found) == auc(yes, found)
    y, z = RANDOM.standard_normal((2, 50, 3))
    assert rmse(y, z) == pytest.approx(measures.mean_squared_error(y, z) ** 0.5, rel=1e-12)
    assert mae(y, z) == pytest.approx(measures.mean_absolute_error(y, z), rel=1e-12)


def test_a_checkpoint_keeps_the_metrics_and_the_best_weights(tmp_path):
    pytest.importorskip("safetensors")
    whole, history = trained(EarlyStopping(None, metric="auc"))
    trained(EarlyStopping(None, metric="auc"), epochs=5, checkpoint=tmp_path)
    rest, again = trained(EarlyStopping(None, metric="auc"), checkpoint=tmp_path, resume=True)
    assert again.metrics == history.metrics
    np.testing.assert_array_equal(rest.parameters, whole.parameters)
    with pytest.raises(errors.CheckpointError, match=r"EarlyStopping\(auc\)"):
        trained(EarlyStopping(None), checkpoint=tmp_path, resume=True)


def test_processes_keep_the_best_weights_of_the_first():
    expected, alone = trained(EarlyStopping(None, metric="auc"))

    def work(talk):
        net, history = trained(EarlyStopping(None, metric="auc"), distributed=talk)
        return net.parameters.copy(), history.metrics

    found = run_ranks(2, work)
    for parameters, _ in found:
        np.testing.assert_allclose(parameters, expected.parameters, rtol=1e-9)
    assert found[0][1]["auc"] == pytest.approx(alone.metrics["auc"], rel=1e-9)


def test_the_log_and_the_lines_show_metrics(tmp_path, capsys):
    path = tmp_path / "log.csv"
    callbacks = [EarlyStopping(metric="accuracy"), gpubp.CSVLog(path)]
    _, history = trained(None, callbacks=callbacks, epochs=2, progress=True)
    header, *rows = path.read_text().splitlines()
    assert header == "epoch,loss,validation_loss,accuracy,seconds"
    assert float(rows[1].split(",")[3]) == history.metrics["accuracy"][1]
    assert f"accuracy {history.metrics['accuracy'][0]:.4f}" in capsys.readouterr().err


class Clock:
    """Time that goes on by one second whenever it is looked at."""

    def __init__(self, monkeypatch):
        self.now = 0
        monkeypatch.setattr(stopping_module.time, "monotonic", self.tick)

    def tick(self):
        self.now += 1
        return self.now


def test_training_ends_in_the_middle_of_an_epoch_and_goes_on_to_the_same_bits(
    monkeypatch, tmp_path
):
    pytest.importorskip("safetensors")
    monkeypatch.setattr(fitting, "STEPS_BETWEEN_LOOKS", 1)
    stopping = [EarlyStopping(None)]
    whole, expected = trained(None, callbacks=[*stopping, TimeLimit(1e9)])
    given = {"checkpoint": tmp_path, "epochs": 8}
    with monkeypatch.context() as patch:
        Clock(patch)  # four looks and the epoch's end, an epoch
        _, history = trained(None, callbacks=[EarlyStopping(None), TimeLimit(12)], **given)
    assert (history.stopped, history.epochs) == ("time limit", 2)
    callbacks = [EarlyStopping(None), TimeLimit(1e9)]
    rest, again = trained(None, callbacks=callbacks, resume=True, **given)
    assert (again.stopped, again.epochs) == ("", 8)
    assert again.loss == expected.loss
    np.testing.assert_array_equal(rest.parameters, whole.parameters)


@pytest.mark.parametrize("ranks", [0, 2])
def test_the_time_is_over_after_an_epoch(monkeypatch, ranks):
    """Processes that train together finish it, whatever the looks within it say."""
    monkeypatch.setattr(fitting, "STEPS_BETWEEN_LOOKS", 1 if ranks else 200)
    settings = {"epochs": 1000}

    def work(talk=False):
        slow = TimeLimit(1e-9)
        return trained(slow, distributed=talk, **settings)[1]

    for history in run_ranks(ranks, work) if ranks else [work()]:
        assert (history.stopped, history.epochs) == ("time limit", 1)


def test_time_that_is_not_over_ends_nothing():
    start = time.monotonic()
    _, history = trained(TimeLimit(1000.0))
    assert time.monotonic() - start < 1000
    assert (history.stopped, history.epochs) == ("", 8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping(0), "patience is 0; a whole number above 0"),
        (lambda: EarlyStopping(metric="f1"), "unknown metric 'f1'"),
        (lambda: EarlyStopping(metric=spread), "mode is None; 'min' or 'max' is needed"),
        (lambda: EarlyStopping(metric="auc", mode="most"), "mode is 'most'; 'min' or 'max'"),
        (lambda: EarlyStopping(mode="max"), "mode is 'max' without a metric"),
        (lambda: TimeLimit(0), "seconds is 0; a finite number above 0"),
        (
            lambda: trained(EarlyStopping(metric="auc"), validation=None),
            "metric 'auc' without validation data",
        ),
        (
            lambda: trained(EarlyStopping(metric="rmse")),
            "rmse and mae with class indices as expected values",
        ),
        (
            lambda: trained(EarlyStopping(metric="auc"), network(3)),
            "auc with 3 outputs and expected values of shape",
        ),
        (
            lambda: trained(EarlyStopping(metric="accuracy"), network(2, "identity"), NUMBERS),
            "accuracy of a network with output 'identity'",
        ),
        (
            lambda: trained(
                None,
                callbacks=[
                    EarlyStopping(metric=lambda e, o: 0.0, mode="min"),
                    EarlyStopping(metric=lambda e, o: 1.0, mode="min"),
                ],
            ),
            "two metrics are called '<lambda>'",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        make()


def test_an_auc_of_one_class_alone_is_refused():
    validation = (X[:5], np.ones(5, int))
    with pytest.raises(errors.DataError, match="auc of 5 rows of yes and 0 of no"):
        trained(EarlyStopping(metric="auc"), validation=validation)
