"""Networks in lockstep on one GPU: they learn what they learn alone, by one recording for all."""

from __future__ import annotations

import itertools
import os
import signal

import numpy as np
import pytest

import gpubp
import simulated.cublas
import simulated.cupy
from gpubp.backends.gpu import joint_steps
from gpubp.backends.gpu.recording import RecordedSteps
from gpubp.errors import ConfigurationError, DivergenceError
from gpubp.networks import Networks
from gpubp.training.each import Each
from kernel_compilation import host_compiler

pytestmark = pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)
RANDOM = np.random.default_rng(0)
ROWS, MEMBERS = 90, 3
X = RANDOM.normal(size=(ROWS, 6)).astype(np.float32)
CODES = np.column_stack([X[:, :5], RANDOM.integers(0, 4, ROWS)]).astype(np.float32)
Y = RANDOM.integers(0, 3, ROWS)
SIZES, SOFTMAX = [6, 16, 16, 3], {"output": "softmax"}


@pytest.fixture
def cublas(monkeypatch):
    """The library that multiplies for several networks; how often tells whether it did."""
    simulated.cupy.install(monkeypatch)
    return simulated.cublas.install(monkeypatch)


def trained(x=X, y=Y, sizes=SIZES, members=MEMBERS, network=None, **options):
    nets = Networks(sizes, members, backend="gpu", **(SOFTMAX | (network or {})))
    nets.fit(x, y, **({"epochs": 2, "batch_size": 16} | options))
    return nets


def alone(number, x=X, y=Y, sizes=SIZES, network=None, **options):
    """Return member `number` trained by itself."""
    network, options = (
        {
            name: value.values[number] if isinstance(value, Each) else value
            for name, value in given.items()
        }
        for given in (SOFTMAX | (network or {}), {"epochs": 2, "batch_size": 16} | options)
    )
    net = gpubp.Network(sizes, backend="gpu", **({"seed": number} | network))
    net.fit(x, y, **options)
    return net


def assert_alike(nets, rtol=1e-4, **given):
    for number, net in enumerate(nets.members):
        other = alone(number, **given)
        np.testing.assert_allclose(
            net.parameters.get(), other.parameters.get(), rtol=rtol, atol=rtol / 10
        )
        np.testing.assert_allclose(net.history.loss, other.history.loss, rtol=rtol)


FORMS = {
    "relu": {"network": {"activation": "relu"}},
    "gelu": {
        "network": {"activation": "gelu", "initializer": Each(["he_normal", "he_uniform", "auto"])}
    },
    "a regression": {
        "network": {"output": "identity"},
        "y": X @ RANDOM.normal(size=(6, 3)).astype(np.float32),
        "loss": "huber",
    },
    "dropout of each": {"network": {"dropout": Each([0.0, 0.2, 0.5])}},
    "normalised rows": {"network": {"normalization": "layer"}},
    "normalised batches": {"network": {"normalization": "batch"}},
    "bins": {"network": {"bins": gpubp.quantile_bins(X, 4)}},
    "categories": {"network": {"categories": [0, 0, 0, 0, 0, 4]}, "x": CODES},
    "waves": {"network": {"periodic": gpubp.Periodic()}},
    "all the forms of a layer": {
        "network": {"input_factors": True, "mixing": True, "residual": True, "weights": "ntk"}
    },
    "decay and clipping of each": {
        "optimizer": Each([gpubp.Adam(0.01), gpubp.Adam(0.03), gpubp.Adam(0.001)]),
        "regularization": Each(
            [gpubp.Regularization(l1=1e-3, l2=l2, clip_norm=0.5) for l2 in (1e-4, 1e-2, 1e-3)]
        ),
    },
    "label smoothing of each": {
        "loss": Each([gpubp.losses.cross_entropy(share) for share in (0.0, 0.1, 0.2)])
    },
    "a mean of the weights": {"average": 0.9},
    "rows that weigh": {"sample_weight": Each(list(RANDOM.uniform(0.1, 2, (MEMBERS, ROWS))))},
    "rows of each": {"rows": Each([np.arange(60), np.arange(30, 90), np.arange(0, 90, 2)])},
    "data of one byte": {
        "x": np.clip(X * 20 + 100, 0, 255).astype(np.uint8),
        "network": {"input_scale": 1 / 255},
    },
    "float64": {"network": {"dtype": "float64"}},
    "two steps an update": {"accumulate": 2},
}


