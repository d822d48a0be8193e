"""Preprocessing as plain data in a model file: exact round trip, malformed fields refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp.errors import (
    ModelFileError,
)
from gpubp.tables.preprocessing import Preprocessing
from table_building import NAN, fitted_mixed, table


@given(
    st.lists(
        st.floats(allow_infinity=False, min_value=-1e30, max_value=1e30), min_size=4, max_size=9
    ),
    st.lists(st.text() | st.none(), min_size=4, max_size=4),
    st.booleans(),
)
def test_json_round_trip_is_exact(numbers, texts, is_regression):
    target = np.linspace(0, 0.7, 4) if is_regression else ["x", "y", "x", "y"]
    data = table(a=numbers[:4], b=np.array(texts, dtype=object), c=[1, 2, 3, 4], y=target)
    fitted = Preprocessing.fit(data, "y")
    loaded = Preprocessing.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert loaded == fitted
    np.testing.assert_array_equal(loaded.transform(data).x, fitted.transform(data).x)


def change(path, value):
    """Return a change of one field of a dictionary, reached by keys and indices."""

    def apply(data):
        for key in path[:-1]:
            data = data[key]
        if value is KeyError:
            del data[path[-1]]
        else:
            data[path[-1]] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["version"], 2, "version 2; this gpubp reads version 1"),
        (["version"], True, "version = True; a whole number is needed"),
        (["version"], KeyError, "lacks the field 'version'"),
        (["task"], "auto", "task = 'auto'; classification or regression"),
        (["task"], [], r"task = \[\]; classification or regression"),
        (["task"], "regression", "lacks the field 'mean'"),
        (["target"], 3, "target = 3; a string"),
        (["target"], "size", "names a column twice"),
        (["classes"], ["a"], "two or more different labels"),
        (["classes"], ["a", "a"], "two or more different labels"),
        (["classes"], ["a", 1], "two or more different labels"),
        (["classes"], [[1], [2]], "two or more different labels"),
        (["classes"], [1.5, NAN], "two or more different labels"),
        (["notes"], "none", "notes = 'none'; a list of strings"),
        (["columns"], [], r"columns = \[\]; a list of columns"),
        (["columns", 0], "size", "'size' where a dictionary is needed"),
        (["columns", 0, "type"], "image", "type = 'image'; numeric or categorical"),
        (["columns", 0, "type"], {}, "type = {}; numeric or categorical"),
        (["columns", 0, "mean"], NAN, "mean = nan; a finite float"),
        (["columns", 0, "scale"], 0.0, r"scale = 0\.0; a finite float above 0"),
        (["columns", 0, "scale"], "1", "scale = '1'"),
        (["columns", 0, "kind"], "text", "kind = 'text'; number, bool or time"),
        (["columns", 0, "indicator"], 1, "indicator = 1; true or false"),
        (["columns", 1, "vocabulary"], ["red", "red"], "a list of different strings"),
        (["columns", 1, "vocabulary"], ["red", None], "a list of different strings"),
        (["columns", 1, "missing"], KeyError, "lacks the field 'missing'"),
    ],
)
def test_malformed_dictionary_is_refused(path, value, message):
    data = json.loads(json.dumps(fitted_mixed().to_dict()))
    change(path, value)(data)
    with pytest.raises(ModelFileError, match=message) as caught:
        Preprocessing.from_dict(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_what_is_no_dictionary_is_refused(data):
    with pytest.raises(ModelFileError, match="where a dictionary is needed"):
        Preprocessing.from_dict(data)
