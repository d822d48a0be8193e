"""Recordings kept from one fit to the next: none is made twice, none reads what is gone."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

import gpubp
import simulated.cupy
from gpubp.backends.gpu import recording
from gpubp.backends.gpu.recording import STEPS_AT_ONCE
from gpubp.backends.gpu.tuning import Tuner
from gpubp.errors import ConfigurationError
from kernel_compilation import host_compiler
from simulated.memory import POOL, IllegalAddressError
from simulated.streams import Graph, Stream

pytestmark = pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((120, 5)).astype(np.float32)
CLASSES = RANDOM.integers(0, 3, 120)
SHARES = RANDOM.dirichlet(np.ones(3), 120).astype(np.float32)
WEIGHTS = RANDOM.uniform(0.1, 2, 120)
SIZES = [5, 8, 3]


@pytest.fixture
def captures(monkeypatch):
    """What was recorded: its length tells how often."""
    made = []
    begin = Stream.begin_capture
    monkeypatch.setattr(
        Stream, "begin_capture", lambda stream: (made.append(stream), begin(stream))[1]
    )
    monkeypatch.setenv("GPUBP_TUNING", "off")  # which records, to measure
    return made


@pytest.fixture
def cupy(monkeypatch, captures):
    module = simulated.cupy.install(monkeypatch)
    monkeypatch.setenv("GPUBP_TUNING", "off")
    return module


def network(**settings):
    return gpubp.Network(SIZES, "tanh", "softmax", "gpu", **{"seed": 3, "dropout": 0.2} | settings)


def fit(net, rows=slice(None), x=X, y=CLASSES, **options):
    return net.fit(x[rows], y[rows], **({"epochs": 3, "batch_size": 10} | options))


def twice(captures, first, second, net=None):
    """Fit a network in two ways one after the other; return it, and what the second recorded."""
    net = network() if net is None else net
    first(net)
    assert captures, "the first fit records"
    captures.clear()
    second(net)
    return net, len(captures)


def assert_as_unrecorded(monkeypatch, net, *fits, **settings):
    """Compare a network with one that does all steps as they stand, bit for bit."""
    monkeypatch.setattr(recording, "WARM_UPS", 10**9)
    other = network(**settings)
    for one in fits:
        one(other)
    assert net.parameters.get().tobytes() == other.parameters.get().tobytes()
    assert net.history.loss == other.history.loss


OTHER_DATA = {
    "the same": {},
    "other values": {"rows": slice(None, None, -1)},
    "fewer rows": {"rows": slice(0, 70)},
    "another learning rate": {"optimizer": gpubp.Adam(0.1)},
    "a schedule": {"optimizer": gpubp.Adam(gpubp.FlatCosine(0.01, 40))},
    "rows in order": {"shuffle": False},
    "chosen rows": {"rows": slice(None), "validation": (X[:9], CLASSES[:9])},
}


@pytest.mark.parametrize("change", OTHER_DATA)
def test_a_second_fit_of_the_same_kind_records_nothing(cupy, captures, monkeypatch, change):
    def second(net):
        fit(net, **OTHER_DATA[change])

    net, recorded = twice(captures, fit, second)
    assert recorded == 0
    assert_as_unrecorded(monkeypatch, net, fit, second)


FORMS = {
    "weights of rows": ({}, {"sample_weight": WEIGHTS}),
    "shares of classes": ({}, {"y": SHARES}),
    "bytes": ({"input_scale": 0.02}, {"x": (np.abs(X) * 50).astype(np.uint8)}),
    "float64": ({"dtype": "float64"}, {"x": X.astype(np.float64)}),
    "bfloat16": ({"precision": "bfloat16"}, {}),
    "a scaled loss": ({"precision": "float16"}, {}),
    "two batches an update": ({}, {"accumulate": 2}),
    "a mean of the weights": ({}, {"average": 0.9}),
    "a short last batch": ({}, {"batch_size": 50}),
}


@pytest.mark.parametrize("form", FORMS)
def test_whatever_a_step_consists_of(cupy, captures, monkeypatch, form):
    settings, options = FORMS[form]

    def either(net):
        fit(net, **options)

    net, recorded = twice(captures, either, either, network(**settings))
    assert recorded == 0
    assert_as_unrecorded(monkeypatch, net, either, either, **settings)


def test_steps_by_tiles_are_kept_too(monkeypatch, captures):
    simulated.cupy.install(monkeypatch)
    monkeypatch.setattr(Tuner, "fastest", lambda tuner, key, names, times: names[-1])
    net = network()
    fit(net)
    steps = [*net.stack.kept.prepared.values()]
    assert all(one.taken is one._ways["tiles"] for one in steps)
    fit(net, slice(0, 90))
    assert [*net.stack.kept.prepared.values()] == steps
    other = gpubp.Network(SIZES, "tanh", "softmax", "cpu", seed=3, dropout=0.2)
    fit(other)
    fit(other, slice(0, 90))
    np.testing.assert_allclose(net.parameters.get(), other.parameters, rtol=1e-4, atol=1e-5)


CHANGES = {
    "another optimizer": {"optimizer": "sgd"},
    "another loss": {"y": SHARES, "loss": "mse"},
    "another form of the targets": {"y": SHARES},
    "other rows in a batch": {"batch_size": 9},
    "a larger batch": {"batch_size": 30},
    "weights of rows": {"sample_weight": WEIGHTS},
    "a penalty": {"regularization": gpubp.Regularization(l2=0.1)},
    "a mean of the weights": {"average": 0.9},
    "a group": {"groups": [gpubp.ParameterGroup("bias", learning_rate=0.5)]},
    "scheduled dropout": {"dropout_factor": gpubp.FlatCosine(1.0, 60)},
    "data of another kind": {"x": X.astype(np.float64)},
    "many more batches": {"x": np.tile(X, (40, 1)), "y": np.tile(CLASSES, 40)},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_fit_of_another_kind_records_anew(cupy, captures, monkeypatch, change):
    def second(net):
        fit(net, **CHANGES[change])

    net, recorded = twice(captures, fit, second)
    assert recorded > 0
    assert_as_unrecorded(monkeypatch, net, fit, second)


DEEDS = {
    "parameters that lie elsewhere": lambda net: net.lie_in(
        net.backend.xp.empty_like(net.parameters)
    ),
    "moments that begin anew": lambda net: net.reset_optimizer(),
    "moments of another": lambda net: net.take_over(net.learnt()),
    "another seed": lambda net: net.stack.use_seed(5),
    "a larger batch in between": lambda net: net.train_step(X[:60], CLASSES[:60], gpubp.Adam()),
    "a way over the host": lambda net: net.to("cpu").to("gpu"),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_what_a_recording_needs_may_not_change(cupy, captures, monkeypatch, deed):
    def second(net):
        DEEDS[deed](net)
        captures.clear()
        fit(net)

    net, recorded = twice(captures, fit, second)
    assert recorded > 0
    assert_as_unrecorded(monkeypatch, net, fit, second)


class FitWithin:
    """A callback that trains the same network on other data."""

    def begin(self, net, epochs):
        self.net = net

    def advance(self, history, share):
        return False

    def epoch_end(self, net, history):
        if history.epochs == 2:
            fit(self.net, slice(0, 50), epochs=2)
        return False

    def end(self, net, history):
        pass


def test_a_fit_within_a_fit_has_steps_of_its_own(cupy, captures, monkeypatch):
    def both(net):
        net.fit(X, CLASSES, epochs=4, batch_size=10, callbacks=[FitWithin()])

    net, _ = twice(captures, fit, both)
    assert_as_unrecorded(monkeypatch, net, fit, both)


def test_what_is_kept_is_one_fit_and_none_of_its_data(cupy, captures):
    net, x, y = network(), cupy.asarray(X), cupy.asarray(CLASSES)
    net.fit(x, y, epochs=2, batch_size=10)
    steps, place = net.stack.kept, x.data.ptr
    del x, y
    assert POOL.block_of(place) is None, "its memory was given back"
    (step,) = steps.prepared.values()
    with pytest.raises(IllegalAddressError):
        step(1)
    fit(net, optimizer="sgd")
    assert net.stack.kept is not steps
    net.to("cpu")
    assert net.stack.kept is None
    fit(net, optimizer="sgd")
    assert net.stack.kept is None, "a CPU keeps no steps"


def test_expected_values_that_were_the_inputs_may_be_others(cupy, captures, monkeypatch):
    x = cupy.asarray(X)

    def made():
        return gpubp.Network([5, 4, 5], backend="gpu")

    net = made()
    net.fit(x, x, epochs=3, batch_size=10)
    captures.clear()
    net.fit(x, x + 1, epochs=3, batch_size=10)
    assert captures
    monkeypatch.setattr(recording, "WARM_UPS", 10**9)
    other = made()
    other.fit(x, x, epochs=3, batch_size=10)
    other.fit(x, x + 1, epochs=3, batch_size=10)
    assert net.history.loss == other.history.loss


def test_a_copy_and_a_pickle_have_steps_of_their_own(cupy, captures):
    net = network()
    fit(net)
    twins = [net.copy(), pickle.loads(pickle.dumps(net))]
    assert [twin.stack.kept for twin in twins] == [None, None]
    fit(net)
    fit(twins[1])
    assert net.parameters.get().tobytes() == twins[1].parameters.get().tobytes()


def test_settings_are_looked_at_in_every_fit(cupy):
    groups, net = [gpubp.ParameterGroup("weight", weight_decay=5.0)], network()
    fit(net, optimizer=gpubp.AdamW(0.01, weight_decay=0.1), groups=groups)
    for train in (fit, lambda net, **given: net.train_step(X, CLASSES, **given)):
        with pytest.raises(ConfigurationError, match="weight_decay of a group"):
            train(net, optimizer=gpubp.AdamW(0.9, weight_decay=0.9), groups=groups)


def test_a_stream_of_its_own_records_its_own(cupy, captures):
    """What a recording keeps to itself is its stream's."""
    net = network()
    fit(net)
    for count in (1, 0):
        captures.clear()
        with cupy.cuda.Stream(non_blocking=True) if count else cupy.cuda.Stream.null:
            fit(net)
        assert bool(captures) == bool(count)


def test_python_is_called_a_few_times_a_step(cupy, captures, steps, monkeypatch):
    """Counted, not timed: what is asked for between two looks is whole replays."""
    x, y = np.tile(X, (10, 1)), np.tile(CLASSES, 10)
    net = network()
    net.fit(x, y, epochs=1, batch_size=10)
    (made,) = steps
    monkeypatch.setattr(Graph, "launch", lambda graph: None)
    calls = []

    def count(frame, event, argument):
        if event == "call":
            calls.append(frame.f_code.co_name)

    made.run(1, 0, STEPS_AT_ONCE)
    sys.setprofile(count)
    try:
        made.run(1, STEPS_AT_ONCE, 11 * STEPS_AT_ONCE)
    finally:
        sys.setprofile(None)
    assert len(calls) < 10 * STEPS_AT_ONCE, calls