@pytest.mark.parametrize("form", FORMS)
def test_networks_in_lockstep_learn_what_each_learns_alone(cublas, form):
    nets = trained(**FORMS[form])
    assert cublas.products > 0
    assert not nets.backend.notes
    assert_alike(nets, **FORMS[form])


@pytest.mark.parametrize(("precision", "rtol"), [("tf32", 2e-2), ("bfloat16", 5e-2)])
def test_narrow_products_round_as_those_of_one(cublas, precision, rtol):
    sizes, given = [8, 16, 16, 8], {"network": {"precision": precision}}
    x = np.pad(X, ((0, 0), (0, 2)))
    nets = trained(x, sizes=sizes, **given)
    assert cublas.products > 0
    assert_alike(nets, rtol, x=x, sizes=sizes, **given)


@pytest.fixture
def recorded(monkeypatch):
    """Whatever is recorded for several networks."""
    made = []

    class Kept(RecordedSteps):
        def __init__(self, *given):
            super().__init__(*given)
            made.append(self)

    monkeypatch.setattr(joint_steps, "RecordedSteps", Kept)
    return made


def test_a_step_of_many_has_as_many_nodes_as_one_of_two(cublas, recorded):
    nodes = []
    for members in (2, 9):
        recorded.clear()
        trained(members=members)
        nodes.append([len(g.launches) for one in recorded for g in one.one._graphs.values()])
    assert nodes[0] == nodes[1] != []


def test_those_that_go_on_after_one_has_stopped(cublas):
    given = {
        "validation": (X[:30], Y[:30]),
        "callbacks": [gpubp.EarlyStopping(1)],
        "optimizer": Each([gpubp.Adam(0.2), gpubp.Adam(1e-4), gpubp.Adam(0.1)]),
        "epochs": 8,
    }
    nets = trained(**given)
    epochs = [history.epochs for history in nets.histories]
    assert len(set(epochs)) > 1
    for number, net in enumerate(nets.members):
        other = alone(number, **given | {"callbacks": [gpubp.EarlyStopping(1)]})
        assert net.history.epochs == other.history.epochs
        np.testing.assert_allclose(net.parameters.get(), other.parameters.get(), atol=1e-3)


def test_a_training_in_lockstep_goes_on_from_its_checkpoints_to_the_same_bits(cublas, tmp_path):
    whole = trained(epochs=4)
    trained(epochs=2, checkpoint=tmp_path)
    resumed = trained(epochs=4, checkpoint=tmp_path, resume=True)
    assert cublas.products > 0
    for net, other in zip(resumed.members, whole.members, strict=True):
        np.testing.assert_array_equal(net.parameters.get(), other.parameters.get())
        assert net.history.loss == other.history.loss


def test_one_that_diverges_leaves_the_others_what_they_learn_alone(cublas):
    y = X[:, :1]
    given = {"sizes": [6, 8, 1], "network": {"output": "identity"}, "y": y}
    rates = Each([gpubp.SGD(1e-3), gpubp.SGD(1e9), gpubp.SGD(1e-2)])
    with pytest.warns(RuntimeWarning, match=r"members \[1\] of 3 diverged"):
        nets = trained(optimizer=rates, **given)
    for number in (0, 2):
        other = alone(number, optimizer=rates, **given)
        np.testing.assert_allclose(
            nets.members[number].parameters.get(), other.parameters.get(), rtol=1e-5, atol=1e-6
        )
    with pytest.raises(DivergenceError):
        trained(optimizer=gpubp.SGD(1e9), **given)


def test_what_cannot_be_joined_goes_by_turns_and_says_so(cublas):
    given = {"network": {"precision": "float16"}}
    nets = trained(**given)
    assert cublas.products == 0
    assert any("one after the other" in note for note in nets.members[0].backend.notes)
    assert_alike(nets, 2e-2, **given)


