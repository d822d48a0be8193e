"""Settings that follow a schedule of their own, against trainings whose settings were changed."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gpubp
from gpubp import Constant, CosineDecay, CosineWaves, FlatCosine, StepDecay, errors, losses
from gpubp.backends.random import DROPOUT, generator
from gpubp.backends.scheduled import Scheduled, value_of
from thread_ranks import run_ranks

RANDOM = np.random.default_rng(0)
X, CLASSES = RANDOM.standard_normal((48, 3)), RANDOM.integers(0, 4, 48)
WAVES, FLAT = CosineWaves(0.4, 12, waves=2), FlatCosine(1.5, 12)
ROWS = {"optimizer": gpubp.SGD(0.2), "batch_size": 16, "shuffle": False}  # three steps an epoch


def network(backend="cpu", output="softmax", **settings):
    given = {"dtype": "float64", "dropout": [0.3, 0.5]} | settings
    return gpubp.Network([3, 7, 6, 4], "tanh", output, backend, **given)


def host(net):
    return net.backend.to_numpy(net.parameters)


def by_single_steps(net, steps, settings):
    """Train by steps of other settings each, which `settings` gives for a number of updates."""
    y = np.eye(4)[CLASSES]
    for step in range(steps):
        rows = slice(16 * (step % 3), 16 * (step % 3) + 16)
        net.train_step(X[rows], y[rows], **settings(step))
    return host(net)


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
@pytest.mark.parametrize("weights", [None, RANDOM.random(48)], ids=["alike", "weighted"])
def test_label_smoothing_follows_its_schedule(backend, output, weights):
    binary = output == "sigmoid"

    def smoothed_by_hand(step):
        rows = slice(16 * (step % 3), 16 * (step % 3) + 16)
        own = None if weights is None else weights[rows]
        s, parts = WAVES(step), 2 if binary else 4
        return X[rows], (1 - s) * np.eye(4)[CLASSES[rows]] + s / parts, own

    by_hand, net = network(backend, output), network(backend, output)
    for step in range(15):
        x, y, own = smoothed_by_hand(step)
        by_hand.train_step(x, y, gpubp.SGD(0.2), sample_weight=own)
    loss = losses.cross_entropy(WAVES, binary)
    history = net.fit(X, CLASSES, loss=loss, epochs=5, sample_weight=weights, **ROWS)
    np.testing.assert_allclose(host(net), host(by_hand), rtol=1e-10, atol=1e-13)
    assert history.epochs == 5


def test_dropout_follows_its_schedule(backend):
    """Against networks of these rates, made anew for every step."""
    net = network(backend)
    net.fit(X, CLASSES, epochs=4, dropout_factor=FLAT, **ROWS)
    parameters = host(network(backend))
    for step in range(12):
        rates = [0.3 * FLAT(step), 0.5 * FLAT(step)]
        one = network(backend, dropout=rates)
        one.parameters[...] = one.backend.asarray(parameters)
        one._state.step = step
        rows = slice(16 * (step % 3), 16 * (step % 3) + 16)
        one.train_step(X[rows], CLASSES[rows], gpubp.SGD(0.2))
        parameters = host(one).copy()
    np.testing.assert_allclose(host(net), parameters, rtol=1e-10, atol=1e-13)


def test_a_scheduled_rate_drops_what_the_random_numbers_say(backend, scratch):
    x = backend.asarray(1.0 + np.arange(60.0).reshape(10, 6))
    y = backend.xp.empty_like(x)
    clock = backend.asarray(np.array([5, 0, 2], np.int64))
    rates = backend.asarray(np.array([0.1, 0.9, 0.25]))
    backend.dropout(x, y, Scheduled(rates, clock), (7, DROPOUT, clock), scratch)
    numbers = generator(7, DROPOUT, 5).random((10, 6), np.float32)
    expected = np.where(numbers < 0.25, 0, backend.to_numpy(x) / 0.75)
    np.testing.assert_array_equal(backend.to_numpy(y), expected)
    assert value_of(Scheduled(rates, clock)) == 0.25


@pytest.mark.parametrize("schedule", [None, 1.0, Constant(1.0)], ids=str)
def test_a_factor_of_one_changes_no_bit(backend, schedule):
    net, plain = network(backend, dtype="float32"), network(backend, dtype="float32")
    net.fit(X, CLASSES, epochs=3, dropout_factor=schedule, **ROWS)
    plain.fit(X, CLASSES, epochs=3, **ROWS)
    np.testing.assert_array_equal(host(net), host(plain))


def test_a_schedule_that_stays_is_its_number(backend):
    net, plain = network(backend, dtype="float32"), network(backend, dtype="float32")
    net.fit(X, CLASSES, epochs=3, loss=losses.cross_entropy(Constant(0.2)), **ROWS)
    plain.fit(X, CLASSES, epochs=3, loss=losses.cross_entropy(0.2), **ROWS)
    np.testing.assert_array_equal(host(net), host(plain))


def both(**settings):
    return {
        **{"loss": losses.cross_entropy(WAVES), "dropout_factor": FLAT},
        **{"optimizer": gpubp.AdamW(0.1, weight_decay=FlatCosine(0.4, 12))},
        **{"batch_size": 16, "epochs": 4},
        **settings,
    }


def test_single_steps_follow_the_schedules_too(backend):
    net, other = network(backend), network(backend)
    settings = both(shuffle=False)
    net.fit(X, CLASSES, **settings)
    single = {name: settings[name] for name in ("loss", "dropout_factor", "optimizer")}
    found = by_single_steps(other, 12, lambda step: single)
    np.testing.assert_allclose(found, host(net), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("batches", [1, 3])
def test_gathered_batches_take_the_numbers_of_their_update(batches):
    """With one batch an update as always; with three as one batch of all rows."""
    net, whole = network(dropout=0.0), network(dropout=0.0)
    net.fit(X, CLASSES, **both(accumulate=batches))
    whole.fit(X, CLASSES, **both(batch_size=16 * batches))
    np.testing.assert_allclose(host(net), host(whole), rtol=1e-8, atol=1e-10)


def test_a_training_goes_on_to_the_same_bits(tmp_path, backend):
    pytest.importorskip("safetensors")
    whole = network(backend)
    whole.fit(X, CLASSES, **both())
    network(backend).fit(X, CLASSES, **both(epochs=2, checkpoint=tmp_path))
    rest = network(backend)
    rest.fit(X, CLASSES, **both(checkpoint=tmp_path, resume=True))
    np.testing.assert_array_equal(host(rest), host(whole))
    other = both(checkpoint=tmp_path, resume=True, dropout_factor=None)
    with pytest.raises(errors.CheckpointError, match="of another run: dropout_factor is"):
        network(backend).fit(X, CLASSES, **other)


@pytest.mark.parametrize("settings", [{}, {"deterministic": True}], ids=str)
def test_several_processes_train_as_one(settings):
    expected = network(dropout=0.0)
    expected.fit(X, CLASSES, **both())
    given = both(dropout_factor=FLAT, **settings)

    def work(talk):
        net = network(dropout=0.0)
        net.fit(X, CLASSES, distributed=talk, **given)
        return host(net)

    for found in run_ranks(3, work):
        np.testing.assert_allclose(found, host(expected), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("number", [1, 3, 4])
def test_any_number_of_processes_gives_the_same_bits(number):
    def work(talk):
        net = network()
        net.fit(X, CLASSES, **both(distributed=talk, deterministic=True, shards=8))
        return host(net)

    np.testing.assert_array_equal(run_ranks(number, work)[0], run_ranks(2, work)[0])


def test_steps_of_schedules_are_done_in_one_call():
    from gpubp.backends.cpu.compiled_backend import CompiledBackend
    from gpubp.backends.cpu.planned_steps import PlannedSteps

    net = network()
    if not isinstance(net.backend, CompiledBackend):
        pytest.skip("no compiled kernels")
    net.train_step(X, CLASSES, loss=losses.cross_entropy(WAVES), dropout_factor=FLAT)
    ((_, step),) = net.stack.buffers(48).prepared.values()
    assert isinstance(step._run, PlannedSteps)


def test_weight_decay_follows_its_schedule():
    decay = StepDecay(0.4, 2, 0.5)
    for optimizer in (gpubp.AdamW, gpubp.Lion):
        scheduled = optimizer(CosineDecay(0.1, 10), weight_decay=decay)
        for step in (1, 2, 3, 7):
            constant = optimizer(CosineDecay(0.1, 10), weight_decay=decay(step - 1))
            assert scheduled.scalars(step) == constant.scalars(step)
            shrink = 1 - CosineDecay(0.1, 10)(step - 1) * decay(step - 1) * 0.5
            assert scheduled.scalars(step, decay=0.5)[-1] == pytest.approx(shrink, rel=1e-15)


def test_waves_end_where_each_doubling_ends():
    waves = CosineWaves(2.0, 1500)
    for end in (0, 100, 300, 700, 1500, 9999):  # 15 t + 1 is 1, 2, 4, 8, 16
        assert waves(end) == pytest.approx(0, abs=1e-12)
    top = (math.sqrt(2) - 1) * 100
    assert waves(top) == pytest.approx(2.0, rel=1e-12)
    assert all(0 <= waves(step) <= 2.0 for step in range(1600))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.cross_entropy(Constant(1.0)), "label_smoothing is Constant.*below 1"),
        (lambda: {"dropout_factor": -0.5}, "dropout_factor is -0.5; a finite number from 0"),
        (lambda: {"dropout_factor": "half"}, "dropout_factor is 'half'; a finite number from 0"),
        (
            lambda: {"dropout_factor": CosineDecay(2.0, 9)},
            "goes up to 2 with a dropout of 0.5; .*2",
        ),
        (lambda: gpubp.AdamW(0.5, weight_decay=Constant(2.0)), "weight_decay is Constant"),
        (lambda: CosineWaves(0.1, 10, 0), "waves is 0"),
        (lambda: FlatCosine(0.1, 10, 1.0), "flat is 1.0; a number between 0 and 1"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        network().fit(X, CLASSES, **make())


class Lowered:
    """A schedule that a person changes between two trainings."""

    peak = 0.2

    def __call__(self, step):
        return self.peak


class Halved(gpubp.SGD):
    """An optimizer of one's own."""

    def scalars(self, step, factor=1.0, decay=1.0):
        return super().scalars(step, factor / 2, decay)


def test_settings_computed_once_are_those_of_this_optimizer():
    def trained(optimizer):
        net = network(dropout=0.0)
        net.fit(X, CLASSES, epochs=2, **ROWS | {"optimizer": optimizer})
        return host(net)

    changing = Lowered()
    first, by_number = trained(gpubp.SGD(changing)), trained(gpubp.SGD(0.2))
    changing.peak = 0.1
    lower = trained(gpubp.SGD(0.1))
    np.testing.assert_array_equal(first, by_number)
    np.testing.assert_array_equal(trained(gpubp.SGD(changing)), lower)
    np.testing.assert_array_equal(trained(Halved(0.2)), lower)
    np.testing.assert_array_equal(trained(gpubp.SGD(0.2)), by_number)
    assert np.abs(lower - by_number).max() > 1e-3
