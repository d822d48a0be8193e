"""Products by tiles, with all that follows them, against float64; and steps made of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import activation_truth as truth
import gpubp
import simulated.cupy
from conftest import params, real_gpu, simulated_gpu
from gpubp.backends.gpu import tiled_gradients, tiled_steps, tiles
from gpubp.backends.gpu.faster_steps import FasterSteps
from gpubp.backends.gpu.kernel_table import DERIVATIVE, IN_PLACE
from gpubp.backends.gpu.tiled_gradients import Layer
from gpubp.backends.gpu.tuning import Tuner
from gpubp.backends.precision import PRECISIONS

# of float32, of the sum of the magnitudes of all terms; of tf32 it would be 1e-4
FLOAT32_ERROR = 1e-6
BFLOAT16_ERROR = 2.0**-8  # of what is stored
TILINGS = sorted({tiling for table in tiles.ALONG.values() for _, tiling in table})
SHAPES = [(37, 45, 61), (64, 96, 784), (5, 4, 16), (128, 10, 52), (1, 1, 1)]
PRECISE = ("float32", "bfloat16")


@pytest.fixture(params=params("simulated-gpu", "gpu"))
def gpu(request, monkeypatch):
    found = simulated_gpu(monkeypatch) if request.param == "simulated-gpu" else real_gpu()
    if not found.has_matrix_units:
        pytest.skip("the device has no matrix units for float32: compute capability 8 is needed")
    return found


class Draws:
    """Draws matrices that are stored in a precision, with their exact values."""

    def __init__(self, backend, precision):
        self.backend = backend.for_precision(PRECISIONS[precision])
        self._random = np.random.default_rng(1)
        self.stored = self.backend.precision.stored
        self.rounding = 0.0 if precision == "float32" else BFLOAT16_ERROR

    def matrix(self, rows, columns, low=-1.0, high=1.0, odd=False):
        """Return a matrix on the device and what it holds; an odd one is at no even address."""
        values = self._random.uniform(low, high, (rows, columns)).astype(np.float32)
        return self.keep(values, odd)

    def keep(self, values, odd=False):
        memory = self.backend.empty((values.size + odd,), self.stored)
        there = memory[odd:].reshape(values.shape)
        self.backend.convert(self.backend.asarray(values), there)
        return there, self.exact(there)

    def exact(self, array):
        """Return in float64 what an array on the device holds."""
        if array.dtype == np.uint16:
            wide = self.backend.empty(array.shape, np.dtype(np.float32))
            self.backend.convert(self.backend.xp.ascontiguousarray(array), wide)
            array = wide
        return self.backend.to_numpy(array).astype(np.float64)

    def assert_close(self, found, exact, magnitude):
        """Compare with what sums of terms of such a magnitude should be."""
        error = np.abs(self.exact(found) - exact)
        limit = self.rounding * np.abs(exact) + FLOAT32_ERROR * magnitude
        assert (error <= limit).all(), (error / limit).max()


@pytest.mark.parametrize("precision", PRECISE)
@pytest.mark.parametrize("tiling", TILINGS, ids=str)
@pytest.mark.parametrize("odd", [False, True])
def test_every_tiling_forward_and_down(gpu, monkeypatch, precision, tiling, odd):
    draw = Draws(gpu, precision)
    monkeypatch.setattr(tiles, "ALONG", dict.fromkeys(tiles.ALONG, ((1 << 40, tiling),)))
    for rows, columns, terms in SHAPES:
        x, exact_x = draw.matrix(rows, terms, odd=odd)
        weight, exact_w = draw.matrix(terms, columns, odd=odd)
        out, _ = draw.matrix(rows, columns, odd=odd)
        bias = draw.backend.asarray(np.linspace(-1, 1, columns, dtype=np.float32))
        draw.backend.tiled_forward(x, weight, bias, "identity", out, out, 0.5)
        exact = 0.5 * exact_x @ exact_w + draw.exact(bias)
        draw.assert_close(out, exact, 0.5 * np.abs(exact_x) @ np.abs(exact_w) + 1)
        delta, exact_delta = draw.matrix(rows, columns, odd=odd)
        down, _ = draw.matrix(rows, terms, odd=odd)
        draw.backend.tiled_multiply(delta, weight.T, down, 0.5, "identity", down.copy())
        exact = 0.5 * exact_delta @ exact_w.T
        draw.assert_close(down, exact, 0.5 * np.abs(exact_delta) @ np.abs(exact_w).T)


@pytest.mark.parametrize("precision", PRECISE)
@pytest.mark.parametrize("name", DERIVATIVE)
def test_every_activation_and_its_slope(gpu, precision, name):
    draw = Draws(gpu, precision)
    x, exact_x = draw.matrix(19, 24)
    weight, exact_w = draw.matrix(24, 33)
    bias = draw.backend.asarray(np.linspace(-1, 1, 33, dtype=np.float32))
    z, _ = draw.matrix(19, 33)
    y = z if name in IN_PLACE else draw.matrix(19, 33)[0]
    draw.backend.tiled_forward(x, weight, bias, name, z, y, 0.25)
    exact_z = 0.25 * exact_x @ exact_w + draw.exact(bias)
    wide = exact_z.astype(np.longdouble)
    draw.assert_close(y, truth.FORWARD[name](wide).astype(float), 20.0)
    if z is not y:
        draw.assert_close(z, exact_z, 20.0)
    delta, exact_delta = draw.matrix(19, 7)
    other, exact_other = draw.matrix(33, 7)
    kept = y if name in IN_PLACE else z
    down, _ = draw.matrix(19, 33)
    draw.backend.tiled_multiply(delta, other.T, down, 2.0, name, kept)
    slope = truth.DERIVATIVE[name](draw.exact(kept).astype(np.longdouble)).astype(float)
    draw.assert_close(down, slope * (2 * exact_delta @ exact_other.T), 30.0)


@pytest.mark.parametrize("precision", PRECISE)
@pytest.mark.parametrize("tiling", [tiling for _, tiling in tiled_gradients.ACROSS], ids=str)
@pytest.mark.parametrize("rows", [1, 32, 37, 128])
def test_gradients_of_all_layers(gpu, monkeypatch, precision, tiling, rows):
    """Some of whose arrays cannot be read or written by fours."""
    draw = Draws(gpu, precision)
    monkeypatch.setattr(tiled_gradients, "ACROSS", ((1 << 40, tiling),))
    sizes, layers, exact = [(52, 68), (68, 33), (33, 10), (10, 4), (64, 64)], [], []
    flat = draw.backend.xp.empty(sum((i + 1) * o for i, o in sizes), np.float32)
    at = 0
    for number, (inputs, outputs) in enumerate(sizes):
        x, exact_x = draw.matrix(rows, inputs, odd=number == 4)
        delta, exact_delta = draw.matrix(rows, outputs)
        dweight = flat[at : at + inputs * outputs].reshape(inputs, outputs)
        at += inputs * outputs
        dbias = flat[at : at + outputs]
        at += outputs
        layers.append(Layer(x, delta, dweight, dbias, 0.5))
        exact.append((exact_x, exact_delta))
    draw.backend.tiled_gradients(layers)
    for layer, (exact_x, exact_delta) in zip(layers, exact, strict=True):
        found = draw.exact(layer.dweight), draw.exact(layer.dbias)
        true = 0.5 * exact_x.T @ exact_delta, exact_delta.sum(axis=0)
        limits = 0.5 * np.abs(exact_x).T @ np.abs(exact_delta), np.abs(exact_delta).sum(axis=0)
        for one, other, limit in zip(found, true, limits, strict=True):
            assert (np.abs(one - other) <= FLOAT32_ERROR * limit).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_so(gpu, bad):
    draw = Draws(gpu, "float32")
    values = np.ones((16, 32), np.float32)
    values[3, 5] = bad
    x, _ = draw.keep(values)
    weight, _ = draw.matrix(32, 32, 0.5, 1)
    out, _ = draw.matrix(16, 32)
    bias = draw.backend.xp.zeros(32, np.float32)
    draw.backend.tiled_forward(x, weight, bias, "identity", out, out, 1.0)
    found = np.isfinite(draw.exact(out)).all(axis=1)
    assert not found[3]
    assert found.sum() == 15


X = np.random.default_rng(0).normal(size=(290, 6)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, len(X))


def trained(monkeypatch, way, **network):
    """Return a network trained on a new device by one way, and the ways that were asked for."""
    asked = []

    def fastest(tuner, key, names, times):
        assert set(times()) == set(names)
        asked.append(list(names))
        return way if way in names else names[0]

    monkeypatch.setattr(Tuner, "fastest", fastest)
    simulated.cupy.install(monkeypatch)
    net = gpubp.Network([6, 16, 16, 3], backend="gpu", output="softmax", seed=1, **network)
    net.fit(X, Y, epochs=3, batch_size=16)
    return net, asked


@pytest.mark.simulated_gpu
@pytest.mark.parametrize("network", [{}, {"dropout": 0.2, "normalization": "batch"}], ids=str)
def test_the_trial_leaves_no_trace(monkeypatch, network):
    """Steps are timed on the arrays of the training, which are as before afterwards."""
    timed, asked = trained(monkeypatch, "products", **network)
    assert ["products", "tiles"] in asked
    monkeypatch.setattr(tiled_steps, "LARGEST", 0)
    alone, asked = trained(monkeypatch, "products", **network)
    assert ["products", "tiles"] not in asked
    np.testing.assert_array_equal(timed.parameters.get(), alone.parameters.get())
    assert timed.history.loss == alone.history.loss


@pytest.mark.simulated_gpu
@pytest.mark.parametrize(
    ("major", "precision", "offered"),
    [(8, "float32", True), (7, "float32", False), (8, "float64", False), (8, "float16", False)],
)
def test_tiles_are_offered_where_they_can_be(monkeypatch, major, precision, offered):
    simulated.cupy.install(monkeypatch, major=major)
    backend = gpubp.get_backend("gpu").for_precision(PRECISIONS[precision])
    x, weight, y = (backend.empty(shape, backend.precision.stored) for shape in ((4, 4),) * 3)
    assert backend.offers_tiles("relu", x, weight, y) == offered
    assert not backend.offers_tiles("softmax", x, weight, y)
    assert not backend.offers_tiles("relu", x, weight, y[:0])


class Full:
    """An array that there is no memory for a second time."""

    def copy(self):
        raise MemoryError


def test_without_room_for_a_trial_the_first_way_is_taken():
    done = []
    ways = {name: lambda count, name=name: done.append((name, count)) for name in ("one", "other")}
    tuner = SimpleNamespace(fastest=lambda key, names, times: max(times()))
    steps = FasterSteps(ways, [Full()], tuner, "steps")
    steps(3)
    steps(2)
    assert done == [("one", 3), ("one", 2)]
