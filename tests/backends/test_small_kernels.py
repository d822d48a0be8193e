"""The two kernels of a small network's step: equal to the step by layers, and chosen by time."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
import simulated.cupy
from gpubp.backends.gpu import cupy_backend as _cupy
from gpubp.backends.gpu.small_kernels import MOST_ROWS, WIDEST, SmallLayer, is_small
from gpubp.training.device_steps import DeviceSteps
from gpubp.training.settings import WHOLE
from kernel_compilation import host_compiler

pytestmark = pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)
CASES = [
    ([5, 8, 3], "gelu", "softmax", 0.2, "adam"),
    ([5, 8, 3], "relu", "sigmoid", 0.0, "sgd"),
    ([5, 130 - 2, 7, 2], "tanh", "identity", (0.0, 0.3), "rmsprop"),
    ([5, 33, 1], "silu", "tanh", 0.0, "adam"),
    ([5, 2], "relu", "softmax", 0.0, "adamw"),
]


def fit(monkeypatch, way, sizes, activation, output, dropout, optimizer, dtype="float64"):
    """Train by one of the ways; return losses, gradients and parameters."""
    simulated.cupy.install(monkeypatch)
    used = []

    def choose(self, key, ways):
        used.append(way)
        assert list(ways) == ["layers", "rows"]
        return way

    monkeypatch.setattr(_cupy.CupyBackend, "choose", choose)
    random = np.random.default_rng(0)
    x = random.standard_normal((70, 5))
    y = random.integers(0, sizes[-1], 70) if output == "softmax" else random.random((70, sizes[-1]))
    net = gpubp.Network(sizes, activation, output, "gpu", dtype, dropout=dropout, seed=2**64 - 1)
    history = net.fit(x, y, epochs=4, batch_size=32, optimizer=optimizer)
    assert used
    return history.loss, *(net.backend.to_numpy(part) for part in (net.gradients, net.parameters))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1]}-{case[2]}")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_ways_do_the_same_step(monkeypatch, case, dtype):
    by_layers = fit(monkeypatch, "layers", *case, dtype)
    by_rows = fit(monkeypatch, "rows", *case, dtype)
    tolerance = {"float32": 2e-4, "float64": 1e-9}[dtype]
    for one, other in zip(by_layers, by_rows, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * 1e-2)
    assert not all(
        np.array_equal(one, other) for one, other in zip(by_layers, by_rows, strict=True)
    ), "one of them was not used"


def test_what_is_small():
    layer = SmallLayer(784, WIDEST, "relu", 0.0)
    assert is_small([layer], MOST_ROWS)
    assert not is_small([layer], MOST_ROWS + 1)
    assert not is_small([SmallLayer(784, WIDEST + 1, "relu", 0.0)], 1)
    assert not is_small([SmallLayer(784, 10, "softmax", 0.0)], 1)


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_other_precisions_go_by_layers(monkeypatch, precision):
    simulated.cupy.install(monkeypatch)
    monkeypatch.setattr(_cupy.CupyBackend, "choose", None)
    net = gpubp.Network([5, 8, 3], output="softmax", backend="gpu", precision=precision)
    net.fit(np.ones((20, 5)), np.zeros(20, int), epochs=1)


def test_timing_the_ways_leaves_no_trace(monkeypatch, tmp_path):
    """The trial steps train, so everything is put back before the first real step.

    The simulated events measure the same time for all ways, so that the first is chosen.
    """
    found = []
    for tuning in ("off", str(tmp_path / "tuning.json")):
        simulated.cupy.install(monkeypatch)
        monkeypatch.setenv("GPUBP_TUNING", tuning)
        random = np.random.default_rng(0)
        x, y = random.standard_normal((70, 5)), random.integers(0, 3, 70)
        net = gpubp.Network([5, 8, 3], "gelu", "softmax", "gpu", dropout=0.2)
        losses = net.fit(x, y, epochs=3, batch_size=32).loss
        found.append((losses, net.backend.to_numpy(net.parameters).tobytes()))
    assert found[0] == found[1]
    assert "step 32x1" in (tmp_path / "tuning.json").read_text()


def test_a_recording_of_the_small_kernels_is_replayed(monkeypatch):
    made = []
    before = DeviceSteps.__init__

    def init(self, *arguments):
        before(self, *arguments)
        made.append(self)

    monkeypatch.setattr(DeviceSteps, "__init__", init)
    fit(monkeypatch, "rows", *CASES[0])
    (steps,) = made
    assert steps._recordings[32, 32, 1, 0, WHOLE].recorded
