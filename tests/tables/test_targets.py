"""The task and the encoding of a target column, and data that cannot be fitted."""

import json

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from gpubp.errors import (
    ConfigurationError,
    DataError,
    NonFiniteError,
    ShapeError,
    UnknownNameError,
)
from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.table import read_table
from gpubp.tables.target_rows import keep_rows_with_target
from table_building import NAN, fitted_mixed, table


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["x", "y"] * 3, "classification"),
        ([True, False] * 3, "classification"),
        ([0, 1, 2] * 2, "classification"),
        ([0.0, 1.0, NAN] * 2, "classification"),
        (list(range(20)) * 2, "classification"),
        (list(range(21)) * 2, "regression"),
        ([1, 2, 3, 4, 5], "regression"),
        ([0.5, 1.0] * 10, "regression"),
        (np.array(["2020-01-01", "2020-01-02"] * 3, dtype="datetime64[D]"), "regression"),
    ],
)
def test_task_is_decided_from_the_target(values, task):
    data = table(a=np.arange(len(values)), y=values)
    assert Preprocessing.fit(data, "y").task == task


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        ([1, 2] * 3, "regression", []),
        ([True, False] * 3, "regression", []),
        ([0.5, 1.0, 2.5], "classification", [0.5, 1.0, 2.5]),
        (list(range(30)), "classification", list(range(30))),
    ],
)
def test_task_can_be_overridden(values, task, classes):
    data = table(a=np.arange(len(values)), y=values)
    fitted = Preprocessing.fit(data, "y", task=task)
    assert (fitted.task, fitted.classes) == (task, classes)
    assert fitted.outputs == (len(classes) or 1)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["b", "a", "b", "a"], ["a", "b"]),
        ([7, -1, 7, -1], [-1, 7]),
        ([7.0, -1.0, 7.0, -1.0], [-1, 7]),
        ([True, False, True, False], [False, True]),
    ],
)
def test_labels_keep_their_kind_through_json(values, classes):
    data = table(a=[1, 2, 3, 4], y=values)
    fitted = Preprocessing.fit(data, "y")
    loaded = Preprocessing.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert loaded == fitted
    assert loaded.classes == classes
    assert list(map(type, loaded.classes)) == list(map(type, classes))
    assert loaded.targets(data).tolist() == [1, 0, 1, 0]
    assert loaded.targets(data).dtype == np.int64
    labels = loaded.labels(np.array([[0.4, 0.6], [0.9, 0.1]], np.float32))
    assert labels.tolist() == classes[::-1]
    assert list(map(type, labels.tolist())) == list(map(type, classes))


def test_regression_targets_are_standardised_and_brought_back():
    data = table(a=[1, 2, 3, 4, 5], y=[1.5, 2.5, 6.5, 1.5, 1000.0])
    fitted = Preprocessing.fit(data, "y", rows=np.array([0, 1, 2, 3]))
    y = fitted.targets(data)
    assert y.shape == (5, 1)
    assert y.dtype == np.float32
    expected = StandardScaler().fit([[1.5], [2.5], [6.5], [1.5]])
    np.testing.assert_allclose(y, expected.transform(data.column("y")[:, None]), rtol=1e-6)
    np.testing.assert_allclose(fitted.labels(y), data.column("y"), rtol=1e-6)
    assert fitted.labels(y).dtype == np.float64


def test_classes_outside_the_training_rows_are_known_and_noted():
    data = table(a=[1, 2, 3, 4, 5], y=["a", "b", "a", "b", "only"])
    fitted = Preprocessing.fit(data, "y", rows=np.arange(4))
    assert fitted.classes == ["a", "b", "only"]
    assert fitted.targets(data).tolist() == [0, 1, 0, 1, 2]
    assert fitted.notes == ("no training row has the class only",)


