"""Frames of every kind, and arrays: which table they are, and that it is the same one."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.datasets import load_diabetes

from gpubp import TabularRegressor, errors
from gpubp.tables.frames import table_of
from table_building import people

SMALL = {"hidden": (16,), "epochs": 6, "random_state": 0, "members": 2, "backend": "cpu"}


def frames():
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    arrow = pytest.importorskip("pyarrow")
    columns, _ = people(60)
    plain = {name: values.tolist() for name, values in columns.items()}
    plain["age"] = [None if np.isnan(each) else each for each in plain["age"]]
    return {
        "dict": columns,
        "pandas": pandas.DataFrame(columns),
        "pandas with its own dtypes": pandas.DataFrame(columns).convert_dtypes(),
        "pandas categories": pandas.DataFrame(columns).astype({"town": "category"}),
        "polars": polars.DataFrame(plain),
        "arrow": arrow.table(plain),
    }


def test_every_kind_of_frame_is_the_same_table():
    tables = {name: table_of(frame) for name, frame in frames().items()}
    first = tables.pop("dict")
    assert first.kinds == {"age": "number", "town": "text", "member": "bool", "since": "time"}
    for name, table in tables.items():
        assert list(table.columns) == list(first.columns), name
        assert table.kinds == first.kinds, name
        for column, values in first.columns.items():
            np.testing.assert_array_equal(table.columns[column], values, err_msg=name)


def test_an_order_of_categories_is_kept():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    names = ["S", "M", "L"]
    kind = pandas.CategoricalDtype(names, ordered=True)
    for frame in (
        pandas.DataFrame({"size": pandas.Series(["M", None, "S"], dtype=kind)}),
        polars.DataFrame({"size": polars.Series(["M", None, "S"], dtype=polars.Enum(names))}),
    ):
        table = table_of(frame)
        assert table.orders == {"size": ("S", "M", "L")}
        assert table.column("size").tolist() == ["M", None, "S"]


def test_objects_are_what_they_all_are():
    day = datetime.date(2020, 1, 2)
    zone = datetime.timezone(datetime.timedelta(hours=2))
    table = table_of(
        {
            "number": np.array([1, None, 2.5], object),
            "date": np.array([day, None, day], object),
            "zoned": np.array([datetime.datetime(2020, 1, 2, 2, tzinfo=zone)] * 3, object),
            "mixed": np.array([1, "x", None], object),
            "code": np.array([1.0, 2.0, np.nan]),
        },
        categorical=["code"],
    )
    assert table.kinds == {
        **{"number": "number", "date": "time", "zoned": "time", "mixed": "text", "code": "text"}
    }
    seconds = np.datetime64(day).astype("datetime64[s]").astype(int)
    np.testing.assert_array_equal(table.column("date"), [seconds, np.nan, seconds])
    np.testing.assert_array_equal(table.column("zoned"), [seconds] * 3)
    assert table.column("mixed").tolist() == ["1", "x", None]
    assert table.column("code").tolist() == ["1", "2", None]


def test_numbers_of_columns_may_be_named_categorical():
    x = np.array([[0, 1.0], [1, 2.0]])
    assert table_of(x, categorical=[0]).kinds == {"x0": "text", "x1": "number"}
    with pytest.raises(errors.ConfigurationError, match="categorical holds 2"):
        table_of(x, categorical=[2])
    with pytest.raises(errors.UnknownNameError, match="agee"):
        table_of({"age": x[:, 0]}, categorical=["agee"])


@pytest.mark.parametrize("name", ["dict", "pandas", "polars", "arrow"])
def test_answers_do_not_depend_on_the_frame(name):
    frame, (columns, income) = frames()[name], people(60)
    found = TabularRegressor(**SMALL).fit(frame, income).predict(frame)
    expected = TabularRegressor(**SMALL).fit(columns, income).predict(columns)
    np.testing.assert_array_equal(found, expected)


def test_columns_are_told_apart_by_name_or_by_place(tmp_path):
    pandas = pytest.importorskip("pandas")
    columns, income = people(60)
    frame = pandas.DataFrame(columns)
    model = TabularRegressor(**SMALL).fit(frame, income)
    expected = model.predict(frame)
    numbered = frame.set_axis(range(4), axis=1)
    by_place = TabularRegressor(**SMALL).fit(numbered, income)
    np.testing.assert_array_equal(by_place.predict(numbered), expected)
    pytest.importorskip("safetensors")
    model.save(tmp_path / "model")
    loaded = TabularRegressor.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(frame.assign(more=1)), expected)
    with pytest.raises(errors.DataError, match="two columns called 'age'"):
        model.predict(frame.set_axis(["age", "town", "age", "since"], axis=1))
    with pytest.raises(errors.DataError, match="lacks the column 'town'"):
        loaded.predict(frame.drop(columns="town"))


def test_an_array_is_taken_by_the_places_of_its_columns():
    pandas = pytest.importorskip("pandas")
    x, y = load_diabetes(return_X_y=True)
    model = TabularRegressor(**SMALL).fit(pandas.DataFrame(x), y)
    np.testing.assert_array_equal(model.predict(x), model.predict(pandas.DataFrame(x)))
