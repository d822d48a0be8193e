"""Learning rates by schedule: worked values, PyTorch's where it is installed, on every backend."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gpubp
from gpubp import (
    Chain,
    Constant,
    CosineDecay,
    ExponentialDecay,
    OneCycle,
    StepDecay,
    WarmUp,
    errors,
)
from gpubp.nn.optimizer import rate_at
from gpubp.nn.optimizers import OPTIMIZERS
from gpubp.nn.schedule import Schedule, as_schedule

# schedule -> {steps done: learning rate}, worked out by hand
WORKED = [
    (Constant(0.5), {0: 0.5, 1000: 0.5}),
    (StepDecay(0.8, 10, 0.5), {0: 0.8, 9: 0.8, 10: 0.4, 25: 0.2}),
    (ExponentialDecay(1.0, 10, 0.01), {0: 1.0, 5: 0.1, 10: 0.01, 20: 1e-4}),
    (CosineDecay(1.0, 100, 0.2), {0: 1.0, 50: 0.6, 100: 0.2, 1000: 0.2}),
    (CosineDecay(1.0, 60), {20: 0.75, 40: 0.25}),
    (WarmUp(4, 1.0), {0: 0.25, 1: 0.5, 3: 1.0, 4: 1.0}),
    (WarmUp(2, StepDecay(0.4, 3, 0.5)), {0: 0.2, 1: 0.4, 2: 0.4, 4: 0.4, 5: 0.2}),
    (Chain([(3, 0.1), (2, Constant(0.2)), (1, StepDecay(0.3, 2, 0.5))]),
     {0: 0.1, 2: 0.1, 3: 0.2, 4: 0.2, 5: 0.3, 6: 0.3, 7: 0.15}),
    (OneCycle(1.0, 101, 0.51 - 1 / 101 / 2), {100: 4e-6, 1000: 4e-6}),
    (OneCycle(2.5, 10, 0.5), {0: 0.1, 4: 2.5, 2: 1.3, 9: 1e-5}),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "values"), WORKED, ids=lambda part: type(part).__name__)
def test_worked_values(schedule, values):
    assert isinstance(schedule, Schedule)
    for step, rate in values.items():
        assert schedule(step) == pytest.approx(rate, rel=1e-12)
    assert max(schedule(step) for step in range(200)) == pytest.approx(schedule.peak, rel=1e-3)


@pytest.mark.parametrize("steps", [7, 100])
@pytest.mark.parametrize("rising", [0.3, 0.5])
def test_one_cycle_is_pytorchs(steps, rising):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], 1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.7, steps, pct_start=rising)
    ours = OneCycle(0.7, steps, rising)
    for step in range(steps):
        assert ours(step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if step + 1 < steps:
            theirs.step()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(0), "rate is 0; a finite number above 0"),
        (lambda: StepDecay(0.1, 0), "every is 0"),
        (lambda: StepDecay(0.1, 5, 1.0), "factor is 1.0; a number between 0 and 1"),
        (lambda: ExponentialDecay(math.inf, 5), "rate is inf"),
        (lambda: CosineDecay(0.1, 5, 0.2), "final is 0.2; a number from 0 to the rate 0.1"),
        (lambda: WarmUp(5, "fast"), "learning_rate is 'fast'; a finite number above 0 or a sch"),
        (lambda: OneCycle(0.1, 10, 0), "rising is 0"),
        (lambda: Chain([]), "parts is empty"),
        (lambda: Chain([(0, 0.1)]), "steps is 0"),
        (lambda: gpubp.Adam(True), "learning_rate is True"),
        (lambda: gpubp.SGD(-1.0), "learning_rate is -1.0"),
        (lambda: gpubp.AdamW(CosineDecay(10.0, 5), weight_decay=0.2), "weight_decay is 0.2"),
        (lambda: gpubp.Lion(0.1, weight_decay=10.0), "weight_decay is 10.0"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        make()


def test_a_number_stays_a_constant_rate():
    assert as_schedule(0.3)(12345) == 0.3
    assert rate_at(gpubp.SGD(StepDecay(1.0, 2, 0.5)), 1) == 1.0
    assert rate_at(gpubp.SGD(StepDecay(1.0, 2, 0.5)), 3, factor=0.1) == pytest.approx(0.05)


def test_descent_follows_the_schedule(backend):
    """With the gradient always one, the parameters add up the rates."""
    net = gpubp.Network([1, 1], backend=backend, dtype="float64")
    net.layers[0].weight[...] = 0
    schedule = WarmUp(3, CosineDecay(0.1, 10))
    x, y = np.zeros((4, 1)), np.full((4, 1), 1e9)
    for _ in range(3):
        net.fit(x, y, optimizer=gpubp.SGD(schedule), loss="absolute_error", epochs=2, batch_size=1)
    expected = sum(schedule(step) for step in range(24))
    assert float(net.layers[0].bias[0]) == pytest.approx(expected, rel=1e-12)


def test_the_rate_falls_on_a_plateau(backend):
    """With the loss rising from the second epoch on, the rate falls every second epoch."""
    net = gpubp.Network([1, 1], backend=backend, dtype="float64")
    net.layers[0].weight[...] = 0
    x, y = np.zeros((4, 1)), np.full((4, 1), 1e9)
    rates, before = [], [0.0]

    class Rates(gpubp.ReduceOnPlateau):
        def epoch_end(self, net, history):
            bias = float(net.layers[0].bias[0])
            rates.append((bias - before[0]) / 4)
            before[0] = bias
            history.loss[-1] = float(len(history.loss))
            return super().epoch_end(net, history)

    watch = Rates(patience=2, factor=0.5, least=0.2)
    net.fit(
        x, y, optimizer=gpubp.SGD(1.0), loss="absolute_error", epochs=11, batch_size=1,
        callbacks=[watch],
    )  # fmt: skip
    expected = [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2, 0.2]
    assert rates == pytest.approx(expected, rel=1e-9)
    assert net._state.rate_factor == pytest.approx(0.2)
    with pytest.raises(errors.ConfigurationError, match="factor is 0; a finite number above 0"):
        net.scale_learning_rate(0)
    for settings in ({"patience": 0}, {"factor": 1.0}, {"least": 0}):
        with pytest.raises(errors.ConfigurationError, match=next(iter(settings))):
            gpubp.ReduceOnPlateau(**settings)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_a_schedule(name):
    constant, scheduled = (OPTIMIZERS[name](rate) for rate in (1e-3, Constant(1e-3)))
    for step in (1, 2, 1000):
        assert constant.scalars(step) == scheduled.scalars(step)
        halved = OPTIMIZERS[name](5e-4).scalars(step)
        assert scheduled.scalars(step, 0.5) == pytest.approx(halved, rel=1e-12)
