"""How many kernels and products a recorded step is, and that fewer of them do the same."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
import simulated.cublaslt
import simulated.cupy
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from gpubp.backends.gpu.tuning import Tuner
from kernel_compilation import host_compiler
from simulated.ways import WAYS, taken

pytestmark = pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)
RANDOM = np.random.default_rng(0)
ROWS = 90
X = RANDOM.standard_normal((ROWS, 20)).astype(np.float32)
CLASSES = RANDOM.integers(0, 4, ROWS)
WEIGHTS = RANDOM.uniform(0.1, 3, ROWS)


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Which way to do the same is taken: kernels apart, products with all they can, or tiles."""
    simulated.cupy.install(monkeypatch)
    simulated.cublaslt.install(monkeypatch)  # which refuses nothing that the real one may offer

    def fastest(tuner, key, names, times):
        times()
        return taken(request.param, names)

    monkeypatch.setattr(Tuner, "fastest", fastest)
    return request.param


def nodes(recorded):
    """Return the nodes of a recorded step: of one, where several are in a recording."""
    several = recorded.several
    if several is not None and several.recorded:
        (graph,) = several._graphs.values()
        count, rest = divmod(len(graph.launches), 8)
        assert rest == 0
        return count
    (graph,) = recorded.one._graphs.values()
    return len(graph.launches)


def branches(recorded):
    """Return how many streams a recorded step goes on in besides its own."""
    (graph,) = recorded.one._graphs.values()
    return len(graph._branches)


def trained(backend, network=None, **settings):
    given = {"activation": "relu", "output": "softmax", "seed": 1} | (network or {})
    net = gpubp.Network([20, 64, 64, 4], backend=backend, **given)
    how = {"batch_size": 32, "epochs": 12, "optimizer": gpubp.Adam(0.01)} | settings
    net.fit(X, CLASSES, **how)
    return net


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16", "float16"])
def test_a_step_of_three_layers(way, prepared, precision):
    x, y = np.tile(X, (4, 1))[:320], np.tile(CLASSES, 4)[:320]
    net = gpubp.Network([20, 512, 512, 4], output="softmax", backend="gpu", precision=precision)
    net.fit(x, y, batch_size=32, epochs=3)
    (step,) = prepared()
    expected = {"apart": 17, "epilogues": 10, "tiles": 7}
    if precision == "float16":
        # a loss that is scaled ends in a kernel of its own, which looks whether it overflowed, and
        # there are no kernels of blocks
        expected = {"apart": 21, "epilogues": 17, "tiles": 17}
    assert nodes(step) == expected[way]


every_setting = pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sample_weight": WEIGHTS},
        {"accumulate": 2},
        {"shuffle": False, "batch_size": 90},
        {"regularization": gpubp.Regularization(alpha=0.1)},
        {"average": 0.9},
        {"optimizer": "sgd", "batch_size": 7},
    ],
    ids=str,
)


@every_setting
@pytest.mark.parametrize("network", [{}, {"dropout": 0.2}, {"normalization": "layer"}], ids=str)
def test_every_step_is_that_of_plain_numpy(way, network, settings):
    """Also the short last batch of an epoch, and batches of an update that is not full."""
    net = trained("gpu", network | {"dtype": "float64"}, **settings)
    exact = trained(NumpyBackend(), network | {"dtype": "float64"}, **settings)
    np.testing.assert_allclose(net.history.loss, exact.history.loss, rtol=1e-9)
    parameters = net.backend.to_numpy(net.parameters)
    np.testing.assert_allclose(parameters, exact.parameters, rtol=1e-6, atol=1e-8)


def test_gradients_of_weights_go_beside_the_way_down(way, prepared):
    """The simulated GPU refuses two streams that use the same bytes in no order."""
    trained("gpu", {"dropout": 0.2})
    assert all(
        branches(step) == {"apart": 0, "epilogues": 1, "tiles": 0}[way] for step in prepared()
    )


@every_setting
@pytest.mark.parametrize(
    "network", [{}, {"dropout": 0.2}, {"activation": "silu"}, {"normalization": "batch"}], ids=str
)
def test_steps_in_single_precision_are_those_of_plain_numpy(way, network, settings):
    net = trained("gpu", network, **settings)
    exact = trained(NumpyBackend(), network | {"dtype": "float64"}, **settings)
    np.testing.assert_allclose(net.history.loss, exact.history.loss, rtol=1e-4)


def test_losses_of_many_rows_are_added_up_in_groups(way):
    x, y = np.tile(X, (30, 1)), np.tile(CLASSES, 30)
    losses = []
    for backend in ("gpu", NumpyBackend()):
        net = gpubp.Network([20, 8, 4], output="softmax", backend=backend, dtype="float64")
        losses.append(net.fit(x, y, batch_size=1500, epochs=4).loss)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
