"""What a training tells of its test part, against scikit-learn's own dummies and linear models."""

import json

import numpy as np
import pytest
import sklearn.dummy
import sklearn.linear_model
import sklearn.metrics

from command_runs import good, write_rows
from gpubp.tables.comparison import compare, wilson
from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import prepare
from gpubp.tables.recipe import Recipe
from gpubp.tables.table import Table


def trained(target, positive=None, rows=400):
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, rows))
    y = 100 + 50 * (a + b) + random.normal(size=rows)
    if positive:
        y = np.where(a + b > np.quantile(a + b, 1 - positive), "yes", "no").astype(object)
    prepared = prepare(Table("t", {"a": a, "b": b, target: y}), target, "auto", 0.25, 0.25, 0)
    recipe = Recipe.of("fast", prepared.rows("train"), prepared.preprocessing.task, {"epochs": 3})
    model = TabularModel.create(prepared, recipe)
    model.train(prepared, recipe)
    return model, prepared


def parts(prepared):
    seen = np.concatenate([prepared.split.train, prepared.split.validation])
    return np.sort(seen), prepared.split.test


def test_numbers_are_compared_with_the_mean_and_a_linear_model():
    model, prepared = trained("y")
    found = compare(model, prepared).measures
    seen, tested = parts(prepared)
    y = prepared.table.column("y")
    assert found["network"] == pytest.approx(model.test(prepared))
    error = np.abs(y[tested] - y[seen].mean()).mean()
    assert found["mean"]["mean_absolute_error"] == pytest.approx(error, rel=1e-4)
    x = prepared.x.astype(float)
    linear = sklearn.linear_model.Ridge(1.0).fit(x[seen], y[seen]).predict(x[tested])
    expected = sklearn.metrics.r2_score(y[tested], linear)
    assert found["linear model"]["r2"] == pytest.approx(expected, rel=1e-3)


def test_classes_are_compared_with_the_most_frequent_and_told_one_by_one_when_rare():
    model, prepared = trained("rich", positive=0.05)
    found = compare(model, prepared)
    seen, tested = parts(prepared)
    y = np.array([label == "yes" for label in prepared.table.column("rich")])
    dummy = sklearn.dummy.DummyClassifier(strategy="prior").fit(prepared.x[seen], y[seen])
    expected = sklearn.metrics.log_loss(y[tested], dummy.predict_proba(prepared.x[tested]))
    assert found.measures["most frequent class"]["log_loss"] == pytest.approx(expected, rel=1e-5)
    assert found.measures["most frequent class"]["accuracy"] == pytest.approx(1 - y[tested].mean())
    answers = model.predict(prepared.table.take(tested)).labels == "yes"
    recall = sklearn.metrics.recall_score(y[tested], answers, zero_division=0)
    assert [each["label"] for each in found.classes] == ["no", "yes"]
    assert found.classes[1]["recall"] == pytest.approx(recall)
    assert found.classes[1]["rows"] == y[tested].sum()
    balanced = compare(*trained("rich", positive=0.5))
    assert balanced.classes == ()


def test_the_interval_of_a_share():
    """Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29, Wilson's method."""
    known = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0, 0.1611),
             (1, 29): (0.0061, 0.1718)}  # fmt: skip
    for (right, rows), expected in known.items():
        assert wilson(right, rows) == pytest.approx(expected, abs=5e-5)


def test_the_command_prints_them_and_a_caution_of_few_rows(tmp_path):
    random = np.random.default_rng(0)
    rows = [[f"{a:.3f}", "yes" if k < 3 else "no"] for k, a in enumerate(random.normal(size=60))]
    write_rows(tmp_path / "t.csv", [["a", "y"], *rows])
    words = ("train", "t.csv", "--target", "y", "--epochs", 1, "--preset", "fast")
    text = good(*words, cwd=tmp_path)
    assert "test accuracy:" in text
    assert "(95 %: " in text
    for word in ("balanced_accuracy", "log_loss", "linear model", "most frequent class", "recall"):
        assert word in text
    few = "caution: 12 test rows are few to judge by: go by the range"
    assert f"{few}, or by --cv 5\n" in text
    assert max(map(len, text.splitlines())) <= 80
    report = json.loads(good(*words, "--json", cwd=tmp_path))
    assert set(report["baselines"]) == {"linear model", "most frequent class"}
    assert f"{few}, or by the folds\n" in good(*words, "--cv", 2, cwd=tmp_path)
    write_rows(tmp_path / "n.csv", [["a", "y"], *([a, float(a) ** 2 + 0.1] for a, _ in rows)])
    words = ("train", "n.csv", "--target", "y", "--epochs", 1, "--preset", "fast")
    text = good(*words, "--time-column", "a", cwd=tmp_path)
    assert f"{few}\n" in text, "folds cannot be had beside it"
    for word in ("r2", "mean_absolute_error", "root_mean_squared_error", "mean"):
        assert word in text
