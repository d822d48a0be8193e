"""Networks made ill on purpose, and what is said of them."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import gpubp
from gpubp import errors


def data(rows=200, scale=1.0):
    random = np.random.default_rng(0)
    x = (scale * random.standard_normal((rows, 6))).astype(np.float32)
    return x, random.integers(0, 4, rows)


def network(backend="cpu", activation="relu", hidden=(16, 16), **settings):
    return gpubp.Network([6, *hidden, 4], activation, "softmax", backend, **settings)


def test_a_new_network_on_scaled_inputs_is_well(backend):
    x, y = data()
    report = network(backend).health(x, y)
    assert report.findings == ()
    assert report.expected_first_loss == pytest.approx(math.log(4))
    assert math.log(4) / 2 < report.loss < 2 * math.log(4)
    assert report.not_finite == ""
    assert [layer.activation for layer in report.layers] == ["relu", "relu", "softmax"]
    assert "nothing stands out" in str(report)


def test_numbers_are_those_of_numpy(backend):
    """Norms, dead and saturated shares and the update, computed by hand for one layer."""
    x, y = data()
    net = gpubp.Network([6, 4], "relu", "sigmoid", backend, dtype="float64")
    target = np.eye(4)[y]
    weight = np.linspace(-3, 3, 24).reshape(6, 4)
    bias = np.array([0.0, 9.0, -9.0, 1.0])
    net.layers[0].weight[...] = net.backend.asarray(weight)
    net.layers[0].bias[...] = net.backend.asarray(bias)
    (layer,) = net.health(x, target, optimizer=gpubp.SGD(0.5)).layers
    output = 1 / (1 + np.exp(-(x @ weight + bias)))
    slope = output * (1 - output)
    assert layer.saturated == pytest.approx((slope < 0.05 * 0.25).mean())
    delta = (output - target) / len(x)
    gradient = np.concatenate([(x.T @ delta).ravel(), delta.sum(0)])
    norm = np.linalg.norm(gradient)
    weights = np.linalg.norm(np.concatenate([weight.ravel(), bias]))
    assert layer.gradient_norm == pytest.approx(norm, rel=1e-6)
    assert layer.weight_norm == pytest.approx(weights, rel=1e-12)
    assert layer.update_ratio == pytest.approx(0.5 * norm / weights, rel=1e-6)


def test_the_network_is_left_as_it_is(backend):
    x, y = data()
    net = network(backend)
    net.fit(x, y, epochs=2)
    arrays = (net.parameters, net.gradients, *net._state.arrays)
    before = [net.backend.to_numpy(array).copy() for array in arrays]
    net.health(x, y)
    for array, kept in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(net.backend.to_numpy(array), kept)


def test_the_update_is_the_one_that_training_does_next():
    x, y = data()
    net = network(dtype="float64")
    net.fit(x, y, optimizer=gpubp.Adam(0.01), epochs=3, batch_size=len(x))
    report = net.health(x, y, optimizer=gpubp.Adam(0.01))
    before = net.layers[0].weight.copy(), net.layers[0].bias.copy()
    net.train_step(x, y, gpubp.Adam(0.01))
    after = net.layers[0].weight, net.layers[0].bias
    moved = math.hypot(*(np.linalg.norm(a - b) for a, b in zip(after, before, strict=True)))
    weights = math.hypot(*(np.linalg.norm(part) for part in before))
    assert report.layers[0].update_ratio == pytest.approx(moved / weights, rel=1e-9)


def ill_dead(net):
    net.layers[1].bias[:12] = -1e3


def ill_saturated(net):
    net.layers[0].weight[...] *= 1e3


def ill_large(net):
    net.layers[2].weight[...] *= 1e3


def ill_not_finite(net):
    net.layers[1].weight[2, 3] = np.nan


ILLS = [
    ("relu", ill_dead, "adam", "layer 2: 75% of its units are dead: lower the learning rate, or"),
    ("tanh", ill_saturated, "adam", r"layer 1: \d+% of its outputs are saturated: scale the inp"),
    ("relu", ill_not_finite, "adam", r"layer 2 \(weight\) is not finite: lower the learning rate"),
    ("relu", None, gpubp.SGD(100.0), r"layer 1: a step changes its weights by \d+%: lower the le"),
    ("relu", None, gpubp.SGD(1e-9), r"layer 1: a step changes its weights by \de-\d+ of their s"),
]


@pytest.mark.parametrize(("activation", "ill", "optimizer", "message"), ILLS)
def test_each_illness_is_named_with_its_remedy(backend, activation, ill, optimizer, message):
    x, y = data()
    net = network(backend, activation)
    if ill:
        ill(net)
    report = net.health(x, y, optimizer=optimizer)
    assert any(re.match(message, finding) for finding in report.findings), report
    assert str(report).splitlines()[-1] == report.findings[-1]


def test_a_loss_worse_than_knowing_nothing_counts_at_every_step(backend):
    x, y = data()
    net = network(backend)
    ill_large(net)
    first = next(each for each in net.health(x, y).findings if "loss" in each)
    assert re.match(r"the first loss is \S+ where knowing nothing gives 1.39: scale", first)
    net.train_step(x, y, gpubp.SGD(1e-9))
    later = next(each for each in net.health(x, y).findings if "loss" in each)
    assert re.match(r"the loss is \S+ where knowing nothing gives 1.39: .* lower the lea", later)


def test_inputs_that_are_not_scaled_are_named(backend):
    x, y = data()
    x[:, 2] = 3000 + 100 * x[:, 2]
    size = np.sqrt((x[:, 2].astype(float) ** 2).mean())
    findings = network(backend).health(x, y).findings
    assert findings[0].startswith(f"input 2 has a root mean square of {size:.3g}: scale the inputs")
    small = network(backend).health(x * 1e-6, y).findings
    assert small[0].startswith(f"input 2 has a root mean square of {size * 1e-6:.3g}: scale")
    scaled = network(backend, input_scale=1e-3).health(x, y).findings
    assert not any(each.startswith("input") for each in scaled)


def test_codes_and_embedded_numbers_are_no_unscaled_inputs():
    x, y = data()
    x[:, 2] = np.arange(len(x)) % 50
    for settings in ({"categories": [0, 0, 50, 0, 0, 0]}, {"bins": gpubp.quantile_bins(x, 8)}):
        findings = network(**settings).health(x, y).findings
        assert not any(each.startswith("input") for each in findings)
    assert network().health(x, y).findings[0].startswith("input 2")


def test_watching_says_a_bad_loss_once_though_its_number_changes(capsys):
    x, y = data()
    net = network()
    ill_large(net)
    optimizer = gpubp.SGD(1e-6)
    watch = gpubp.HealthWatch(x, y, optimizer=optimizer)
    net.fit(x, y, optimizer=optimizer, epochs=4, callbacks=[watch])
    said = [line for line in capsys.readouterr().err.splitlines() if " the loss is" in line]
    assert len(said) == 1


def test_targets_that_are_not_scaled_are_named(backend):
    x, _ = data()
    y = 5e5 + 1e5 * x[:, :1]
    net = gpubp.Network([6, 8, 1], backend=backend)
    report = net.health(x, y)
    variance = y.astype(float).var() / 2
    assert report.expected_first_loss == pytest.approx(variance, rel=1e-4)
    assert report.findings[0].startswith("target 0 has a root mean square of 4.97e+05: scale")
    assert any(each.startswith("the first loss is") for each in report.findings)
    scaled = (y - y.mean()) / y.std()
    assert gpubp.Network([6, 8, 1], backend=backend, seed=1).health(x, scaled).findings == ()


def test_deep_sigmoids_let_the_gradient_vanish():
    x, y = data()
    report = network(activation="sigmoid", hidden=(16,) * 12).health(x, y)
    assert "layer 1: its gradient has all but vanished: take relu" in report.findings[0]


def test_watching_a_training_says_each_finding_once(capsys):
    x, y = data()
    net = network()
    ill_dead(net)
    watch = gpubp.HealthWatch(x, y, optimizer=gpubp.SGD(1e-4), every=2)
    net.fit(x, y, optimizer=gpubp.SGD(1e-4), epochs=5, callbacks=[watch])
    assert [report.step for report in watch.reports] == [0, 4, 8]
    said = [line for line in capsys.readouterr().err.splitlines() if "dead" in line]
    assert said == [
        "after 0 steps, layer 2: 75% of its units are dead: lower the learning rate, or take"
        " leaky_relu"
    ]
    with pytest.raises(errors.ConfigurationError, match="every is 0"):
        gpubp.HealthWatch(x, y, every=0)


def test_targets_that_are_all_alike_have_no_loss_of_knowing_nothing():
    x, _ = data()
    report = gpubp.Network([6, 8, 1], backend="cpu").health(x, np.zeros((200, 1)))
    assert report.expected_first_loss is None
    assert "knowing nothing" not in str(report)
    assert report.to_dict()["layers"][0]["layer"] == 1


def test_the_table_is_readable():
    x, y = data()
    lines = str(network().health(x, y)).splitlines()
    assert lines[0].split() == [
        "layer", "activation", "dead", "saturated", "gradient", "weight", "update/weight",
    ]  # fmt: skip
    assert len({len(line) for line in lines[:4]}) == 1
    assert max(map(len, lines)) <= 80
