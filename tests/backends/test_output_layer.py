"""The kernel of a narrow output layer, and the column sums, against float64 written out."""

from __future__ import annotations

import numpy as np
import pytest

import activation_truth as truth
from backends import test_kernel_losses as losses
from conftest import simulated_gpu
from gpubp.backends.gpu.elementwise import chunk_of
from gpubp.backends.gpu.kernel_table import IN_PLACE
from gpubp.backends.gpu.loss_kernels import LOSS
from gpubp.backends.scheduled import Scheduled
from gpubp.backends.scratch import Scratch

ROWS, INPUTS = 37, 41


@pytest.fixture
def gpu(monkeypatch):
    return simulated_gpu(monkeypatch)


def layer_of(loss, slope, outputs, dtype, weighted):
    """Draw x, weights, bias, expected values and weights of rows; no loss is at a kink."""
    random = np.random.default_rng(5)
    below = random.uniform(-0.9, 0.9, (ROWS, INPUTS))
    x = truth.FORWARD[slope](below.astype(np.longdouble)).astype(dtype)
    weight = (random.standard_normal((INPUTS, outputs)) / 6).astype(dtype)
    bias = random.standard_normal(outputs).astype(dtype)
    _, expected = losses.sample(loss, (ROWS, outputs), dtype)
    shares = random.uniform(0.2, 3, ROWS).astype(dtype) if weighted else np.ones(ROWS, dtype)
    return x, weight, bias, expected, shares


def run(backend, name, slope, dtype, outputs, weighted, scheduled=False, factor=0.5):
    """Return what the kernel writes, and the truth: z, dz, mean loss and dx."""
    x, weight, bias, expected, shares = layer_of(name, slope, outputs, dtype, weighted)
    parameter = losses.PARAMETERS.get(name, (0.0,))[0]
    xp, scratch = backend.xp, Scratch(backend.xp)
    z, dz = (xp.empty((ROWS, outputs), dtype) for _ in range(2))
    dx, mean = xp.empty(x.shape, dtype), xp.empty((), dtype)
    given = (backend.asarray(shares), xp.empty((), dtype)) if weighted else None
    own = parameter
    if scheduled:
        own = Scheduled(backend.asarray(np.array([parameter])), backend.asarray(np.zeros(6, int)))
    arrays = (*map(backend.asarray, (x, weight, bias)), dx, factor, slope)
    expected_there = backend.asarray(expected)
    backend.output_layer(name, own, z, expected_there, dz, mean, scratch, given, None, arrays)
    found = [backend.to_numpy(array) for array in (z, dz, mean, dx)]

    wide = [array.astype(np.longdouble) for array in (x, weight, bias, shares)]
    true_z = factor * wide[0] @ wide[1] + wide[2]
    own = parameter if name in losses.PARAMETERS else None
    weights = wide[3] / wide[3].sum()
    of_rows = losses.row_losses(name, true_z, expected, own)
    of_rows = of_rows if of_rows.ndim == 1 else of_rows.sum(axis=1)
    true_dz = losses.gradient(name, true_z, expected, own) * ROWS * weights[:, None]
    true_dx = factor * true_dz @ wide[1].T * truth.DERIVATIVE[slope](wide[0])
    return found, [true_z, true_dz, (weights * of_rows).sum(), true_dx]


def assert_all_close(pairs, rtol, atol):
    for found, exact in zip(*pairs, strict=True):
        np.testing.assert_allclose(found, np.asarray(exact, float), rtol=rtol, atol=atol)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSS)
def test_every_loss(gpu, name, weighted):
    pairs = run(gpu, name, "relu", np.dtype(np.float64), 5, weighted)
    assert_all_close(pairs, 1e-8, 1e-9)  # of the gradient by central differences


@pytest.mark.parametrize("slope", IN_PLACE)
@pytest.mark.parametrize("outputs", [1, 10, 32])
def test_every_slope_in_single_precision(gpu, slope, outputs):
    pairs = run(gpu, "squared_error", slope, np.dtype(np.float32), outputs, True)
    assert_all_close(pairs, 2e-5, 2e-6)


def test_a_setting_that_the_clock_selects(gpu):
    pairs = run(gpu, "huber", "tanh", np.dtype(np.float64), 3, False, scheduled=True)
    assert_all_close(pairs, 1e-8, 1e-9)


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 32, 33, 63, 100, 1025, 4097])
def test_sums_of_columns_of_so_many_rows(gpu, rows):
    random = np.random.default_rng(rows)
    y, dy = random.uniform(-1, 1, (rows, 3)), random.standard_normal((rows, 3))
    delta, dbias = gpu.asarray(dy), gpu.xp.empty(3, float)
    gpu.activate_backward("tanh", gpu.asarray(y), delta, delta, dbias, Scratch(gpu.xp))
    wide = y.astype(np.longdouble)
    exact = ((1 - wide * wide) * dy).astype(float)
    found = gpu.to_numpy(delta)
    np.testing.assert_allclose(found, exact, rtol=1e-14)
    np.testing.assert_allclose(gpu.to_numpy(dbias), exact.sum(axis=0), rtol=1e-11)
    gpu.activate_backward("identity", delta, delta, delta, dbias, Scratch(gpu.xp))
    np.testing.assert_array_equal(gpu.to_numpy(delta), found)
    np.testing.assert_allclose(gpu.to_numpy(dbias), exact.sum(axis=0), rtol=1e-11)


def test_chunks_are_short_for_small_batches_and_few_for_large_ones():
    assert chunk_of(0) == chunk_of(32) == (32, 1)  # one kernel, without partial sums
    assert chunk_of(64) == (8, 8)
    assert chunk_of(1024) == (8, 128)
    assert chunk_of(4096) == (32, 128)
    for rows in range(33, 5000, 7):
        chunk, chunks = chunk_of(rows)
        assert chunk % 8 == 0
        assert (chunks - 1) * chunk < rows <= chunks * chunk
        assert chunks <= 128
