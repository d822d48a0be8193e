"""Steps in one launch learn what recorded steps learn; the faster way is taken, and remembered."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
import simulated.cupy
from gpubp.backends.gpu import persistent
from gpubp.backends.gpu.tuning import Tuner
from kernel_compilation import host_compiler

pytestmark = pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)
RANDOM = np.random.default_rng(0)
ROWS = 290
X = RANDOM.normal(size=(ROWS, 6)).astype(np.float32)
Y = RANDOM.integers(0, 3, ROWS)
FORMS = {
    "relu": {"network": {"activation": "relu"}},
    "float64": {"network": {"dtype": "float64"}},
    "dropout and normalised rows": {"network": {"dropout": 0.2, "normalization": "layer"}},
    "normalised batches": {"network": {"normalization": "batch"}},
    "bins": {"network": {"bins": gpubp.quantile_bins(X, 4)}},
    "rows that weigh": {"sample_weight": RANDOM.uniform(0.1, 2, ROWS)},
    "decay and clipping": {
        "optimizer": gpubp.AdamW(0.01, weight_decay=0.1),
        "regularization": gpubp.Regularization(l1=1e-3, clip_norm=0.5),
    },
    "a mean of the weights": {"average": 0.9},
}


def trained(monkeypatch, way, network=None, **options):
    """Return a network trained on a new device, and the ways that were asked for."""
    asked = []

    def fastest(tuner, key, names, times):
        measured = times()
        assert set(measured) == set(names)
        asked.append(names)
        return way if way in names else names[0]

    monkeypatch.setattr(Tuner, "fastest", fastest)
    simulated.cupy.install(monkeypatch, major=9)
    given = {"output": "softmax", "seed": 1} | (network or {})
    net = gpubp.Network([6, 16, 16, 3], backend="gpu", **given)
    net.fit(X, Y, **({"epochs": 3, "batch_size": 16} | options))
    return net, asked


@pytest.mark.parametrize("form", FORMS)
def test_steps_in_one_launch_learn_what_recorded_steps_learn(monkeypatch, form):
    nets = [trained(monkeypatch, way, **FORMS[form])[0] for way in ("persistent", "recorded")]
    one, other = (net.parameters.get() for net in nets)
    rtol = 1e-10 if one.dtype == np.float64 else 1e-4
    np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol / 10)
    np.testing.assert_allclose(nets[0].history.loss, nets[1].history.loss, rtol=rtol)


def test_the_trial_leaves_no_trace(monkeypatch):
    """Steps are timed on the arrays of the training, which are as before afterwards."""
    timed, asked = trained(monkeypatch, "recorded")
    assert ["recorded", "persistent"] in asked
    monkeypatch.setattr(persistent, "LARGEST", 0)
    alone, asked = trained(monkeypatch, "recorded")
    assert ["recorded", "persistent"] not in asked
    np.testing.assert_array_equal(timed.parameters.get(), alone.parameters.get())
    assert timed.history.loss == alone.history.loss


@pytest.mark.parametrize(
    ("major", "network", "options"),
    [
        (8, {}, {}),  # no clusters
        (9, {"precision": "bfloat16"}, {}),
        (9, {}, {"accumulate": 2}),  # a step that does not end in its update
    ],
)
def test_steps_that_cannot_be_in_one_launch_are_recorded(monkeypatch, major, network, options):
    simulated.cupy.install(monkeypatch, major=major)
    monkeypatch.setattr(persistent.FasterSteps, "__init__", None)
    net = gpubp.Network([6, 16, 3], backend="gpu", output="softmax", **network)
    net.fit(X, Y, epochs=2, batch_size=29, **options)
    assert np.isfinite(net.history.loss).all()


def test_a_kernel_of_steps_compiles_and_spills_no_registers(monkeypatch):
    pytest.importorskip("cuda.bindings.nvrtc", reason="needs the wheel cuda-bindings")
    from nvrtc_compilation import compile_nvrtc, spills

    try:
        compile_nvrtc("", "sm_90")
    except Exception as error:
        pytest.skip(f"NVRTC cannot be used: {error}")

    kernels = []
    before = persistent.PersistentSteps.__init__

    def keep(steps, *given):
        before(steps, *given)
        kernels.append(steps._kernel)

    monkeypatch.setattr(persistent.PersistentSteps, "__init__", keep)
    trained(monkeypatch, "recorded", {"dropout": 0.2})
    kernel = kernels[0]
    assert spills(kernel.code, "sm_90")[kernel.name] == 0
