"""What only a real GPU can show: run with GPUBP_REQUIRE_GPU=1 where there is one."""

from __future__ import annotations

import time

import numpy as np
import pytest

import gpubp
from conftest import real_gpu
from gpubp.backends.gpu import recording as _recorder
from gpubp.backends.gpu.tuning import Tuner
from gpubp.backends.precision import PRECISIONS

pytestmark = pytest.mark.gpu
STEPS = 100


@pytest.fixture
def backend():
    return real_gpu()


def data(rows=STEPS * 16):
    random = np.random.default_rng(0)
    return random.standard_normal((rows, 20)).astype(np.float32), random.integers(0, 5, rows)


def network(backend, **settings):
    return gpubp.Network([20, 64, 32, 5], "tanh", "softmax", backend, **{"dropout": 0.1} | settings)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_captured_product_replays(backend, precision):
    """A recording of a product reads and writes what is in memory when it is replayed."""
    own = backend.for_precision(PRECISIONS[precision])
    stored, random = own.precision.stored, np.random.default_rng(0)
    numbers = random.integers(-2, 3, (2, 16, 16)).astype(np.float32)
    whole = [own.asarray(number) for number in numbers]
    a, b = (own.empty((16, 16), stored) for _ in whole)
    out = own.empty((16, 16), own.precision.dtype)
    steps = own.record(lambda ops: ops.multiply(a, b, out))
    for turn in range(6):
        for source, target in zip(whole[:: 1 if turn % 2 else -1], (a, b), strict=True):
            own.convert(source, target)
        steps(1)
        left, right = numbers[:: 1 if turn % 2 else -1]
        np.testing.assert_array_equal(own.to_numpy(out), left @ right)
    assert steps.one.recorded, steps.one.reason


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_100_steps_on_the_gpu_equal_those_on_the_cpu(backend, dtype, optimizer):
    x, y = data()
    nets = [network(where, dtype=dtype) for where in (backend, "cpu")]
    losses = [net.fit(x, y, epochs=1, batch_size=16, optimizer=optimizer).loss[0] for net in nets]
    assert losses[0] == pytest.approx(losses[1], rel={"float32": 1e-4, "float64": 1e-11}[dtype])
    there, here = (net.backend.to_numpy(net.parameters) for net in nets)
    tolerance = {"float32": 2e-3, "float64": 1e-8}[dtype]
    np.testing.assert_allclose(there, here, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_replayed_steps_equal_steps_that_are_not_recorded(backend, monkeypatch, precision):
    """Bit for bit, while the memory pool gives and takes."""
    x, y = data()
    found = []
    for warm_ups in (_recorder.WARM_UPS, 10**9):
        monkeypatch.setattr(_recorder, "WARM_UPS", warm_ups)
        net = network(backend, precision=precision)
        churn = Churn(backend.xp)
        loss = net.fit(x, y, epochs=3, batch_size=16, callbacks=[churn]).loss
        found.append((loss, net.backend.to_numpy(net.parameters).tobytes()))
    assert found[0] == found[1]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_second_fit_replays_with_data_of_its_own(backend, monkeypatch, precision):
    """Recordings are kept from one fit to the next, and find other rows by their addresses."""
    found = []
    for warm_ups in (_recorder.WARM_UPS, 10**9):
        monkeypatch.setattr(_recorder, "WARM_UPS", warm_ups)
        net, kept = network(backend, precision=precision), []
        for rows in (STEPS * 16, STEPS * 8):
            x, y = data(rows)
            churn = Churn(backend.xp)
            net.fit(x * np.float32(rows / 800), y, epochs=2, batch_size=16, callbacks=[churn])
            kept.append(net.stack.kept)
        assert kept[0] is kept[1]
        found.append((net.history.loss, net.backend.to_numpy(net.parameters).tobytes()))
    assert found[0] == found[1]


class Churn:
    """Fills the memory pool with other numbers after every epoch."""

    def __init__(self, cupy):
        self._cupy = cupy

    def begin(self, net, epochs):
        pass

    def advance(self, history, share):
        pass

    def epoch_end(self, net, history):
        for size in (100, 1000, 10**5, 10**6):
            self._cupy.full(size, np.nan, np.float32)
        return False

    def end(self, net, history):
        pass


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_precision_is_as_exact_as_it_says(backend, precision):
    x, y = data()
    exact = network("cpu", dtype="float64").fit(x, y, epochs=3, batch_size=16).loss
    net = network(backend, precision=precision)
    found = net.fit(x, y, epochs=3, batch_size=16).loss
    limit = {"float64": 1e-9, "float32": 1e-4, "tf32": 5e-3, "float16": 5e-3, "bfloat16": 3e-2}
    np.testing.assert_allclose(found, exact, rtol=limit[precision])


def test_a_step_is_recorded_allocates_nothing_and_is_quick_to_ask_for(backend, steps):
    x, y = data()
    net = network(backend)
    net.fit(x, y, epochs=2, batch_size=16)
    (made,) = steps
    assert backend.notes == []
    prepared = made._prepared.values()
    made_steps = [one for steps in prepared for one in (steps.one, steps.several) if one]
    assert [recording.reason for recording in made_steps if recording.reason] == []
    assert any(recording.recorded for recording in made_steps)
    made.run(2, 0, 8)
    backend.synchronize()
    pool = backend.xp.get_default_memory_pool()
    before = pool.used_bytes(), pool.total_bytes()
    start = time.perf_counter()
    made.run(2, 8, 88)
    seconds = (time.perf_counter() - start) / 80
    assert (pool.used_bytes(), pool.total_bytes()) == before
    assert np.isfinite(backend.to_numpy(made.losses)).all()
    print(f"Python takes {seconds * 1e6:.1f} us a step")


def test_the_device_shuffles_as_the_host_does(backend):
    from gpubp.backends.random import SHUFFLE, permutation

    for rows in (1, 2, 1000, 60_000):
        order = backend.xp.arange(rows, dtype=np.int64)
        backend.shuffle(7, SHUFFLE, 3, order)
        np.testing.assert_array_equal(backend.to_numpy(order), permutation(7, 3, rows))


def test_data_on_the_host_train_as_data_on_the_device(backend, monkeypatch):
    x, y = data()
    found = []
    for holds in (True, False):
        net = network(backend, dtype="float64")
        monkeypatch.setattr(type(net.backend), "holds", lambda self, size, holds=holds: holds)
        loss = net.fit(x, y, epochs=3, batch_size=16).loss
        found.append((loss, net.backend.to_numpy(net.parameters)))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-9)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-7, atol=1e-10)


