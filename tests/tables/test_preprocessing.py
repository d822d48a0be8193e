"""Inputs made of columns, against scikit-learn and values worked out by hand."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from gpubp.errors import (
    DataError,
    NonFiniteError,
)
from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.table import Table, read_table
from table_building import CLASSES, MIXED, MIXED_TRAINING, NAN, fitted_mixed, table

WAVES = ("sin", "cos")


def bounded(x):
    """A standardised number as a network is given it."""
    return x / np.sqrt(1 + (np.asarray(x) / 3) ** 2)


def test_mixed_columns_by_hand():
    fitted = fitted_mixed()
    x, warnings = fitted.transform(MIXED)
    assert fitted.task == "classification"
    assert fitted.classes == ["a", "b"]
    assert fitted.outputs == 2
    assert fitted.features == [
        "size",
        "size is missing",
        "colour=blue",
        "colour=red",
        "colour=(missing)",
        "colour=(unknown)",
        "flag",
    ]
    scale, flags = math.sqrt(14 / 3), math.sqrt(3 / 16)  # of 1, 2, 6 and of 1, 0, 1, 1
    on, off = bounded(0.25 / flags), bounded(-0.75 / flags)
    expected = [
        [bounded(-2 / scale), 0, 0, 1, 0, 0, on],
        [bounded(-1 / scale), 0, 1, 0, 0, 0, off],
        [0, 1, 0, 1, 0, 0, on],
        [bounded(3 / scale), 0, 0, 0, 1, 0, on],
        [bounded(97 / scale), 0, 0, 0, 0, 1, off],
        [0, 1, 0, 0, 1, 0, on],
    ]
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, expected, rtol=1e-6)
    assert len(warnings) == 1
    assert "column 'colour': 1 of 6 rows (first: row 5) hold a category" in warnings[0]
    assert "'green'; taken as unknown" in warnings[0]


def test_validation_rows_do_not_reach_the_statistics():
    changed = table(
        size=[1.0, 2.0, NAN, 6.0, -5.0, 1e9],
        colour=["red", "blue", "red", None, "violet", "pink"],
        flag=[True, False, True, True, True, True],
        y=["a", "b", "a", "b", "a", "b"],
    )
    assert Preprocessing.fit(changed, "y", rows=MIXED_TRAINING) == fitted_mixed()


def test_mask_and_indices_choose_the_same_rows():
    mask = np.array([True] * 4 + [False] * 2)
    assert Preprocessing.fit(MIXED, "y", rows=mask) == fitted_mixed()


@given(
    arrays(
        np.float64, st.tuples(st.integers(2, 30), st.integers(1, 3)), elements=st.floats(-1e6, 1e6)
    )
)
def test_numbers_are_standardised_as_by_scikit_learn(matrix):
    # Columns that vary by no more than rounding are judged by the test of constant columns.
    matrix[0] += 1.0 + np.abs(matrix).max(axis=0)
    columns = {f"c{index}": column for index, column in enumerate(matrix.T)}
    data = Table("t", {**columns, "y": np.linspace(0, 0.5, len(matrix))})
    expected = bounded(StandardScaler().fit_transform(matrix))
    np.testing.assert_allclose(
        Preprocessing.fit(data, "y").transform(data).x, expected, rtol=1e-5, atol=1e-6
    )


def test_missing_numbers_are_imputed_as_by_scikit_learn():
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(50, 3))
    matrix[generator.random((50, 3)) < 0.3] = NAN
    columns = {f"c{index}": column for index, column in enumerate(matrix.T)}
    data = Table("t", {**columns, "y": generator.random(50)})
    x = Preprocessing.fit(data, "y").transform(data).x
    scaler = StandardScaler().fit(matrix)  # leaves NaN out of its statistics
    imputed = SimpleImputer().fit_transform(matrix)
    np.testing.assert_allclose(x[:, ::2], bounded(scaler.transform(imputed)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(x[:, 1::2], np.isnan(matrix))


@given(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=30).filter(lambda v: len({*v}) > 1))
def test_categories_are_encoded_as_by_scikit_learn(values):
    data = table(c=values, y=np.linspace(0, 0.5, len(values)))
    fitted = Preprocessing.fit(data, "y")
    expected = OneHotEncoder(sparse_output=False).fit_transform(np.array(values)[:, None])
    x = fitted.transform(data, strict=True).x
    np.testing.assert_array_equal(x[:, :-1], expected)
    assert not x[:, -1].any()
    assert fitted.features[-1] == "c=(unknown)"


@pytest.mark.parametrize(
    ("values", "standardised"),
    [
        ([1e308, -1e308, 1e308, -1e308], [1, -1, 1, -1]),
        ([1e-300, 3e-300, 1e-300, 3e-300], [-1, 1, -1, 1]),
        ([5e-324, 0.0, 5e-324, 0.0], None),
        ([1e15, 1e15 + 2, 1e15, 1e15 + 2], [-1, 1, -1, 1]),
        ([0.1, 0.1, 0.1, 0.1], [0, 0, 0, 0]),
        ([0.0, 0.0, 0.0, 0.0], [0, 0, 0, 0]),
    ],
)
def test_extreme_and_constant_numbers(values, standardised):
    data = table(a=values, y=CLASSES)
    fitted = Preprocessing.fit(data, "y")
    x = fitted.transform(data).x[:, 0]
    assert np.isfinite(x).all()
    if standardised is not None:
        np.testing.assert_allclose(x, bounded(standardised), rtol=1e-6)
    assert fitted.columns[0].standardisation.scale > 0


def test_number_too_far_from_training_for_float32_is_refused():
    fitted = Preprocessing.fit(table(a=[1.0, 2.0, 1.0, 2.0], y=CLASSES), "y")
    with pytest.raises(NonFiniteError, match=r"column 'a', row 2: 1e\+300 is too far from"):
        fitted.transform(table(a=[1.0, 1e300]))


def test_names_of_one_row_are_unknown_where_there_are_very_many():
    often = [f"w{index:03}" for index in range(255)]
    values = often * 3 + ["rare2", "rare1", "rare3"]
    data = table(c=values, y=np.linspace(0, 0.5, len(values)))
    fitted = Preprocessing.fit(data, "y")
    assert list(fitted.columns[0].vocabulary) == often
    x, warnings = fitted.transform(data)
    assert x.ravel().tolist() == [*range(255)] * 3 + [-1, -1, -1]
    assert "3 of 768 rows (first: row 766)" in warnings[0]


def test_text_that_mostly_differs_is_left_out_with_a_note():
    names = [f"name {index}" for index in range(60)]
    data = table(who=names, many=names[:50] + names[:10], n=range(60), y=["a", "b"] * 30)
    fitted = Preprocessing.fit(data, "y")
    assert [column.name for column in fitted.columns] == ["many", "n"]
    assert fitted.notes == (
        "column 'who' is left out: it is text with 60 different values in 60 training rows,"
        " such as 'name 0'",
    )


def test_columns_without_values_or_of_other_types_are_left_out_with_a_note():
    data = table(empty=[NAN] * 4, late=[None, None, None, "x"], n=[1, 2, 3, 4], y=CLASSES)
    data.left_out["list"] = "list<int> values"
    fitted = Preprocessing.fit(data, "y", rows=np.array([0, 1, 2]))
    assert [column.name for column in fitted.columns] == ["n"]
    assert fitted.notes == (
        "column 'list' is left out: it holds list<int> values",
        "column 'empty' is left out: it has no value in the training part",
        "column 'late' is left out: it has no value in the training part",
    )


def test_names_that_are_one_in_training_are_left_out_with_a_note():
    """An input that is 1 in every row is a second bias, which another name would take away."""
    data = table(c=["x", "x", "x", "z"], d=["x", None, "x", "z"], n=[1, 2, 3, 4], y=CLASSES)
    fitted = Preprocessing.fit(data, "y", rows=np.array([0, 1, 2]))
    assert [column.name for column in fitted.columns] == ["d", "n"]
    assert fitted.notes == ("column 'c' is left out: it holds 'x' in every training row",)


def test_stray_text_among_numbers_is_noted():
    fitted = Preprocessing.fit(table(age=["31", "?", None, "40"], y=CLASSES), "y")
    expected = (
        "column 'age' is taken as text: most of its values are numbers, but not '?' in row 2;"
    )
    assert fitted.notes[0].startswith(expected)


def test_prediction_takes_extra_columns_any_order_and_no_target():
    new = table(extra=["?", "?"], flag=[1, 0], colour=["red", "blue"], size=[2.0, 1.0])
    x, warnings = fitted_mixed().transform(new)
    np.testing.assert_array_equal(x[:, 2:6], [[0, 1, 0, 0], [1, 0, 0, 0]])
    assert warnings == []


def test_lacking_column_names_the_nearest():
    with pytest.raises(
        DataError, match=r"'new.csv' lacks the column 'size' .*did you mean .*'SIZE_'"
    ):
        fitted_mixed().transform(table("new.csv", SIZE_=[1.0], colour=["red"], flag=[1]))
    with pytest.raises(
        DataError, match=r"lacks the column 'size' .*\(and 2 more\); no name is near"
    ):
        fitted_mixed().transform(table(qqqq=[1.0]))


def test_unseen_category_is_an_error_under_strict():
    new = table(size=[1.0, 1.0], colour=["red", "mauve"], flag=[1, 1])
    with pytest.raises(DataError, match=r"column 'colour': 1 of 2 rows \(first: row 2\) .*'mauve'"):
        fitted_mixed().transform(new, strict=True)


def test_values_missing_only_at_prediction_are_counted():
    fitted = Preprocessing.fit(
        table(n=[1.0, 2.0, 3.0, 2.0], c=["u", "v", "u", "v"], y=CLASSES), "y"
    )
    new = table(n=[NAN, 2.0, NAN], c=["u", None, "v"])
    x, warnings = fitted.transform(new)
    assert x.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert warnings == [
        "column 'n': 2 of 3 rows (first: row 1) hold no value, which training never had;"
        " taken as the mean of the training part, 2",
        "column 'c': 1 of 3 rows (first: row 2) hold no value, which training never had;"
        " taken as unknown",
    ]
    with pytest.raises(DataError, match="column 'n': 2 of 3 rows"):
        fitted.transform(new, strict=True)


def test_numbers_in_a_column_of_categories_are_written_as_text():
    fitted = Preprocessing.fit(table(c=["1", "x", "2.5", "true"], y=CLASSES), "y")
    assert fitted.text_columns == ["c", "y"]
    x, _ = fitted.transform(table(c=[1.0, 2.5, NAN]))
    assert [fitted.features[slot] for slot in x.argmax(axis=1)] == ["c=1", "c=2.5", "c=(unknown)"]
    assert fitted.transform(table(c=[True])).x.argmax() == fitted.features.index("c=true")


def test_text_in_a_column_of_numbers_names_column_row_and_value():
    fitted = Preprocessing.fit(table(n=[1.0, 2.0, 3.0, 2.0], y=CLASSES), "y")
    with pytest.raises(DataError, match=r"column 'n', row 2: 'tall' is text, but .* a number"):
        fitted.transform(table(n=["3", "tall"]))
    same = fitted.transform(table(n=["3", None])).x
    np.testing.assert_array_equal(same, fitted.transform(table(n=[3.0, NAN])).x)


def test_times_and_numbers_are_not_taken_for_each_other():
    times = np.array(["2020-01-01", "2020-01-03"] * 2, dtype="datetime64[D]")
    fitted = Preprocessing.fit(table(n=times, y=CLASSES), "y")
    found = fitted.transform(table(n=times)).x.ravel()
    np.testing.assert_allclose(found, bounded([-1, 1, -1, 1]), rtol=1e-6)
    for wrong in ([20200101.0], ["20200101"]):
        with pytest.raises(DataError, match=r"column 'n', row 1: .* held a time in training"):
            fitted.transform(table(n=wrong))


@pytest.mark.parametrize(
    ("name", "task", "features", "outputs"),
    [
        ("iris", "classification", 4, 3),
        ("wine", "classification", 13, 3),
        ("breast_cancer", "classification", 30, 2),
        ("digits", "classification", 64, 10),
        ("diabetes", "regression", 10, 1),
    ],
)
def test_bundled_sets_are_fitted_whole(name, task, features, outputs):
    data = read_table(name)
    fitted = Preprocessing.fit(data, "target")
    assert (fitted.task, len(fitted.features), fitted.outputs) == (task, features, outputs)
    matrix = np.column_stack(list(data.without("target").columns.values()))
    np.testing.assert_allclose(
        fitted.transform(data, strict=True).x,
        bounded(StandardScaler().fit_transform(matrix)),
        rtol=1e-5,
        atol=1e-6,
    )


def test_times_are_also_places_in_the_day_the_week_and_the_year():
    times = np.datetime64("2020-01-06T00:00", "s") + np.arange(0, 400 * 86400, 6 * 3600)
    fitted = Preprocessing.fit(table(n=times, y=["a", "b"] * 800), "y")
    names = [f"n: {wave} of the {cycle}" for cycle in ("day", "week", "year") for wave in WAVES]
    assert fitted.features == ["n", *names]
    x = fitted.transform(table(n=times)).x
    np.testing.assert_allclose(x[:4, 1:3], [[0, 1], [1, 0], [0, -1], [-1, 0]], atol=1e-4)
    np.testing.assert_allclose(x[::28, 3:5], x[:1, 3:5].repeat(58, axis=0), atol=1e-4)  # a week
    year = x[:, 5:]
    np.testing.assert_allclose((year**2).sum(axis=1), 1, rtol=1e-5)
    assert np.abs(year[0] - year[365 * 4]).max() < 0.01 < np.abs(year[0] - year[100]).max()
    days = times.astype("datetime64[D]")[:20]
    assert Preprocessing.fit(table(n=days, y=["a", "b"] * 10), "y").features[1:] == names[2:4]


def test_names_with_an_order_are_their_numbers_in_it():
    sizes = Table(
        *("t", {"size": np.array(["M", "S", None, "L"], object), "y": np.array([1.0, 2, 3, 4])}),
        orders={"size": ("S", "M", "L", "XL")},
    )
    fitted = Preprocessing.fit(sizes, "y")
    assert fitted.features == ["size", "size is missing"]
    ranks = np.array([1, 0, 1, 2])  # a missing one is the mean of the others
    x = fitted.transform(sizes).x
    np.testing.assert_allclose(x[:, 0], bounded((ranks - 1) / np.std([1, 0, 2])), rtol=1e-6)
    assert x[:, 1].tolist() == [0, 0, 1, 0]
    again = Preprocessing.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again == fitted
    other = fitted.transform(table(size=["XL", "S", "huge", "M"])).x
    assert other[0, 0] > x[3, 0]
    assert other[2].tolist() == [0, 1]


def test_free_text_is_the_words_hashed_by_scikit_learn():
    from sklearn.feature_extraction.text import HashingVectorizer

    draw = np.random.default_rng(0)
    words = ["good", "bad", "slow", "fast", "cheap", "dear", "new"]
    texts = [" ".join(draw.choice(words, 5)) for _ in range(60)]
    data = table(note=texts, id=[f"n{number}" for number in range(60)], y=["a", "b"] * 30)
    fitted = Preprocessing.fit(data, "y")
    expected = HashingVectorizer(n_features=32).transform(texts).toarray()
    np.testing.assert_allclose(fitted.transform(data).x, expected, rtol=1e-6)
    assert any("'note' is text, read as 32 numbers hashed" in note for note in fitted.notes)
    assert any("'id' is left out" in note for note in fitted.notes)
    assert Preprocessing.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted
