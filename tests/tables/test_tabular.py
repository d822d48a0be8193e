"""A model of a table: parts, preprocessing, saving."""

from dataclasses import replace

import numpy as np
import pytest

import gpubp
from gpubp import errors
from gpubp.tables.evaluated_rows import rows_of_part
from gpubp.tables.metrics import finite_only
from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import prepare
from gpubp.tables.recipe import Recipe
from gpubp.tables.table import Table

pytest.importorskip("sklearn")
RECIPE = Recipe(hidden=(16,), learning_rate=0.05, epochs=80, batch_size=32, bins=0, dropout=0.0)


@pytest.fixture
def table():
    random = np.random.default_rng(0)
    size = random.uniform(0, 10, 120)
    color = np.array(random.choice(["red", "green"], 120), dtype=object)
    label = np.array(np.where((size > 5) ^ (color == "red"), "a", "b"), dtype=object)
    return Table("things", {"size": size, "color": color, "label": label})


@pytest.fixture
def trained(table):
    prepared = prepare(table, "label", "auto", 0.2, 0.2, 0)
    model = TabularModel.create(prepared, RECIPE, backend="cpu")
    model.train(prepared, RECIPE)
    return model, prepared


def test_parts_and_statistics_of_the_training_part_alone(table):
    prepared = prepare(table, "label", "auto", 0.25, 0.25, 0)
    train, validation, test = prepared.split
    assert (len(train), len(validation), len(test)) == (60, 30, 30)
    found = prepared.x[:, prepared.preprocessing.features.index("size")]
    size = table.column("size")
    scaled = (size - size[train].mean()) / size[train].std()
    np.testing.assert_allclose(found, scaled / np.sqrt(1 + (scaled / 3) ** 2), rtol=1e-5)


def test_the_last_rows_by_a_column_are_held_out(table):
    """Of a table in any order; the model file knows them, and its order is no caution."""
    prepared = prepare(table, "label", "auto", 0.25, 0.25, 0, several=True, time_column="size")
    size = table.column("size")
    order = np.argsort(size)
    for part, rows in zip(prepared.split, np.split(order, [60, 90]), strict=True):
        np.testing.assert_array_equal(part, np.sort(rows))
    np.testing.assert_array_equal(prepared.member_rows(1)[0], prepared.split.train)
    found = rows_of_part(prepared.preprocessing, table, "test")
    np.testing.assert_array_equal(np.sort(found.column("size")), size[order[90:]])


def test_learns_and_is_the_same_after_saving(trained, table, tmp_path):
    model, prepared = trained
    assert model.evaluate(table.take(prepared.split.test))[0]["accuracy"] > 0.85
    pytest.importorskip("safetensors")
    model.save(tmp_path / "model")
    loaded = TabularModel.load(tmp_path / "model", "cpu")
    before, after = model.predict(table), loaded.predict(table)
    np.testing.assert_array_equal(before.outputs, after.outputs)
    assert before.labels.tolist() == after.labels.tolist()


def test_the_weights_kept_are_those_of_the_epoch_with_the_best_metric(table):
    """Which here is not the epoch with the least loss; measured again by scikit-learn."""
    metrics = pytest.importorskip("sklearn.metrics")
    prepared = prepare(table, "label", "auto", 0.2, 0.4, 0)
    recipe = replace(RECIPE, metric="auc", patience=80)
    model = TabularModel.create(prepared, recipe, backend="cpu", dtype="float64")
    history = model.train(prepared, recipe)
    best = np.argmax(history.metrics["auc"])
    assert best != np.argmin(history.validation_loss)
    rows = prepared.split.validation
    shares, expected = model.outputs(prepared.x[rows]), prepared.y[rows]
    area = metrics.roc_auc_score(expected, shares[:, 1])
    assert area == pytest.approx(history.metrics["auc"][best])
    assert metrics.log_loss(expected, shares) == pytest.approx(history.validation_loss[best])


def test_an_unknown_category_adds_nothing(trained, table):
    """Its input was zero in every training row, and its weights are zero."""
    model, prepared = trained
    unused = ~prepared.x[prepared.split.train].any(axis=0)
    assert unused.any()
    assert not model.net.layers[0].weight[unused].any()


def test_a_plain_network_is_no_model_of_a_table(tmp_path):
    pytest.importorskip("safetensors")
    gpubp.Network([2, 1], backend="cpu").save(tmp_path / "model")
    with pytest.raises(errors.ModelFileError, match="without the preprocessing"):
        TabularModel.load(tmp_path / "model", "cpu")


def test_explaining_a_row_uses_its_target_or_the_own_answer(trained, table):
    model, _ = trained
    explained = model.explain(table, 5, 0.1)
    assert str(explained) == f"expected label of row 5: {table.column('label')[4]}"
    assert explained.trace.expected.sum() == 1
    names = model.page_names("m", explained)
    assert (names.row, names.expected) == (5, table.column("label")[4])
    assert (names.units, names.is_own) == (None, False)
    own = model.explain(table.without("label"), 5, 0.1)
    assert "own answer" in str(own)
    assert model.page_names("m", own).is_own


def test_what_a_row_should_give_is_written_as_people_write_it():
    days = (np.datetime64("2024-03-01") + np.arange(80)).astype("datetime64[s]")
    table = Table("sales", {"size": np.arange(80.0), "sold": days})
    model = TabularModel.create(prepare(table, "sold", "auto", 0.2, 0.2, 0), RECIPE, backend="cpu")
    assert model.explain(table, 3, 0.1).expected == "2024-03-03"
    own = model.explain(table.without("sold"), 3, 0.1).expected
    assert own.startswith("2024-0")
    sizes = TabularModel.create(prepare(table, "size", "auto", 0.2, 0.2, 0), RECIPE, backend="cpu")
    assert sizes.explain(table, 3, 0.1).expected == "2"


def test_the_page_of_a_step_turns_an_output_into_the_units_of_the_column(table):
    prepared = prepare(table, "size", "auto", 0.2, 0.2, 0)
    model = TabularModel.create(prepared, RECIPE, backend="cpu")
    scale, shift = model.page_names().units
    outputs = np.array([[-1.5], [2.0]])
    np.testing.assert_allclose(model.preprocessing.labels(outputs), scale * outputs[:, 0] + shift)


def test_json_has_no_nan():
    assert finite_only({"a": 1.0, "b": float("nan")}) == {"a": 1.0, "b": None}


def test_one_row_in_thousands_is_no_note():
    draw = np.random.default_rng(0)
    towns = np.array(["Rome", "Oslo"] * 1500, object)
    towns[7] = "Paris"
    columns = {"town": towns, "a": draw.normal(size=3000), "y": draw.normal(size=3000)}
    for seed in range(8):
        assert prepare(Table("t", columns), "y", "auto", 0.2, 0.2, seed).notes == ()
    few = {name: values[:60] for name, values in columns.items()}
    notes = [prepare(Table("t", few), "y", "auto", 0.2, 0.2, seed).notes for seed in range(8)]
    assert any("1 of 60 rows" in each for note in notes for each in note)
