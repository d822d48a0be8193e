"""Groups of parameters against AdamW written out for every parameter, and against each other."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
from gpubp import ParameterGroup, errors
from gpubp.backends.program import Tracer
from gpubp.nn.parameter_groups import Segment, segments
from thread_ranks import run_ranks

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.standard_normal((30, 3)), RANDOM.standard_normal((30, 2))
ADAMW = gpubp.AdamW(0.05, weight_decay=0.3)
GROUPS = [
    ParameterGroup("bias", learning_rate=0.1, weight_decay=0),
    ParameterGroup(["weight", "gamma"], layers=1, learning_rate=3.0),
    ParameterGroup(layers=[-1], weight_decay=2.0),
]


def network(backend="cpu", **settings):
    given = {"dtype": "float64", "normalization": "layer"} | settings
    return gpubp.Network([3, 5, 4, 2], "tanh", backend=backend, **given)


def factors(net):
    """Return the factors of GROUPS on learning rate and decay, for every parameter."""
    rate, decay = [], []
    for place, layer in enumerate(net.layers):
        for name, shape in layer.parameter_shapes().items():
            own_rate = 0.1 if name == "bias" else 3.0 if place == 1 else 1.0
            own_decay = (0.0 if name == "bias" else 1.0) * (2.0 if place == 2 else 1.0)
            rate += [own_rate] * int(np.prod(shape))
            decay += [own_decay] * int(np.prod(shape))
    return np.array(rate), np.array(decay)


def written_out(net, steps, rate, decay):
    """Return the parameters after steps of AdamW on all rows (Loshchilov and Hutter 2019)."""
    p = net.backend.to_numpy(net.parameters).copy()
    m, v = np.zeros_like(p), np.zeros_like(p)
    for n in range(1, steps + 1):
        net.parameters[...] = net.backend.asarray(p)
        net.backward((net.forward(X) - Y) / len(X))
        g = net.backend.to_numpy(net.gradients)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p = p * (1 - 0.05 * rate * 0.3 * decay)
        p = p - 0.05 * rate * (m / (1 - 0.9**n)) / (np.sqrt(v / (1 - 0.999**n)) + 1e-8)
    return p


def trained(net, steps=6, **settings):
    given = {"optimizer": ADAMW, "epochs": steps, "batch_size": 30, "groups": GROUPS} | settings
    net.fit(X, Y, **given)
    return net.backend.to_numpy(net.parameters)


def test_every_parameter_has_its_own_rate_and_decay(backend):
    net = network(backend)
    expected = written_out(net.copy(), 6, *factors(net))
    np.testing.assert_allclose(trained(net), expected, rtol=1e-9, atol=1e-12)


def test_single_steps_are_those_of_fit(backend):
    one, other = network(backend), network(backend)
    for _ in range(4):
        one.train_step(X, Y, ADAMW, groups=GROUPS)
    expected = trained(other, 4, shuffle=False)
    np.testing.assert_allclose(one.backend.to_numpy(one.parameters), expected, rtol=1e-12)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_the_copy_in_half_precision_is_whole(backend, precision):
    """The products of the next step read it: a part left out would show in the loss."""
    net, other = (network(backend, dtype="float32", precision=precision) for _ in range(2))
    trained(net)
    other.parameters[...] = net.parameters
    if net.stack.half is not None:
        net_half = net.backend.to_numpy(net.stack.half)
        other.stack.refresh()
        np.testing.assert_array_equal(net_half, other.backend.to_numpy(other.stack.half))


def test_a_factor_of_all_parameters_is_that_of_the_optimizer(backend):
    found = trained(network(backend), groups=[ParameterGroup(learning_rate=0.5)])
    half = gpubp.AdamW(0.025, weight_decay=0.3)
    expected = trained(network(backend), groups=(), optimizer=half)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adagrad", "adam", "nadam", "lion"])
def test_a_rate_of_zero_keeps_parameters_as_they_are(backend, optimizer):
    net = network(backend)
    before = [net.backend.to_numpy(layer.weight).copy() for layer in net.layers]
    trained(net, optimizer=optimizer, groups=[ParameterGroup(layers=(0, 2), learning_rate=0)])
    same = [
        (net.backend.to_numpy(x.weight) == y).all() for x, y in zip(net.layers, before, strict=True)
    ]
    assert same == [True, False, True]


def test_neighbours_with_the_same_factors_are_one_segment():
    layers = network(normalization=None).layers
    bias = ParameterGroup("bias", learning_rate=2.0)
    assert segments((), layers, ADAMW) == (Segment(None),)
    assert segments((ParameterGroup(),), layers, ADAMW) == (Segment(None),)
    assert segments((ParameterGroup(layers=1, weight_decay=0.5),), layers, ADAMW) == (
        Segment((0, 20)),
        Segment((20, 44), 1.0, 0.5),
        Segment((44, 54)),
    )
    found = segments((bias, bias), layers, ADAMW)
    assert [segment.learning_rate for segment in found] == [1, 4, 1, 4, 1, 4]
    assert [segment.span for segment in found] == [
        *((0, 15), (15, 20), (20, 40), (40, 44), (44, 52), (52, 54))
    ]


@pytest.mark.parametrize(("groups", "count"), [((), 1), (GROUPS, 8)])
def test_there_is_an_update_a_segment(monkeypatch, groups, count):
    traced = []
    of_tracer = Tracer.__getattr__
    monkeypatch.setattr(
        Tracer, "__getattr__", lambda t, name: traced.append(name) or of_tracer(t, name)
    )
    trained(network(), 1, groups=groups)
    assert traced.count("update") == count


def test_steps_with_groups_are_planned_in_one_call():
    net = network()
    if net.backend.device == "CPU":
        pytest.skip("no compiled kernels")
    from gpubp.backends.cpu.planned_steps import PlannedSteps

    made = []
    record = net.backend.record
    net.stack.backend.record = lambda *given: made.append(record(*given)) or made[-1]
    try:
        trained(net)
    finally:
        del net.stack.backend.record
    assert isinstance(made[0], PlannedSteps)


def test_a_training_goes_on_to_the_same_bits(tmp_path, backend):
    pytest.importorskip("safetensors")
    given = {"batch_size": 8, "checkpoint": tmp_path}
    expected = trained(network(backend), 4, batch_size=8)
    trained(network(backend), 2, **given)
    found = trained(network(backend), 4, resume=True, **given)
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(errors.CheckpointError, match="of another run: groups is"):
        trained(network(backend), 5, resume=True, groups=GROUPS[:1], **given)


@pytest.mark.parametrize("settings", [{}, {"deterministic": True}, {"accumulate": 2}], ids=str)
def test_several_processes_train_as_one(settings):
    accumulate = settings.get("accumulate", 1)
    expected = trained(network(), batch_size=10, accumulate=accumulate)

    def work(talk):
        return trained(network(), batch_size=10, distributed=talk, **settings)

    for found in run_ranks(3, work):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (lambda: [ParameterGroup("bias", learning_rate=-1)], "learning_rate is -1; a finite"),
        (lambda: [ParameterGroup(weight_decay=np.inf)], "weight_decay is inf; a finite"),
        (lambda: [ParameterGroup("biases")], "unknown parameter 'biases'; did you mean 'bias'"),
        (lambda: [ParameterGroup(layers=3)], "a group has layer 3; a number from -3 to 2"),
        (
            lambda: [ParameterGroup(weight_decay=100.0)],
            r"comes to 30 with a learning rate of 0.05; a number below 20",
        ),
    ],
)
def test_groups_that_cannot_be_are_refused(groups, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        trained(network(), groups=groups())
