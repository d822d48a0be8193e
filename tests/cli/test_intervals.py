"""Intervals of numbers by the command: what a model that it trained knows of its errors."""

from __future__ import annotations

import numpy as np
import pytest

from command_runs import good, read_rows, refused, write_rows
from gpubp import TabularRegressor


def ends(folder, data, share):
    words = ("predict", "income.model", data, "--keep", "income", "--out", "p.csv")
    good(*words, "--interval", share, cwd=folder)
    rows = read_rows(folder / "p.csv")
    assert list(rows[0]) == ["income", "prediction", "lower", "upper"]
    return [np.array([float(row[name]) for row in rows]) for name in rows[0]]


def test_intervals_hold_as_many_new_rows_as_they_say(folder):
    """Rows are drawn as those that the model was trained on: see conftest.py.

    Some more at so few rows: all networks together answer better than the one or two that held a
    row out.
    """
    random = np.random.default_rng(1)
    ages, towns = random.uniform(20, 70, 2000), random.choice(["Rome", "Oslo", ""], 2000)
    incomes = 30 * ages + 400 * (towns == "Oslo") + random.normal(0, 20, 2000)
    rows = [(f"{age:.1f}", *rest) for age, *rest in zip(ages, towns, incomes, strict=True)]
    write_rows(folder / "new.csv", [["age", "town", "income"], *rows])
    widths = []
    for share in (0.5, 0.9):
        income, answered, lower, upper = ends(folder, "new.csv", share)
        assert np.all(lower < upper)
        assert np.mean((lower < answered) & (answered < upper)) > 0.9
        assert share - 0.03 < np.mean((lower <= income) & (income <= upper)) < share + 0.25
        widths.append(np.mean(upper - lower))
    assert 1.5 < widths[1] / widths[0] < 3.5  # 2.4 if errors were normal


def test_they_are_those_of_the_estimator(folder):
    pandas = pytest.importorskip("pandas")
    _, _, lower, upper = ends(folder, "incomes.csv", 0.8)
    model = TabularRegressor.load(folder / "income.model")
    found = model.predict_interval(pandas.read_csv(folder / "incomes.csv"), 0.8)
    np.testing.assert_allclose(found, np.stack([lower, upper], axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "share", "said"),
    [
        ("people.safetensors", 0.9, "'rich' has classes and intervals are of numbers"),
        ("income.model", 1, "--interval is 1.0; a number between 0 and 1 is needed"),
    ],
)
def test_what_cannot_be_is_refused(folder, model, share, said):
    assert said in refused("predict", model, "incomes.csv", "--interval", share, cwd=folder)


def test_without_rows_that_were_held_out_there_are_none(folder):
    words = ("train", "incomes.csv", "--target", "income", "--validation", 0, "--epochs", 2)
    good(*words, "--out", "all.model", cwd=folder)
    line = refused("predict", "all.model", "incomes.csv", "--interval", 0.9, cwd=folder)
    assert "a regression trained with validation rows is needed" in line


def test_a_column_that_is_kept_may_not_have_their_name(folder):
    text = (folder / "incomes.csv").read_text()
    (folder / "named.csv").write_text(text.replace("income", "lower", 1))
    words = ("predict", "income.model", "named.csv", "--keep", "lower")
    good(*words, cwd=folder)
    assert "--keep names 'lower'" in refused(*words, "--interval", 0.9, cwd=folder)
