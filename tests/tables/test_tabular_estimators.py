"""TabularClassifier and TabularRegressor: tables of any kind in, answers out."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.datasets import load_diabetes, load_iris
from sklearn.inspection import permutation_importance
from sklearn.metrics import r2_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import gpubp
import simulated.cupy
from gpubp import TabularClassifier, TabularRegressor, errors
from gpubp.tables.frames import table_of
from gpubp.tables.intervals import Residuals
from kernel_compilation import host_compiler
from table_building import people

SMALL = {"hidden": (16,), "epochs": 6, "random_state": 0, "members": 2}
# Less than the presets have, and enough for what scikit-learn's checks ask of a model that learns.
QUICK = {"hidden": (64, 64)}
# Two rows that are one row of weight 2 get dropout masks of their own, as in scikit-learn's own
# stochastic estimators.
STOCHASTIC = {"check_sample_weight_equivalence_on_dense_data": "dropout draws for each row"}


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setenv("GPUBP_BACKEND", "cpu")


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [TabularClassifier(**QUICK), TabularRegressor(**QUICK)],
    expected_failed_checks=lambda estimator: STOCHASTIC,
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_learns_from_every_column():
    columns, income = people(900)
    test, expected = people(300, seed=1)
    model = TabularRegressor(random_state=0, epochs=40).fit(columns, income)
    assert r2_score(expected, model.predict(test)) > 0.9
    found = model.feature_importances(test, expected)
    assert list(found) == list(columns)
    assert min(found["age"], found["town"], found["member"]) > 0.1 > abs(found["since"])


def test_importances_are_those_of_scikit_learn_where_it_can_shuffle_itself():
    x, y = load_diabetes(return_X_y=True)
    model = TabularRegressor(**SMALL).fit(x, y)
    theirs = permutation_importance(model, x, y, n_repeats=5, random_state=0).importances_mean
    ours = model.feature_importances(x, y)
    assert list(ours) == [f"x{place}" for place in range(10)]
    np.testing.assert_allclose(list(ours.values()), theirs, atol=0.02)


@pytest.mark.parametrize("kind", [np.int32, str, object, bool])
def test_labels_come_back_as_they_were(kind):
    x, y = load_iris(return_X_y=True)
    labels = (y == 1) if kind is bool else y.astype(str if kind is object else kind).astype(kind)
    model = TabularClassifier(random_state=0, learning_rate=0.01, **QUICK).fit(x, labels)
    found = model.predict(x)
    assert found.dtype == labels.dtype
    assert (found == labels).mean() > 0.9
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1)


def test_several_numbers_are_answered_together(tmp_path):
    pytest.importorskip("safetensors")
    x, y = load_diabetes(return_X_y=True)
    both = np.column_stack([y, -2 * y])
    model = TabularRegressor(random_state=0, hidden=(128,)).fit(x, both)
    found = model.predict(x)
    assert found.shape == (len(x), 2)
    assert r2_score(both, found) > 0.4
    model.save(tmp_path / "model")
    loaded = TabularRegressor.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(x), found)
    assert loaded.predict_interval(x).shape == (len(x), 2, 2)


@pytest.mark.parametrize("kind", ["classes", "numbers", "several numbers"])
def test_the_spread_is_that_of_the_networks_answers(kind):
    columns, income = people()
    targets = {
        "classes": np.digitize(income, [500, 700]),
        "numbers": income,
        "several numbers": np.stack([income, 1e3 - 5 * income], axis=1),
    }
    classify = kind == "classes"
    model = (TabularClassifier if classify else TabularRegressor)(**SMALL | {"members": 3})
    model.fit(columns, targets[kind])
    nets, answers = model.model_.nets, []
    spread = model.predict_std(columns)
    for net in nets:
        model.model_.nets = [net]
        answers.append(model.predict_proba(columns) if classify else model.predict(columns))
    assert spread.shape == answers[0].shape
    np.testing.assert_allclose(spread, np.std(answers, axis=0), rtol=1e-4, atol=1e-7)
    assert spread.max() > 0
    assert not model.predict_std(columns).any()  # of a single one


def test_a_saved_model_answers_alike_and_keeps_its_intervals(tmp_path):
    pytest.importorskip("safetensors")
    columns, income = people()
    model = TabularRegressor(**SMALL).fit(columns, income)
    model.save(tmp_path / "model")
    loaded = TabularRegressor.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(columns), model.predict(columns))
    found = loaded.predict_quantiles(columns, [0.1, 0.9])
    np.testing.assert_array_equal(found, model.predict_quantiles(columns, [0.1, 0.9]))
    with pytest.raises(errors.ModelFileError, match="is a model of regression"):
        TabularClassifier.load(tmp_path / "model")
    with pytest.raises(errors.ModelFileError, match="holds 2 networks"):
        gpubp.Network.load(tmp_path / "model")


def test_intervals_cover_what_they_say():
    draw = np.random.default_rng(0)
    x = draw.uniform(0, 1, (6000, 1))
    y = x[:, 0] * (1 + draw.normal(size=6000))  # the wider the larger x is
    model = TabularRegressor(random_state=0, hidden=(128,), epochs=8, members=1).fit(
        x[:4000], y[:4000]
    )
    ends = model.predict_interval(x[4000:], 0.8)
    inside = (ends[:, 0] <= y[4000:]) & (y[4000:] <= ends[:, 1])
    assert inside.mean() == pytest.approx(0.8, abs=0.03)
    large = x[4000:, 0] > 0.5
    assert inside[large].mean() == pytest.approx(0.8, abs=0.06)
    width = ends[:, 1] - ends[:, 0]
    assert width[large].mean() > 2 * width[~large].mean()


def test_quantiles_of_residuals_are_those_of_numpy():
    draw = np.random.default_rng(0)
    answered, expected = draw.normal(size=199), draw.normal(size=199)
    found = Residuals.of(answered, expected).at(answered, 0.5)
    np.testing.assert_allclose(found, np.median(expected - answered), rtol=1e-6, atol=0.02)
    with pytest.raises(errors.ConfigurationError, match="level is 1"):
        Residuals.of(answered, expected).at(answered, 1.0)


def test_groups_are_never_in_both_parts(monkeypatch):
    x, y = load_iris(return_X_y=True)
    groups = np.arange(len(x)) // 10
    seen = []
    from gpubp.tables import estimator

    def noting(*arguments):
        seen.append(dealt(*arguments))
        return seen[-1]

    dealt = estimator.deal_groups
    monkeypatch.setattr(estimator, "deal_groups", noting)
    TabularClassifier(**SMALL).fit(x, y, groups=groups)
    assert len(seen) > 1
    for train, validation in seen:
        assert not set(groups[train]) & set(groups[validation])
        assert len(train) + len(validation) == len(x)


def test_the_last_rows_by_time_are_held_out():
    from gpubp.tables.splits import deal_last

    times = np.array([5.0, 1.0, 4.0, 2.0, 3.0])
    train, validation = deal_last(times, 2, member=1)
    assert (train.tolist(), validation.tolist()) == ([1, 3, 4], [0, 2])
    columns, income = people()
    TabularRegressor(**SMALL).fit(columns, income, time_column="since")
    with pytest.raises(errors.DataError, match="time column"):
        TabularRegressor(**SMALL).fit(columns, income, time_column="age")


def test_given_validation_rows_are_used_and_none_is_trained_on():
    columns, income = people()
    wrong, _ = people(50, seed=2)
    model = TabularRegressor(**SMALL).fit(
        columns, income, validation_data=(wrong, np.full(50, 1e6))
    )
    losses = model.model_.net.history.validation_loss
    assert min(losses) > 1000  # nothing like them was trained on


def test_a_time_limit_ends_the_training():
    columns, income = people(3000)
    model = TabularRegressor(
        random_state=0, epochs=10_000, time_limit=1.0, members=2, hidden=(128,)
    )
    model.fit(columns, income)
    assert model.n_iter_ < 5000
    assert np.isfinite(model.predict(columns)).all()


def test_class_weights_and_row_weights_count():
    x, y = load_iris(return_X_y=True)
    settings = SMALL | {"epochs": 20}
    counts = [
        (TabularClassifier(**settings, class_weight=weight).fit(x, y).predict(x) == 0).sum()
        for weight in ({0: 0.01, 1: 1, 2: 1}, {0: 100, 1: 1, 2: 1})
    ]
    assert counts[0] < counts[1]
    weights = np.where(y == 0, 0.01, 1.0)
    few = (TabularClassifier(**settings).fit(x, y, sample_weight=weights).predict(x) == 0).sum()
    assert few < counts[1]


def test_explains_a_row():
    x, y = load_iris(return_X_y=True)
    model = TabularClassifier(**SMALL).fit(x, y)
    trace = model.explain(x, y, row=100)
    assert trace.expected.argmax() == y[100]
    assert trace.loss_after <= trace.loss
    with pytest.raises(errors.DataError, match="row is 150"):
        model.explain(x, row=150)


@pytest.mark.parametrize("rate", [None, 0.5])
def test_explains_with_the_first_learning_rate_of_the_training(rate, tmp_path):
    """Unless another is asked for; also of a model that was saved and loaded."""
    x, y = load_iris(return_X_y=True)
    TabularClassifier(**SMALL, learning_rate=0.003).fit(x, y).save(tmp_path / "m.safetensors")
    trace = TabularClassifier.load(tmp_path / "m.safetensors").explain(x, y, 3, rate)
    layer = trace.layers[-1]
    expected = layer.bias_before - (rate or 0.003) * layer.bias_gradient
    np.testing.assert_allclose(layer.bias_after, expected, rtol=1e-6)


def test_bad_input_is_told_by_column_and_row():
    columns, income = people(40)
    model = TabularRegressor(**SMALL).fit(columns, income)
    broken = dict(columns, age=np.array([*columns["age"][:-1].astype(object), "old"], object))
    with pytest.raises(errors.DataError, match="'age', row 40: 'old'"):
        model.predict(broken)
    with pytest.raises(errors.UnknownNameError, match="did you mean 'default'"):
        TabularRegressor(preset="defualt").fit(columns, income)
    with pytest.raises(errors.ConfigurationError, match="validation_fraction is 1"):
        TabularRegressor(validation_fraction=1).fit(columns, income)
    with pytest.raises(errors.DataError, match="one class only"):
        TabularClassifier().fit(columns, np.ones(40))


@pytest.mark.parametrize("cell", [10**400, b"\xff"])
def test_cells_that_no_number_or_text_can_be_are_told_by_column(cell):
    with pytest.raises(errors.DataError, match="column 'b' holds what no number or text can be"):
        table_of({"a": np.ones(2), "b": np.array([cell, cell], object)})


@pytest.mark.parametrize(
    ("estimator", "cell", "said"),
    [
        (TabularClassifier, np.nan, "no label in row 1"),
        (TabularClassifier, None, "no label in row 1"),
        (TabularClassifier, 3, "no order"),
        (TabularRegressor, 10**400, "no numbers"),
        (TabularRegressor, object(), "no numbers"),
        (TabularRegressor, "x", "no numbers"),
    ],
)
def test_targets_that_are_none_are_refused(estimator, cell, said):
    y = np.array(["p", cell] * 10, object)
    if estimator is TabularRegressor:
        y[::2] = 1.0
    with pytest.raises(errors.DataError, match=said):
        estimator(preset="fast", epochs=1, backend="cpu").fit({"a": np.arange(20.0)}, y)


def test_the_same_seed_gives_the_same_bits():
    columns, income = people()
    one, other = (TabularRegressor(**SMALL).fit(columns, income) for _ in range(2))
    np.testing.assert_array_equal(one.predict(columns), other.predict(columns))


def test_the_running_mean_is_looked_at_and_changes_no_step():
    x, y = load_diabetes(return_X_y=True)
    settings = {"hidden": (16,), "epochs": 20, "patience": 20, "members": 1, "random_state": 0}
    plain, averaged = (
        TabularRegressor(**settings, average=average).fit(x, y).model_.net for average in (0, 0.1)
    )
    assert averaged.history.loss == plain.history.loss
    better = np.array(averaged.history.validation_loss) < plain.history.validation_loss
    np.testing.assert_array_equal(
        np.array(averaged.history.validation_loss)[~better],
        np.array(plain.history.validation_loss)[~better],
    )
    assert 0 < better.sum() < 20


def test_trained_again_on_all_rows():
    """For as many epochs as were best; intervals come from the rows that were held out before."""
    x, y = load_diabetes(return_X_y=True)
    settings = {"hidden": (16,), "epochs": 9, "members": 1, "random_state": 0}
    plain, again = (
        TabularRegressor(**settings, refit=refit).fit(x, y).model_ for refit in (False, True)
    )
    assert plain.preprocessing.residuals == again.preprocessing.residuals
    best = 1 + int(np.argmin(plain.net.history.validation_loss))
    expected = gpubp.Network(**plain.net.spec.to_dict(), backend="cpu")
    recipe = TabularRegressor(**settings).fit(x, y).recipe_
    inputs = again.preprocessing.transform(table_of(x)).x
    scale = again.preprocessing.goal.standardisation
    targets = ((y - scale.mean) / scale.scale).astype(np.float32)[:, None]
    optimizer = recipe.make_optimizer(len(x))
    expected.fit(inputs, targets, optimizer=optimizer, epochs=best, batch_size=recipe.batch_size)
    np.testing.assert_array_equal(again.net.parameters, expected.parameters)
    assert not np.array_equal(again.net.parameters, plain.net.parameters)


@pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)
@pytest.mark.parametrize("kind", [TabularRegressor, TabularClassifier])
def test_a_simulated_gpu_answers_as_the_cpu(monkeypatch, kind):
    columns, income = people(120)
    target = income if kind is TabularRegressor else np.where(income > 700, "high", "low")
    answers = []
    for backend in ("cpu", "gpu"):
        if backend == "gpu":
            monkeypatch.delenv("GPUBP_BACKEND")
            simulated.cupy.install(monkeypatch)
        model = kind(**SMALL, backend=backend).fit(columns, target)
        assert model.model_.net.backend.name == backend
        answer = model.predict if kind is TabularRegressor else model.predict_proba
        answers.append(answer(columns))
    np.testing.assert_allclose(*answers, rtol=1e-6)


@pytest.mark.parametrize(("rows", "share"), [(10_000, 0.2), (10_010, 0.1)])
def test_the_preset_best_holds_fewer_of_many_rows_out(rows, share):
    """A choice of epoch by few rows is a noisy one."""
    x = np.random.default_rng(0).normal(size=(rows, 2))
    settings = {"epochs": 1, "members": 1, "hidden": (4,), "bins": 0}
    model = TabularRegressor("best", random_state=0, **settings).fit(x, x[:, 0])
    held = sum(model.model_.preprocessing.residuals[0].rows)
    assert held == round(share * rows)