def test_without_cublas_they_go_by_turns(monkeypatch):
    simulated.cupy.install(monkeypatch, cublaslt=False)
    nets = trained()
    assert any("one after the other" in note for note in nets.backend.notes)
    assert_alike(nets)


def test_more_than_a_gpu_holds_go_in_groups(monkeypatch, recorded):
    simulated.cupy.install(monkeypatch, free=100_000)
    nets = trained(members=5)
    groups = [one for one in recorded if one.one.recorded]
    assert len(groups) > 1
    assert_alike(nets)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_members_of_an_estimator_go_in_lockstep(cublas):
    pytest.importorskip("sklearn")
    given = {"hidden_layer_sizes": (8,), "members": 3, "random_state": 0, "max_iter": 4}
    model = gpubp.MLPClassifier(backend="gpu", **given).fit(X, Y)
    assert cublas.products > 0
    other = gpubp.MLPClassifier(backend="cpu", **given).fit(X, Y)
    np.testing.assert_allclose(model.predict_proba(X), other.predict_proba(X), atol=1e-4)
    np.testing.assert_allclose(model.predict_std(X), other.predict_std(X), atol=1e-4)


def test_networks_for_a_table_go_in_lockstep(cublas):
    pytest.importorskip("sklearn")
    given = {"hidden": (8,), "members": 2, "random_state": 0, "epochs": 3}
    model = gpubp.TabularClassifier(backend="gpu", **given).fit(X, Y)
    assert cublas.products > 0
    other = gpubp.TabularClassifier(backend="cpu", **given).fit(X, Y)
    np.testing.assert_allclose(model.predict_proba(X), other.predict_proba(X), atol=1e-3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_trials_of_a_search_that_differ_in_numbers_go_in_lockstep(cublas):
    pytest.importorskip("sklearn")
    model = gpubp.MLPClassifier((8,), backend="gpu", max_iter=3, random_state=0)
    space = {"learning_rate_init": [1e-3, 1e-2, 3e-2], "hidden_layer_sizes": [(8,), (4, 4)]}
    searched = [
        gpubp.search(model.set_params(backend=backend), space, X, Y, trials=5, cv=2, refit=False)
        for backend in ("gpu", "cpu")
    ]
    assert cublas.products > 0
    on_gpu, on_cpu = ([one.score for one in result.trials] for result in searched)
    np.testing.assert_allclose(on_gpu, on_cpu, atol=0.05)


class Failing:
    """A callback that does something at an epoch of the second network."""

    def __init__(self, deed):
        self._deed, self._epochs = deed, 0

    def begin(self, net, epochs):
        self._second = net.seed == 1

    def advance(self, history, share):
        return False

    def epoch_end(self, net, history):
        if self._second and history.epochs == 2:
            self._deed()
        return False

    def end(self, net, history):
        pass


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def refuse():
    raise ConfigurationError("no more")


def test_an_error_of_one_ends_all(cublas):
    nets = Networks(SIZES, MEMBERS, backend="gpu", **SOFTMAX)
    with pytest.raises(ConfigurationError, match="no more"):
        nets.fit(X, Y, epochs=50, batch_size=16, callbacks=[Failing(refuse)])
    assert all(history.epochs <= 3 for history in nets.histories)


@pytest.fixture
def ctrl_c_raises():
    """Have Ctrl-C raise: a process that was started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_all_with_what_they_have_learnt(cublas, ctrl_c_raises):
    nets = Networks(SIZES, MEMBERS, backend="gpu", **SOFTMAX)
    with pytest.raises(KeyboardInterrupt):
        nets.fit(X, Y, epochs=2000, batch_size=16, callbacks=[Failing(press_ctrl_c)])
    assert all(1 <= history.epochs < 2000 for history in nets.histories)
    assert {history.stopped for history in nets.histories} == {"interrupted"}


def test_a_failure_on_the_device_is_everyones(cublas, monkeypatch):
    calls = itertools.count()

    def fail(*given):
        if next(calls) == 7:
            raise RuntimeError("cudaErrorUnknown")

    monkeypatch.setattr("gpubp.backends.gpu.cublas.Cublas.multiply_all", fail)
    with pytest.raises(RuntimeError, match="cudaErrorUnknown"):
        trained()
