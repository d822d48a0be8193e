"""Many networks at once: each has the bits of a network trained alone on one thread."""

from __future__ import annotations

import math
import pickle
import tracemalloc

import numpy as np
import pytest

import gpubp
from gpubp.backends.cpu import threads
from gpubp.backends.cpu.threads import one_thread
from gpubp.errors import ConfigurationError, DataError, DivergenceError, GpubpError, ShapeError
from gpubp.networks import Networks
from gpubp.nn import spec_checks
from gpubp.training.each import Each

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 6)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)
SIZES, OUTPUT = [6, 16, 2], {"output": "softmax"}


def alone(backend, number, x=X, y=Y, network=None, **options):
    """Return a network of the seed `number`, trained alone on one thread."""
    net = gpubp.Network(SIZES, backend=backend, seed=number, **OUTPUT, **(network or {}))
    with one_thread(undivided=True):
        net.fit(x, y, **({"epochs": 3, "batch_size": 32} | options))
    return net


def assert_same_bits(nets, others):
    """On a GPU, where products of many and of one are other kernels, to rounding."""
    for net, other in zip(nets, others, strict=True):
        ours, theirs = (
            (one.backend.to_numpy(one.parameters), one.history.loss, one.history.validation_loss)
            for one in (net, other)
        )
        for values, wanted in zip(ours, theirs, strict=True):
            if net.backend.name == "gpu":
                np.testing.assert_allclose(values, wanted, rtol=1e-4, atol=1e-6)
            else:
                np.testing.assert_array_equal(values, wanted)


def test_each_seed_has_the_bits_of_its_own_training(backend):
    nets = Networks(SIZES, 3, backend=backend, **OUTPUT)
    histories = nets.fit(X, Y, epochs=3, batch_size=32)
    assert_same_bits(nets.members, [alone(backend, number) for number in range(3)])
    assert [history.epochs for history in histories] == [3, 3, 3]


def test_a_step_in_parts_has_the_bits_of_one_thread(monkeypatch):
    x, y = RANDOM.normal(size=(256, 400)).astype(np.float32), Y[:256]
    monkeypatch.setattr(threads, "thread_count", lambda: 2)
    nets = Networks([400, 128, 2], 2, backend="cpu", **OUTPUT)
    nets.fit(x, y, epochs=2, batch_size=128)
    monkeypatch.setattr(threads, "thread_count", lambda: 1)
    others = [gpubp.Network([400, 128, 2], backend="cpu", seed=seed, **OUTPUT) for seed in (0, 1)]
    for net in others:
        net.fit(x, y, epochs=2, batch_size=128)
    assert_same_bits(nets.members, others)


def test_each_setting_has_the_bits_of_its_own_training(backend):
    dropout, smoothing = [0.0, 0.3], [0.1, 0.2]
    optimizers = [gpubp.AdamW(1e-2, weight_decay=0.1), gpubp.SGD(0.1)]
    losses = [gpubp.losses.cross_entropy(share) for share in smoothing]
    nets = Networks(SIZES, 2, backend=backend, dropout=Each(dropout), **OUTPUT)
    nets.fit(X, Y, optimizer=Each(optimizers), loss=Each(losses), epochs=3, batch_size=32)
    settings = zip(dropout, optimizers, losses, strict=True)
    others = [
        alone(backend, number, network={"dropout": rate}, optimizer=optimizer, loss=loss)
        for number, (rate, optimizer, loss) in enumerate(settings)
    ]
    assert_same_bits(nets.members, others)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_folds_have_the_bits_of_trainings_on_copies(backend, class_weight):
    folds = np.array_split(np.random.default_rng(1).permutation(300), 3)
    kept = [np.setdiff1d(np.arange(300), fold) for fold in folds]
    nets = Networks(SIZES, 3, backend=backend, **OUTPUT)
    options = {"epochs": 3, "batch_size": 32, "class_weight": class_weight}
    nets.fit(X, Y, rows=Each(kept), validation_rows=Each(folds), **options)
    others = [
        alone(backend, number, X[rows], Y[rows], validation=(X[fold], Y[fold]), **options)
        for number, (rows, fold) in enumerate(zip(kept, folds, strict=True))
    ]
    assert_same_bits(nets.members, others)


@pytest.mark.parametrize("dtype", [np.float64, np.uint8])
def test_a_bootstrap_of_rows_in_other_dtypes(backend, dtype):
    x = (X * 20 + 100).astype(dtype)
    drawn = [np.random.default_rng(number).integers(0, 300, 300) for number in range(2)]
    nets = Networks(SIZES, 2, backend=backend, input_scale=1 / 255, **OUTPUT)
    nets.fit(x, Y, rows=Each(drawn), epochs=3, batch_size=32)
    others = [
        alone(backend, number, x[rows], Y[rows], {"input_scale": 1 / 255})
        for number, rows in enumerate(drawn)
    ]
    assert_same_bits(nets.members, others)