def test_row_numbers_are_those_of_the_file_after_rows_were_dropped(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("n,y\n1,a\n2,\n3,b\ninf,a\n")
    data, note = keep_rows_with_target(read_table(path), "y")
    assert note == "1 of 4 rows (first: row 2) have no 'y' and are left out"
    assert data.rows == 3
    with pytest.raises(NonFiniteError, match="column 'n', row 4: inf is not finite"):
        Preprocessing.fit(data, "y")
    assert keep_rows_with_target(data, "y") == (data, "")


@pytest.mark.parametrize(
    ("columns", "arguments", "error", "message"),
    [
        (
            {"a": [1, 2], "kind": ["x", "y"]},
            {"target": "kinds"},
            UnknownNameError,
            "unknown column 'kinds'; did you mean 'kind'",
        ),
        (
            {"a": [1, 2], "y": ["x", "x"]},
            {},
            DataError,
            "target column 'y' has one class only in the training rows, 'x'",
        ),
        (
            {"a": [1, 2, 3], "y": ["x", "x", "z"]},
            {"rows": np.array([0, 1])},
            DataError,
            "one class only in the training rows, 'x'",
        ),
        ({"a": [1, 2], "y": [None, ""]}, {"rows": np.array([0])}, DataError, "no value in the 1"),
        (
            {"a": [1, 2], "y": [NAN, NAN]},
            {},
            DataError,
            "'y' of 'data.csv' has no value in any row",
        ),
        (
            {"a": [1, 2], "y": ["x", "z"]},
            {"task": "regression"},
            ConfigurationError,
            "task is regression, but target column 'y' is text, such as 'x'",
        ),
        (
            {"a": [1, 2], "y": np.array(["2020-01-01", "2020-01-02"], "datetime64[D]")},
            {"task": "classification"},
            ConfigurationError,
            "task is classification, but target column 'y' holds times",
        ),
        (
            {"a": [1, 2], "y": ["x", "z"]},
            {"task": "ranking"},
            ConfigurationError,
            "task is 'ranking'; one of auto, classification, regression",
        ),
        ({"a": [1, 2], "y": [0.5, -np.inf]}, {}, NonFiniteError, "column 'y', row 2: -inf is not"),
        ({"a": [np.inf, 2], "y": ["x", "z"]}, {}, NonFiniteError, "column 'a', row 1: inf is not"),
        (
            {"a": [NAN, NAN], "y": ["x", "z"]},
            {},
            DataError,
            "no column to learn from .*'a' is left",
        ),
        ({"y": ["x", "z"]}, {}, DataError, "no column to learn from besides the target 'y'"),
        ({"a": [1, 2], "y": ["x", "z"]}, {"rows": np.arange(0)}, DataError, "has no rows"),
    ],
)
def test_data_that_cannot_be_fitted(columns, arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        Preprocessing.fit(table(**columns), **{"target": "y", **arguments})
    assert "\n" not in str(caught.value)


def test_target_missing_in_every_row():
    with pytest.raises(DataError, match=r"target column 'y' of 'data.csv' has no value in any row"):
        keep_rows_with_target(table(a=[1, 2], y=[NAN, NAN]), "y")
    with pytest.raises(UnknownNameError, match="unknown column 'z'"):
        keep_rows_with_target(table(a=[1, 2], y=[NAN, NAN]), "z")


def test_targets_that_the_model_cannot_take():
    fitted = fitted_mixed()
    with pytest.raises(DataError, match=r"target 'y', row 2: class c is not one .*\(a, b\)"):
        fitted.targets(table(y=["a", "c"]))
    with pytest.raises(DataError, match="target column 'y', row 2: the value is missing"):
        fitted.targets(table(y=["a", None]))
    with pytest.raises(UnknownNameError, match="unknown column 'y'"):
        fitted.targets(table(a=[1]))
    with pytest.raises(ShapeError, match=r"outputs have shape \(2, 3\); \(rows, 2\) is needed"):
        fitted.labels(np.zeros((2, 3)))
