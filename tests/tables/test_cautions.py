"""What is said of a table before training; and that ordinary tables raise no alarm."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sklearn import datasets

from gpubp.tables.cautions import MOST_CELLS, cautions, skewness
from gpubp.tables.table import BUNDLED, Table, read_table
from gpubp.tables.task import decide_task

ROWS = 200
RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(size=(2, ROWS))
LABELS = np.where(A + B + RANDOM.normal(size=ROWS) > 0, "yes", "no").astype(object)
DAYS = np.arange(ROWS) * 86400.0 + 1.6e9
NAMES = np.array([f"n{number}" for number in RANDOM.permutation(ROWS)], object)

# name: (columns beside a and b, target column, kinds, what is said)
CASES = {
    "numbered": ({"id": np.arange(1.0, ROWS + 1)}, LABELS, {}, "column 'id' numbers the rows"),
    "named": ({"user_id": NAMES}, LABELS, {}, "column 'user_id' numbers the rows"),
    "copy": ({"y2": LABELS == "yes"}, LABELS, {}, "column 'y2' tells 'y' by itself"),
    "scaled copy": ({"c": 3 - 2 * A}, A + 0, {}, "column 'c' tells 'y' by itself"),
    "any copy": ({"c": np.exp(A)}, A + 0, {}, "column 'c' tells 'y' by itself"),
    "finer names": (
        {"c": np.char.add(LABELS.astype(str), (np.arange(ROWS) % 3).astype(str)).astype(object)},
        *(LABELS, {}, "column 'c' tells 'y' by itself"),
    ),
    "ranges": ({"c": B + 9 * (LABELS == "yes")}, LABELS, {}, "column 'c' tells 'y' by itself"),
    "one row": ({}, np.append(LABELS[1:], "maybe"), {}, "classes of one row .*: 'maybe'"),
    "ordered": (
        {"day": DAYS},
        LABELS,
        {"day": "time"},
        "order of 'day': .* --time-column day$",
    ),
    "long tail": ({}, np.exp(2 * A), {}, r"'y' has a long tail \(mean"),
    "grades": ({}, RANDOM.integers(1, 7, ROWS) * 1.0, {}, "taken as 6 classes, 1 to 6"),
}


def said(columns, y, kinds):
    table = Table("t", {"a": A, "b": B, **columns, "y": y}, dict(kinds))
    return cautions(table, "y", decide_task(table, "y"))


@pytest.mark.parametrize("case", CASES)
def test_what_is_said(case):
    columns, y, kinds, expected = CASES[case]
    found = said(columns, y, kinds)
    assert any(re.search(expected, line) for line in found), found
    if columns:
        assert not said({}, LABELS, {}), "nothing without the column"


CHANCES = {
    "few rows of each value": NAMES,
    "few rows of a class": np.array([f"n{place // 2}" for place in range(ROWS)], object),
    "nearly ranges": np.sort(A) + 0.0,
}


@pytest.mark.parametrize("case", CHANCES)
def test_a_column_that_decides_by_chance_or_nearly_is_no_caution(case):
    rare = np.where(np.arange(ROWS) < 4, "yes", "no").astype(object)
    y = {"few rows of a class": rare}.get(case, LABELS)
    assert not any("by itself" in line for line in said({"c": CHANCES[case]}, y, {}))


MARKED = [([-999], -999, "row"), ([99999, 99999], 99999, "rows"), ([-99, -9999], -9999, "row")]


@pytest.mark.parametrize(("marks", "named", "word"), MARKED)
def test_marks_of_missing_values_are_told(marks, named, word):
    """In columns and in the target; not where other values are as far from each other."""
    hours = np.r_[marks, RANDOM.uniform(1, 60, ROWS - len(marks))]
    line = next(line for line in said({"hours": hours}, LABELS, {}) if f"{named:g} in" in line)
    assert line.startswith(f"column 'hours': {named} in {marks.count(named)} {word} is far from")
    assert line.endswith(f"--missing={named}")
    assert any("'y': -999 in 1 row" in line for line in said({}, np.r_[-999, A[1:]], {}))
    wide = np.r_[marks, RANDOM.uniform(-1e6, 1e6, ROWS - len(marks))]
    assert not said({"hours": wide}, LABELS, {})


def test_copied_rows_are_counted():
    twice = np.r_[np.arange(ROWS), np.arange(20)]
    table = Table("t", {"a": A[twice], "y": LABELS[twice]})
    (line,) = cautions(table, "y", "classification")
    assert line.startswith("20 of 220 rows are copies of others")


def test_very_many_names_are_told():
    rows = 4000
    names = np.array([f"n{min(number % 1500, 1200)}" for number in range(rows)], object)
    names[:100] = [f"once {number}" for number in range(100)]
    table = Table(
        "t", {"town": names, "a": RANDOM.normal(size=rows), "y": RANDOM.normal(size=rows)}
    )
    (line,) = cautions(table, "y", "regression")
    assert line.startswith("column 'town' has 1301 names, of which 100 are in one row alone")
    assert line.endswith("--drop town")


@pytest.mark.parametrize("name", BUNDLED)
def test_ordinary_tables_raise_no_alarm(name):
    table = read_table(name)
    assert cautions(table, BUNDLED[name], decide_task(table, BUNDLED[name])) == []


def test_large_tables_are_looked_at_quickly():
    rows = MOST_CELLS // 2 + 1
    table = Table("t", {"id": np.arange(rows, dtype=float), "y": np.exp(2 * np.resize(A, rows))})
    (line,) = cautions(table, "y", "regression")
    assert "long tail" in line


def test_skewness_of_known_numbers():
    """Of an exponential distribution it is 2; of scikit-learn's diabetes 0.44, as SciPy says."""
    sample = np.random.default_rng(1).exponential(size=200_000)
    assert skewness(sample) == pytest.approx(2, abs=0.1)
    assert skewness(datasets.load_diabetes().target) == pytest.approx(0.4390664, abs=1e-6)
    assert skewness(np.ones(5)) == 0


def test_rows_that_are_alike_by_chance_and_years_are_quiet():
    draw = np.random.default_rng(0)
    words = np.array(["a", "b", "c"], object)
    label = np.array(["no", "yes"], object)
    coarse = {"age": draw.integers(18, 80, 400) * 1.0, "job": words[draw.integers(0, 3, 400)],
              "y": label[draw.integers(0, 2, 400)]}  # fmt: skip
    assert cautions(Table("t", coarse), "y", "classification") == []
    twice = {name: np.concatenate([values, values]) for name, values in coarse.items()}
    fine = twice | {"size": np.tile(draw.normal(size=400), 2)}
    (line,) = cautions(Table("t", fine), "y", "classification")
    assert "400 of 800 rows are copies" in line
    years = {"year": np.arange(1901.0, 2001), "y": draw.normal(size=100)}
    assert cautions(Table("t", years), "y", "regression") == []
    one_day = {"day": np.full(100, np.datetime64("2020-01-01")), "y": draw.normal(size=100)}
    assert cautions(Table("t", one_day), "y", "regression") == []


def test_names_are_quoted_for_a_shell():
    columns = {"": np.arange(50.0), "row id": np.arange(50.0)[::-1] * 3, "y": np.arange(50.0) % 7}
    lines = cautions(Table("t", columns), "y", "classification")
    assert any("--drop ''" in line for line in lines)
    assert any("--drop 'row id'" in line for line in lines)