def test_weights_of_rows_a_member(backend):
    weights = np.random.default_rng(2).uniform(size=(2, 300)).astype(np.float32)
    nets = Networks(SIZES, 2, backend=backend, **OUTPUT)
    nets.fit(X, Y, sample_weight=weights, epochs=3, batch_size=32)
    others = [alone(backend, number, sample_weight=weights[number]) for number in range(2)]
    assert_same_bits(nets.members, others)


def test_each_stops_by_itself_with_its_best_weights():
    nets = Networks(SIZES, 3, backend="cpu", **OUTPUT)
    rates = Each([gpubp.Adam(0.1), gpubp.Adam(1e-3), gpubp.Adam(0.05)])
    stopping = gpubp.EarlyStopping(3)
    options = {"validation": (X[200:], Y[200:]), "epochs": 30}
    nets.fit(X[:200], Y[:200], optimizer=rates, callbacks=[stopping], **options)
    assert stopping.best_epoch == 0  # each has a copy
    lengths = {history.epochs for history in nets.histories}
    assert len(lengths) > 1
    for net, (own,) in zip(nets.members, nets.callbacks, strict=True):
        assert own.best_epoch == 1 + int(np.argmin(net.history.validation_loss))
        measured = net.evaluate(X[200:], Y[200:])["loss"]
        assert measured == pytest.approx(min(net.history.validation_loss), rel=1e-6)


def test_one_that_diverges_ends_alone_and_answers_no_more():
    rates = [1e-3, 1e9, 1e-3]
    x, y = X, X[:, :1]
    nets = Networks([6, 8, 1], 3, backend="cpu")
    with pytest.warns(RuntimeWarning, match=r"members \[1\] of 3 diverged"):
        nets.fit(x, y, optimizer=Each([gpubp.SGD(rate) for rate in rates]), epochs=5)
    assert [failure is None for failure in nets.failures] == [True, False, True]
    assert [history.stopped for history in nets.histories] == ["", "diverged", ""]
    answers = nets.predict(x, each=True)
    np.testing.assert_allclose(nets.predict(x), answers[[0, 2]].mean(axis=0), rtol=1e-6)
    with pytest.raises(DivergenceError):
        Networks([6, 8, 1], 2, backend="cpu").fit(x, y, optimizer=gpubp.SGD(1e9))


def test_mean_and_spread_of_the_answers(backend):
    nets = Networks(SIZES, 4, backend=backend, **OUTPUT)
    each = nets.predict(X, each=True)
    assert each.shape == (4, 300, 2)
    truth = np.stack([net.predict(X) for net in nets.members]).astype(np.float64)
    np.testing.assert_allclose(nets.predict(X), truth.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(nets.spread(X), truth.std(axis=0), rtol=1e-3, atol=1e-6)


def test_parameters_lie_in_one_buffer(backend):
    nets = Networks(SIZES, 3, backend=backend, **OUTPUT)
    nets.fit(X, Y, epochs=1)
    before = nets.predict(X, each=True)
    nets.parameters[1] = nets.parameters[2]
    after = nets.predict(X, each=True)
    np.testing.assert_array_equal(after[1], before[2])
    np.testing.assert_array_equal(after[0], before[0])


def test_saved_loaded_and_pickled_with_the_same_answers(backend, tmp_path):
    nets = Networks(SIZES, 3, backend=backend, **OUTPUT)
    nets.fit(X, Y, epochs=1)
    nets.save(tmp_path / "all.safetensors")
    loaded = Networks.load(tmp_path / "all.safetensors", backend)
    np.testing.assert_array_equal(loaded.predict(X, each=True), nets.predict(X, each=True))
    pickled = pickle.loads(pickle.dumps(nets))  # on the CPU with compiled kernels, maybe
    np.testing.assert_array_equal(
        pickled.backend.to_numpy(pickled.parameters), nets.backend.to_numpy(nets.parameters)
    )


def test_resumed_to_the_same_bits(tmp_path):
    options = {"batch_size": 32, "checkpoint": tmp_path}
    whole = Networks(SIZES, 3, backend="cpu", **OUTPUT)
    whole.fit(X, Y, epochs=4, batch_size=32)
    Networks(SIZES, 3, backend="cpu", **OUTPUT).fit(X, Y, epochs=2, **options)
    resumed = Networks(SIZES, 3, backend="cpu", **OUTPUT)
    resumed.fit(X, Y, epochs=4, resume=True, **options)
    assert_same_bits(resumed.members, whole.members)


def test_the_plan_has_the_memory_of_all():
    nets = Networks(SIZES, 4, backend="cpu", **OUTPUT)
    one, all_of_them = nets.members[0].memory_plan(32), nets.memory_plan(32)
    assert all_of_them.weights == 4 * one.weights == 4 * 4 * (6 * 16 + 16 + 16 * 2 + 2)
    assert all_of_them.total == 4 * one.total - 3 * one.workspace


def test_the_data_are_stored_once():
    x = np.random.default_rng(0).random((20_000, 400), np.float32)
    nets = Networks([400, 4, 1], 4, backend="cpu")
    folds = Each([np.arange(start, 20_000, 2) for start in (0, 1, 0, 1)])
    tracemalloc.start()
    nets.fit(x, x[:, 0], rows=folds, epochs=1, batch_size=100)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < x.nbytes / 4  # copies of the folds would be twice as large as x


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"rows": [0, 300]}, DataError, "rows from 0 to 299"),
        ({"rows": np.zeros(0, int)}, DataError, "rows is empty"),
        ({"rows": [0.5]}, ShapeError, "whole numbers"),
        ({"rows": Each([[1]] * 2)}, ShapeError, "rows has values for 2 members; 3 are needed"),
        ({"sample_weight": np.ones((2, 300))}, ShapeError, r"\(3, rows\)"),
        ({"validation_rows": [1], "validation": (X, Y)}, ConfigurationError, "one of them"),
        ({"time_limit": 0}, ConfigurationError, "time_limit is 0"),
    ],
)
def test_what_cannot_be_used_is_said(wrong, error, said):
    with pytest.raises(error, match=said):
        Networks(SIZES, 3, backend="cpu", **OUTPUT).fit(X, Y, epochs=1, **wrong)


