"""Numbers and days as people write them: what is recognised, what is not, and what is kept."""

import datetime
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from gpubp.errors import DataError, ModelFileError
from gpubp.tables.cell_formats import CellFormat, recognised
from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.reading import Reading, recognise
from table_building import table

DAY = datetime.datetime(2007, 11, 11, tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["1,5", "-2,25", "3"], [1.5, -2.25, 3]),
        (["1.234,5", "12", "0,5"], [1234.5, 12, 0.5]),
        (["1 234,5", "1\u00a0234\u202f567"], [1234.5, 1234567]),
        (["$3,621.59", "-$7", "$ -1.5", "12"], [3621.59, -7, -1.5, 12]),
        (["3.621,59 €", "7€", "0,5"], [3621.59, 7, 0.5]),
        (["43.2%", "7 %", "-1%"], [43.2, 7, -1]),
        (["1'234.5", "12"], [1234.5, 12]),
        (["5", "?", "-", ".", "n/a", "NULL", "1e3"], [5, *[math.nan] * 5, 1000]),
        (["1,234", "12,500"], [1234, 12500]),
        (["11.11.2007", "?"], [DAY, math.nan]),
        (["11.11.2007 00:01"], [DAY + 60]),
        (["11/11/2007", "31/01/2020"], [DAY, DAY + 4464 * 86400]),
        (["11/11/2007", "01/31/2020"], [DAY, DAY + 4464 * 86400]),
        (["2007-11-11", "-"], [DAY, math.nan]),
        (["2007-11-11T00:01:00.000"], [DAY + 60]),
    ],
)  # fmt: skip
def test_what_is_recognised(texts, values):
    read, reading, notes = recognise(table(c=texts))
    np.testing.assert_allclose(read.column("c"), values, rtol=1e-15)
    assert len(notes) == 1
    assert notes[0].startswith("column 'c' is read as ")
    kept = Reading.from_dict(json.loads(json.dumps(reading.to_dict())))
    np.testing.assert_array_equal(kept.apply(table(c=texts)).column("c"), read.column("c"))


@pytest.mark.parametrize(
    "texts",
    [
        ["red", "?"], ["1,5", "x"], ["$1", "2€"], ["43%", "0.43"], ["01/02/2020", "03/04/2020"],
        ["?", "-"], ["1.2.3"], ["5$5"], ["1_000", "?"], ["inf", "?"], ["30.02.2020"],
        ["1,23,456"], ["12", "7"], ["\u0665", "?"], ["007,5", "1,234,567"],
    ],
)  # fmt: skip
def test_what_stays_text(texts):
    read, reading, notes = recognise(table(c=texts))
    assert read.column("c").tolist() == texts
    assert not notes
    assert reading.to_dict() == {}


@pytest.mark.parametrize(
    ("decimal", "likely", "value"),
    [("", ".", 1234), ("", ",", 1.234), (",", ".", 1.234), (".", ",", 1234)],
)
def test_a_comma_that_may_be_either(decimal, likely, value):
    form = recognised({"1,234"}, decimal, likely)
    assert form.value("1,234") == value
    _, _, notes = recognise(table(c=["1,234"]), (), decimal, likely)
    assert ("--decimal" in notes[0]) == (not decimal)


def test_a_comma_said_to_be_decimal_makes_points_thousands():
    """Also in a column of which a table of the training has whole numbers only."""
    read, reading, _ = recognise(table(c=["1.234"], d=[5.0]), decimal=",")
    assert read.column("c").tolist() == [1234]
    assert reading.apply(table(d=["1.234,5"])).column("d").tolist() == [1234.5]


def test_missing_cells_as_the_user_says():
    found = table(n=[1.0, -999.0, 3.0], t=["a", "unknown", "b"], m=["1", "unknown", "2"])
    read, reading, notes = recognise(found, ("-999", "unknown"))
    np.testing.assert_array_equal(read.column("n"), [1, math.nan, 3])
    assert read.column("t").tolist() == ["a", None, "b"]
    np.testing.assert_array_equal(read.column("m"), [1, math.nan, 2])
    assert recognise(found)[0].column("n").tolist() == [1, -999, 3]
    assert reading.missing == ("-999", "unknown")
    assert len(notes) == 1


def test_the_note_says_what_was_done():
    _, _, notes = recognise(table(price=["$3,621.59", "?", "-", "?", "$1"]))
    assert notes == [
        "column 'price' is read as numbers like 1,234.5 with $; '-', '?' in 3 rows are missing"
    ]


def test_a_cell_written_otherwise_is_refused_with_its_row():
    _, reading, _ = recognise(table(c=["1,5", "2,5"]))
    with pytest.raises(DataError, match=r"column 'c', row 2: '3.5' is not one of the numbers like"):
        reading.apply(table(c=["1,5", "3.5"]))
    assert reading.apply(table(c=[3.5])).column("c").tolist() == [3.5]


def test_names_stay_names():
    read, _, _ = recognise(table(c=["1,5", "2,5"]), names=["c"])
    assert read.kinds["c"] == "text"


def test_a_preprocessing_reads_as_it_was_fitted():
    found = table(price=["1,5", "2,5", "?", "3"], y=["10%", "20%", "35%", "5%"])
    read, reading, _ = recognise(found)
    fitted = Preprocessing.fit(read, "y", "regression")
    kept = Preprocessing.from_dict(
        json.loads(json.dumps(replace(fitted, reading=reading).to_dict()))
    )
    np.testing.assert_array_equal(kept.transform(found).x, fitted.transform(read).x)
    np.testing.assert_array_equal(kept.targets(found), fitted.targets(read))
    assert {"price", "y"} <= set(kept.text_columns)
    assert "reading" not in fitted.to_dict()


@pytest.mark.parametrize(
    "data",
    [
        [], {"missing": []}, {"missing": [1], "formats": {}}, {"missing": [], "formats": []},
        {"missing": [], "formats": {"c": {"format": "x", "sign": "", "missing": []}}},
        {"missing": [], "formats": {"c": {"format": "1,234.5", "sign": "a", "missing": []}}},
        {"missing": [], "formats": {"c": {"format": "1,234.5", "sign": [], "missing": []}}},
    ],
)  # fmt: skip
def test_what_no_file_can_hold_is_refused(data):
    with pytest.raises(ModelFileError):
        Reading.from_dict(data)


def test_a_percent_sign_is_no_option():
    assert CellFormat("1234.5", "%").value("5") is None
    assert CellFormat("1234.5", "$").value("5") == 5
