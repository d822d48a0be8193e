"""backend="auto" beside a simulated GPU: both are timed once, the faster one is taken."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

import gpubp
import simulated.cupy
from gpubp.backends import remembered
from gpubp.cli.output import before_training
from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import prepare
from gpubp.tables.recipe import Recipe
from gpubp.tables.table import Table
from gpubp.training import backend_choice
from gpubp.training.epoch_steps import EpochSteps
from kernel_compilation import host_compiler

pytestmark = [
    pytest.mark.simulated_gpu,
    pytest.mark.skipif(
        host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
    ),
]

X = np.random.default_rng(5).random((40, 6)).astype(np.float32)
Y = (X.sum(axis=1) > 3).astype(np.int64)


class SimulatedTime:
    """A clock that steps move, by what they take on a backend; and which backends were timed."""

    def __init__(self, monkeypatch):
        self.now, self.seconds, self.timed = 0.0, {"cpu": 1.0, "gpu": 1.0}, []
        run, timed = EpochSteps.run, backend_choice.step_seconds

        def moved(steps, epoch, start, stop, together=1):
            run(steps, epoch, start, stop, together)
            self.now += (stop - start) * self.seconds[steps._training.stack.backend.name]

        def noted(backend, work):
            self.timed.append(backend.name)
            return timed(backend, work)

        monkeypatch.setattr(EpochSteps, "run", moved)
        monkeypatch.setattr(backend_choice, "step_seconds", noted)
        clock = SimpleNamespace(perf_counter=lambda: self.now)
        monkeypatch.setattr(backend_choice, "time", clock)

    def of(self, cpu, gpu):
        """Let a step take so many milliseconds."""
        self.seconds = {"cpu": cpu / 1000, "gpu": gpu / 1000}


@pytest.fixture
def clock(monkeypatch):
    simulated.cupy.install(monkeypatch)
    monkeypatch.delenv("GPUBP_BACKEND", raising=False)
    return SimulatedTime(monkeypatch)


def network(backend="auto", **settings):
    return gpubp.Network(
        [6, 8, 2], "tanh", "softmax", **{"backend": backend, "dropout": 0.2, "seed": 3} | settings
    )


def parameters(net):
    return net.backend.to_numpy(net.parameters)


def fit(net, **settings):
    net.fit(X, Y, **{"epochs": 3, "batch_size": 16} | settings)
    return net


@pytest.mark.parametrize(("cpu", "gpu", "faster"), [(0.31, 0.04, "gpu"), (0.04, 0.31, "cpu")])
def test_fit_takes_the_faster_one_and_trains_as_if_it_had_been_named(clock, cpu, gpu, faster):
    clock.of(cpu, gpu)
    net = network()
    assert net.backend.name == "gpu"
    before = parameters(net).copy()
    np.testing.assert_array_equal(before, parameters(network("cpu")))
    fit(net)
    assert net.backend.name == faster
    assert net.backend.reason == (
        f"a step of 6-8-2 at batch 16 takes {gpu} ms on the GPU, {cpu} ms on the CPU; measured"
    )
    np.testing.assert_array_equal(parameters(net), parameters(fit(network(faster))))
    assert not np.array_equal(before, parameters(net))


def test_as_fast_is_the_cpus(clock):
    clock.of(1.0, 1.0)
    assert fit(network()).backend.name == "cpu"
    remembered.KNOWN.clear()
    clock.of(1.04, 1.0)
    assert fit(network()).backend.name == "cpu"
    remembered.KNOWN.clear()
    clock.of(1.06, 1.0)
    assert fit(network()).backend.name == "gpu"


def test_it_is_timed_once_for_seeds_and_rates_and_anew_for_another_batch(clock):
    clock.of(1.0, 2.0)
    fit(network())
    assert sorted(clock.timed) == ["cpu", "gpu"]
    fit(network(seed=4, dropout=0.3), optimizer=gpubp.Adam(0.1))
    assert len(clock.timed) == 2
    net = fit(network())
    clock.of(2.0, 1.0)
    fit(net, batch_size=20)
    assert len(clock.timed) == 4
    assert net.backend.name == "gpu"
    fit(net)  # back to where the first batch was faster
    assert len(clock.timed) == 4
    assert net.backend.name == "cpu"


def test_a_later_fit_goes_on_with_the_optimizer_where_it_moves(clock):
    clock.of(1.0, 2.0)
    moved, stayed = fit(network()), fit(network("cpu"))
    clock.of(2.0, 1.0)
    fit(moved, batch_size=20)
    stayed.to("gpu")
    fit(stayed, batch_size=20)
    np.testing.assert_array_equal(parameters(moved), parameters(stayed))


def test_the_times_are_remembered_in_the_file(clock, tmp_path, monkeypatch):
    path = tmp_path / "tuning.json"
    monkeypatch.setenv("GPUBP_TUNING", str(path))
    clock.of(1.0, 2.0)
    fit(network())
    (kept,) = (
        finding
        for machine in json.loads(path.read_text()).values()
        for key, finding in machine.items()
        if key.startswith("backend for a step of 6-8-2 at batch 16, adam")
    )
    assert kept == {"cpu": pytest.approx(1.0), "gpu": pytest.approx(2.0)}
    remembered.KNOWN.clear()  # as in another process
    clock.of(2.0, 1.0)
    assert fit(network()).backend.name == "cpu"
    assert len(clock.timed) == 2
    remembered.KNOWN.clear()
    path.write_text(path.read_text().replace('"cpu":', '"tpu":'))
    assert fit(network()).backend.name == "gpu"
    assert len(clock.timed) == 4


@pytest.mark.parametrize("name", ["cpu", "gpu", "gpu:0"])
@pytest.mark.parametrize("by", ["argument", "environment", "to"])
def test_a_named_backend_is_not_touched(clock, monkeypatch, name, by):
    clock.of(*((2.0, 1.0) if name == "cpu" else (1.0, 2.0)))
    if by == "environment":
        monkeypatch.setenv("GPUBP_BACKEND", name)
    net = network(name if by == "argument" else "auto")
    if by == "to":
        net.to(name)
    before = net.backend
    fit(net)
    assert net.backend is before
    assert clock.timed == []


def test_nothing_is_timed_where_there_is_no_gpu(clock, monkeypatch):
    simulated.cupy.install(monkeypatch, count=0)
    net = network()
    before = net.backend
    fit(net)
    assert net.backend is before
    assert before.alternative is None
    assert before.reason.startswith("no GPU")
    assert clock.timed == []


def test_nothing_is_timed_where_that_is_turned_off(clock, monkeypatch):
    monkeypatch.setenv("GPUBP_TUNING", "off")
    clock.of(1.0, 2.0)
    net = fit(network())
    assert (net.backend.name, net.backend.reason) == ("gpu", "a GPU works")
    assert clock.timed == []


def test_nothing_is_timed_on_several_processes(clock, monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    clock.of(1.0, 2.0)
    assert fit(network()).backend.name == "gpu"
    assert clock.timed == []


def test_data_on_the_gpu_decide_for_it(clock):
    clock.of(1.0, 2.0)
    net = fit(network())
    assert net.backend.name == "cpu"
    placed = network("gpu").backend.asarray(X)
    net.fit(placed, Y, epochs=1)
    assert (net.backend.name, net.backend.reason) == ("gpu", "the data lie on the GPU")
    net.to("cpu")  # named
    with pytest.raises(gpubp.errors.DeviceError, match=r"x lies on a GPU and the network on"):
        net.fit(placed, Y, epochs=1)


@pytest.mark.parametrize("settings", [{"dtype": "float64"}, {"precision": "bfloat16"}])
def test_the_choice_is_left_to_fit_in_every_precision(clock, settings):
    clock.of(1.0, 2.0)
    net = fit(network(**settings))
    assert net.backend.name == "cpu"
    named = network("cpu", **settings)
    assert type(net.backend) is type(named.backend)
    assert net.backend.notes == named.backend.notes
    clock.of(2.0, 1.0)
    fit(net, batch_size=20)
    assert net.backend.precision == network("gpu", **settings).backend.precision


def test_a_step_too_large_for_a_cpu_is_not_timed(clock, monkeypatch):
    monkeypatch.setattr(backend_choice, "TOO_LARGE", 6 * 16 * (6 * 8 + 8 * 2) - 1)
    net = fit(network())
    assert net.backend.name == "gpu"
    assert net.backend.reason.endswith("billion operations; not timed")
    assert clock.timed == []


def test_memory_that_runs_out_in_timing_leaves_the_network_where_it_is(clock, monkeypatch):
    def exhausted(backend, work):
        raise MemoryError

    monkeypatch.setattr(backend_choice, "step_seconds", exhausted)
    net = fit(network())
    assert net.backend.name == "gpu"
    assert net.backend.reason == "memory ran out when a step of 6-8-2 at batch 16 was timed"


def test_slow_steps_are_timed_for_a_short_time(clock, monkeypatch):
    rounds = []
    run = EpochSteps.run

    def counted(steps, epoch, start, stop, together=1):
        rounds.append((steps._training.stack.backend.name, epoch))
        run(steps, epoch, start, stop, together)

    monkeypatch.setattr(EpochSteps, "run", counted)
    clock.of(1000.0, 1.0)
    fit(network(), epochs=1)
    timed = {name: max(epoch for of, epoch in rounds if of == name) + 1 for name in ("cpu", "gpu")}
    assert timed == {"cpu": 2, "gpu": backend_choice.WARM_UPS + backend_choice.ROUNDS}


@pytest.mark.parametrize(("cpu", "gpu", "faster"), [(1.0, 0.1, "gpu"), (0.1, 1.0, "cpu")])
def test_networks_move_together(clock, cpu, gpu, faster):
    clock.of(cpu, gpu)
    several = gpubp.Networks([6, 8, 2], 3, backend="auto", output="softmax", activation="tanh")
    several.fit(X, Y, epochs=2, batch_size=16)
    assert {net.backend.name for net in several.members} == {faster}
    assert several.backend.reason.startswith("a step of 3 networks 6-8-2 at batch 16 takes")
    assert len(clock.timed) == 2, "not by each member again"
    named = gpubp.Networks([6, 8, 2], 3, backend=faster, output="softmax", activation="tanh")
    named.fit(X, Y, epochs=2, batch_size=16)
    np.testing.assert_array_equal(
        several.backend.to_numpy(several.parameters), named.backend.to_numpy(named.parameters)
    )


@pytest.mark.parametrize(("cpu", "gpu", "faster"), [(1.0, 0.1, "gpu"), (0.1, 1.0, "cpu")])
def test_tables_and_estimators(clock, cpu, gpu, faster):
    clock.of(cpu, gpu)
    table = gpubp.TabularClassifier(preset="fast", epochs=2, random_state=0)
    table.fit(X, Y)
    plain = gpubp.MLPClassifier((8,), max_iter=2, random_state=0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        plain.fit(X, Y)
    for made in (table.model_.net, plain.network_):
        assert made.backend.name == faster
        assert made.backend.reason.endswith("measured")
    assert len(clock.timed) == 4
    named = gpubp.TabularClassifier(preset="fast", epochs=2, random_state=0, backend=faster)
    np.testing.assert_array_equal(table.predict_proba(X), named.fit(X, Y).predict_proba(X))


@pytest.mark.parametrize(("cpu", "gpu", "faster"), [(1.0, 0.1, "gpu"), (0.1, 1.0, "cpu")])
def test_the_networks_of_a_table_lie_together_before_the_command_says_where(
    clock, capsys, cpu, gpu, faster
):
    clock.of(cpu, gpu)
    columns = {"a": X[:, 0], "b": X[:, 1], "y": Y.astype(str).astype(object)}
    prepared = prepare(Table("rows.csv", columns), "y", "auto", 0.2, 0.2, 0, several=True)
    recipe = Recipe.of("fast", prepared.rows("train"), "classification", {"members": 2, "bins": 4})
    model = TabularModel.create(prepared, recipe, backend=gpubp.get_backend("auto"))
    assert [net.backend.name for net in model.nets] == [faster] * 2
    before_training(prepared, model, as_json=False)
    assert (
        f"backend: {faster} (a step of 2 networks 2-128-128-2 at batch" in capsys.readouterr().out
    )
    assert sorted(clock.timed) == ["cpu", "gpu"]


def test_every_kind_of_network_can_be_timed(clock):
    clock.of(1.0, 2.0)
    net = gpubp.Network(
        [6, 8, 8, 3],
        "mish",
        "softmax",
        seed=1,
        bins=[*gpubp.quantile_bins(X[:, :5]), []],
        categories=[0, 0, 0, 0, 0, 4],
        normalization=["batch", "layer"],
        mixing=True,
        input_factors=True,
    )
    net.fit(
        np.column_stack([X[:, :5], Y]),
        Y,
        epochs=1,
        batch_size=8,
        class_weight="balanced",
        accumulate=2,
        average=0.9,
        optimizer="adamw",
        loss=gpubp.losses.cross_entropy(0.1),
        regularization=gpubp.Regularization(l2=0.1, clip_norm=1.0),
        groups=[gpubp.ParameterGroup("bias", weight_decay=0)],
        dropout_factor=gpubp.FlatCosine(1.0, 10),
    )
    assert net.backend.name == "cpu"
    assert sorted(clock.timed) == ["cpu", "gpu"]


def test_the_real_clock(clock, monkeypatch):
    monkeypatch.setattr(backend_choice, "time", time)
    net = fit(network())
    assert net.backend.reason.endswith("measured")
    (found,) = (
        finding
        for findings in remembered.KNOWN.values()
        for key, finding in findings.items()
        if key.startswith("backend for a step")
    )
    assert found["cpu"] > 0
    assert found["gpu"] > 0
