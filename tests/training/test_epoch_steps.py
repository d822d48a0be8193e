"""Recorded steps: equal to steps done one by one, whatever is recorded and replayed."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
import simulated.cupy
from gpubp import errors
from gpubp.backends import get_backend
from gpubp.backends.gpu import recording, tiled_steps
from gpubp.backends.gpu.recording import STEPS_AT_ONCE, RecordedSteps
from gpubp.backends.random import SHUFFLE, permutation
from gpubp.data.array_feeds import ArrayFeed, HostArrayFeed
from gpubp.data.batches import take_data
from gpubp.nn.losses import get_loss
from gpubp.training import fit as training
from gpubp.training import kept_steps
from kernel_compilation import host_compiler
from simulated.streams import Graph

pytestmark = pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)


@pytest.fixture
def cupy(monkeypatch):
    return simulated.cupy.install(monkeypatch)


def data(rows=100, dtype=np.float32):
    random = np.random.default_rng(0)
    return random.standard_normal((rows, 5)).astype(dtype), random.integers(0, 3, rows)


def network(backend="gpu", **settings):
    return gpubp.Network([5, 8, 3], "gelu", "softmax", backend, **{"dropout": 0.2} | settings)


def parameters(net):
    return net.backend.to_numpy(net.parameters).copy()


def never_record(monkeypatch):
    monkeypatch.setattr(recording, "WARM_UPS", 10**9)


@pytest.mark.parametrize("batch_size", [10, 32, 100, 1])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_replayed_steps_equal_steps_done_as_they_stand(cupy, monkeypatch, batch_size, optimizer):
    x, y = data()
    found = []
    for record in (True, False):
        if not record:
            never_record(monkeypatch)
        net = network()
        history = net.fit(x, y, epochs=4, batch_size=batch_size, optimizer=optimizer)
        found.append((history.loss, parameters(net).tobytes()))
    assert found[0] == found[1]


@pytest.mark.parametrize("storage", ["uint8", "float16", "float32", "float64"])
def test_a_gpu_trains_as_the_cpu_does(cupy, storage):
    """Same rows, same dropout, same settings: what differs is rounding in float64."""
    x, y = data()
    x = (np.abs(x) * 50).astype(storage)
    losses = [
        network(backend, dtype="float64", input_scale=0.02).fit(x, y, epochs=6, batch_size=32).loss
        for backend in ("cpu", "gpu")
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)


def test_one_recording_serves_every_batch_of_a_size(cupy, steps):
    x, y = data(100)
    network().fit(x, y, epochs=5, batch_size=30)
    (made,) = steps
    assert {key[:2]: steps.one.recorded for key, steps in made._prepared.items()} == {
        (30, 30): True,  # rows of this process, and of all
        (10, 10): True,
    }


def test_small_networks_do_several_steps_a_replay(cupy, steps, monkeypatch):
    x, y = data(1000)
    network().fit(x, y, epochs=2, batch_size=10)
    (made,) = steps
    (prepared,) = made._prepared.values()
    assert prepared.several.recorded
    monkeypatch.setenv("GPUBP_TUNING", "off")  # which replays too
    before = Graph.launched
    network().fit(x, y, epochs=1, batch_size=10)
    # 99 steps and one: 12 times 8, of which two warm up, and 3 and 1, likewise
    assert Graph.launched - before == (12 - 2) + (4 - 2)
    monkeypatch.setattr(recording, "SMALL_STEP", 0)
    network().fit(x, y, epochs=1, batch_size=10)
    (prepared,) = steps[-1]._prepared.values()
    assert prepared.several is None


def test_settings_that_run_out_in_the_middle_are_sent_again(cupy, monkeypatch):
    x, y = data()
    losses = []
    for rows in (256, 3):
        monkeypatch.setattr(kept_steps, "SETTINGS_ROWS", rows)
        losses.append(network().fit(x, y, epochs=2, batch_size=10).loss)
    assert losses[0] == losses[1]


def test_fit_goes_on_where_the_last_one_ended(cupy):
    x, y = data()
    once, twice = network(), network()
    once.fit(x, y, epochs=4, batch_size=32)
    for _ in range(2):
        twice.fit(x, y, epochs=2, batch_size=32)
    assert parameters(once).tobytes() == parameters(twice).tobytes()


def test_train_step_is_recorded_too_and_equals_the_cpu(cupy):
    x, y = data(32)
    nets = [network(backend, dtype="float64") for backend in ("cpu", "gpu")]
    for step in range(5):
        rows = np.roll(np.arange(32), step)
        losses = [net.train_step(x[rows], y[rows], gpubp.Adam(0.01)) for net in nets]
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-10)
    np.testing.assert_allclose(parameters(nets[0]), parameters(nets[1]), rtol=1e-8, atol=1e-12)
    ((_, step),) = nets[1].stack.buffers(32).prepared.values()
    assert step._run.one.recorded


def test_two_networks_train_at_the_same_time(cupy):
    """Steps in turn, each on a stream of its own, equal steps one network after the other."""
    x, y = data(32)
    together, alone = [network(seed=1), network(seed=2)], [network(seed=1), network(seed=2)]
    for _ in range(5):
        for net in together:
            with cupy.cuda.Stream(non_blocking=True):
                net.train_step(x, y)
    for net in alone:
        for _ in range(5):
            net.train_step(x, y)
    for one, other in zip(together, alone, strict=True):
        assert parameters(one).tobytes() == parameters(other).tobytes()


def test_without_cublaslt_it_trains_all_the_same_and_says_why(monkeypatch):
    simulated.cupy.install(monkeypatch, cublaslt=False)
    x, y = data()
    net, reference = network(dtype="float64"), network("cpu", dtype="float64")
    loss = net.fit(x, y, epochs=3, batch_size=32).loss
    np.testing.assert_allclose(loss, reference.fit(x, y, epochs=3, batch_size=32).loss, rtol=1e-9)
    assert "steps are not recorded" in net.backend.notes[0]


def test_a_step_allocates_nothing_after_the_first(cupy, monkeypatch):
    """Recording refuses every allocation, so that a recorded step has none; here the others."""
    x, y = data()
    never_record(monkeypatch)
    net = network()
    allocated = []

    class Watch:
        def begin(self, stack, epochs):
            pass

        def advance(self, history, share):
            pass

        def epoch_end(self, stack, history):
            if history.epochs == 1:
                before = simulated.cupy.SimulatedCupy._check_device
                monkeypatch.setattr(
                    simulated.cupy.SimulatedCupy,
                    "_check_device",
                    lambda self: (allocated.append(1), before(self))[1],
                )
            return False

        def end(self, stack, history):
            pass

    epochs = []
    for number in (2, 7):
        allocated.clear()
        net.fit(x, y, epochs=number, batch_size=10, callbacks=[Watch()])
        monkeypatch.undo()
        simulated.cupy.install(monkeypatch)
        never_record(monkeypatch)
        epochs.append(len(allocated))
        net = network()
    # an epoch asks for a few numbers on the host, its ten steps for nothing
    assert (epochs[1] - epochs[0]) / 5 < 10


class LargerBatch:
    """A callback that asks for more rows than a step has, and leaves other numbers in memory."""

    def begin(self, net, epochs):
        self.net = net

    def advance(self, history, share):
        return False

    def epoch_end(self, net, history):
        x, y = data(50 + 10 * history.epochs)
        self.net.forward(x)
        self.net.evaluate(x, y)
        return False

    def end(self, net, history):
        pass


def test_what_is_recorded_stays_when_larger_batches_are_asked_for(cupy, monkeypatch):
    """A recording keeps the arrays that the network forgets then; the memory is used again."""
    x, y = data(100)
    found = []
    for record in (True, False):
        if not record:
            never_record(monkeypatch)
        net = network()
        net.fit(x, y, epochs=6, batch_size=10, callbacks=[LargerBatch()], validation=data(90))
        found.append((net.history.loss, parameters(net).tobytes()))
    assert found[0] == found[1]


def test_steps_between_two_looks_are_whole_replays(cupy, monkeypatch):
    """All but the last, before which a snapshot is taken."""
    alone = []
    do = RecordedSteps.__call__

    def counted(self, count=1):
        alone.append(count % STEPS_AT_ONCE)
        do(self, count)

    monkeypatch.setattr(RecordedSteps, "__call__", counted)
    monkeypatch.setattr(tiled_steps, "LARGEST", 0)  # no other way to do steps is tried
    x, y = data(201)
    network().fit(x, y, epochs=1, batch_size=1)
    assert alone == [0, 1]


@pytest.mark.parametrize("free", [1 << 33, 3000], ids=["copy on device", "copy on host"])
@pytest.mark.parametrize("every", [1, 3, 200])
def test_divergence_brings_back_the_last_good_weights(monkeypatch, every, free):
    simulated.cupy.install(monkeypatch, free=free)
    monkeypatch.setattr(training, "STEPS_BETWEEN_LOOKS", every)
    x, _ = data()
    target = np.abs(x[:, :1])
    found = []
    for backend in ("cpu", "gpu"):
        net = gpubp.Network([5, 8, 1], "relu", backend=backend, dtype="float64", dropout=0.1)
        with pytest.raises(errors.DivergenceError) as caught:
            net.fit(x, target, optimizer=gpubp.SGD(50.0), epochs=200, batch_size=10)
        found.append((caught.value.step, parameters(net)))
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5)


@pytest.fixture
def small_memory(monkeypatch):
    """A device that holds the network and half of the data."""
    return simulated.cupy.install(monkeypatch, free=3000)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("storage", ["uint8", "float32"])
def test_data_larger_than_the_device_are_streamed(small_memory, steps, shuffle, storage):
    x, y = data(500)
    x = (np.abs(x) * 50).astype(storage)
    settings = {"dtype": "float64", "input_scale": 0.02}
    losses = [
        network(backend, **settings).fit(x, y, epochs=3, batch_size=32, shuffle=shuffle).loss
        for backend in ("cpu", "gpu")
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    made = steps[-1]
    assert isinstance(made._training.feed, HostArrayFeed)
    whole = {key[2]: prepared for key, prepared in made._prepared.items() if key[0] == 32}
    assert set(whole) == {0, 1}, "two slots"
    assert all(prepared.one.recorded for prepared in whole.values())


def test_streamed_data_can_be_predicted_and_evaluated(small_memory):
    x, y = data(500)
    nets = [network(backend, dtype="float64") for backend in ("cpu", "gpu")]
    predictions = [net.predict(x) for net in nets]
    np.testing.assert_allclose(*predictions, rtol=1e-9)
    np.testing.assert_allclose(*[net.evaluate(x, y)["loss"] for net in nets], rtol=1e-9)
    x[-1, -1] = np.nan
    with pytest.raises(errors.NonFiniteError, match=r"x\[499, 4\] is nan"):
        nets[1].predict(x)


def test_the_device_shuffles_as_the_host_does(cupy):
    backend = get_backend("gpu")
    for rows in (1, 2, 3, 100, 1025):
        order = backend.xp.arange(rows, dtype=np.int64)
        for epoch in (0, 1, 7):
            backend.shuffle(2**64 - 1, SHUFFLE, epoch, order)
            expected = permutation(2**64 - 1, epoch, rows)
            np.testing.assert_array_equal(backend.to_numpy(order), expected)
            assert sorted(expected) == list(range(rows))


def test_chosen_rows_come_in_the_order_of_the_epoch(cupy):
    x, y = data(40)
    chosen = np.array([39, 3, 3, 17, 0, 20, 8])
    for backend in ("gpu", "cpu"):
        net = network(backend)
        feed = ArrayFeed(
            net.stack,
            take_data(net.stack, x, y, get_loss("auto", net.output)),
            3,
            True,
            rows=chosen,
        )
        feed.begin_epoch(5, feed.at_once)
        expected = chosen[permutation(net.stack.seed, 5, 7)]
        np.testing.assert_array_equal(net.backend.to_numpy(feed._order[:7]), expected)
        expected_batch = x[expected[3:6]].astype(net.dtype)
        np.testing.assert_array_equal(net.backend.to_numpy(feed.batch(5, 1).x), expected_batch)