def test_members_of_two_shapes_are_refused():
    with pytest.raises(ConfigurationError, match="2 shapes"):
        Networks(SIZES, 2, backend="cpu", normalization=Each([None, "layer"]))


def test_a_thread_that_works_alone_does_so_until_it_has_left_all_contexts():
    with one_thread():
        with one_thread(undivided=True):
            assert threads.steps_are_undivided()
        assert threads.steps.alone
        assert not threads.steps_are_undivided()
    assert not threads.steps.alone


ODD = [3, object(), {"a": 1}, gpubp.Each([])]


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        *((name, odd) for name in ("callbacks", "checkpoint", "class_weight") for odd in ODD),
        *(("time_limit", odd) for odd in ["3", *ODD[1:]]),
    ],
)
def test_odd_arguments_of_fit_are_refused_by_one_line(name, odd):
    nets = gpubp.Networks([4, 5, 3], members=2, output="softmax", backend="cpu")
    x, y = np.ones((9, 4), np.float32), np.arange(9) % 3
    with pytest.raises(GpubpError) as refused:
        nets.fit(x, y, epochs=1, **{name: odd})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("members", [3, None, [], [3], gpubp.Each([1, 2]), "ab"])
def test_only_networks_are_held_together(members):
    with pytest.raises(ConfigurationError, match="members"):
        gpubp.Networks.of(members)


def test_a_network_stands_in_one_place_alone():
    net = gpubp.Network([4, 5, 3], backend="cpu")
    with pytest.raises(ConfigurationError, match="a network twice"):
        gpubp.Networks.of([net, net])


@pytest.mark.parametrize(
    ("sizes", "members"),
    [([2, 3, 1], 2**63), ([2, 3, 1], 10**400), ([2000, 2000, 1], 10**5), ([2**31 - 1] * 3, 1)],
)
def test_more_than_the_memory_holds_is_refused_before_any_of_it_is_made(
    monkeypatch, sizes, members
):
    monkeypatch.setattr(spec_checks, "free_memory", lambda: 2.0**34)
    tracemalloc.start()
    try:
        with pytest.raises(ConfigurationError, match="the 16 GiB of memory that are free") as said:
            Networks(sizes, members, backend="cpu")
        assert tracemalloc.get_traced_memory()[1] < 2**27
    finally:
        tracemalloc.stop()
    assert str(said.value).startswith("sizes are" if members == 1 else f"members is {members}"[:99])


def test_a_network_too_large_is_refused_where_free_memory_is_not_known(monkeypatch):
    monkeypatch.setattr(spec_checks, "free_memory", lambda: math.inf)
    with pytest.raises(ConfigurationError, match=r"^sizes are \[2147483647, "):
        gpubp.Network([2**31 - 1] * 3, backend="cpu")