def test_networks_on_several_streams_do_not_disturb_each_other(backend):
    x, y = data(64)
    together, alone = [network(backend, seed=seed) for seed in (1, 2)], []
    streams = [backend.xp.cuda.Stream(non_blocking=True) for _ in together]
    backend.synchronize()
    for _ in range(20):
        for net, stream in zip(together, streams, strict=True):
            with stream:
                net.train_step(x, y)
    for seed, net in zip((1, 2), together, strict=True):
        alone = network(backend, seed=seed)
        for _ in range(20):
            alone.train_step(x, y)
        np.testing.assert_array_equal(
            net.backend.to_numpy(net.parameters), alone.backend.to_numpy(alone.parameters)
        )


@pytest.mark.parametrize("precision", [name for name in PRECISIONS if name != "float16"])
def test_networks_in_lockstep_learn_what_each_learns_alone(backend, precision):
    x, y = data()
    given = {"activation": "tanh", "output": "softmax", "precision": precision}
    nets = gpubp.Networks([20, 64, 32, 5], 8, backend=backend, **given)
    nets.fit(x, y, batch_size=16, epochs=2)
    assert not [note for note in nets.backend.notes if "one after the other" in note]
    narrow = precision in ("tf32", "bfloat16")
    for seed, net in enumerate(nets.members):
        other = gpubp.Network([20, 64, 32, 5], backend=backend, seed=seed, **given)
        other.fit(x, y, batch_size=16, epochs=2)
        np.testing.assert_allclose(
            net.history.loss, other.history.loss, rtol=3e-2 if narrow else 1e-4
        )


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_steps_by_tiles_learn_what_those_by_products_learn(backend, monkeypatch, precision):
    if not backend.has_matrix_units:
        pytest.skip("the device has no matrix units for float32: compute capability 8 is needed")
    x, y = data()
    found = []
    for tiled in (True, False):
        asked = []

        def fastest(tuner, key, names, times, tiled=tiled, asked=asked):
            asked.append(times() if "tiles" in names else {})
            if tiled and "tiles" in names:
                return "tiles"
            return next(name for name in names if name != "tiles")

        monkeypatch.setattr(Tuner, "fastest", fastest)
        net = network(backend, precision=precision)
        found.append(net.fit(x, y, epochs=3, batch_size=16).loss)
        assert any(asked)
        print([{name: f"{ms:.4f} ms" for name, ms in times.items()} for times in asked if times])
    rtol = {"float32": 1e-4, "tf32": 5e-3, "bfloat16": 1e-2}[precision]
    np.testing.assert_allclose(*found, rtol=rtol)
