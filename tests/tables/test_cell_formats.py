"""Numbers and days as people write them: what is recognised, what is not, and what is kept."""

import datetime
import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from gpubp.errors import DataError, ModelFileError
from gpubp.tables.cell_formats import FEW_CELLS, FEW_WORDS, CellFormat, recognised
from gpubp.tables.encoding import stray_text
from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.reading import Reading, recognise
from table_building import table

SWAPPED = str.maketrans(",.", ".,")
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
    form = recognised(Counter(["1,234"]), decimal, likely)
    assert form.value("1,234") == value
    _, _, notes = recognise(table(c=["1,234"]), (), decimal, likely)
    assert ("--decimal" in notes[0]) == (not decimal)


NUMBERS_AS_TEXT = [f"{row / 8:.3f}" for row in range(400)]


@pytest.mark.parametrize("make", [str, lambda cell: f"{float(cell):,.2f} €".translate(SWAPPED)])
def test_few_words_among_many_numbers_are_missing(make):
    """They are said with their rows, kept in the reading, and any other word is still an error."""
    texts = list(map(make, NUMBERS_AS_TEXT))
    texts[60] = texts[70] = "unknown"
    texts[300] = " broken "
    read, reading, (note,) = recognise(table(c=texts))
    expected = np.arange(400) / 8
    expected[[60, 70, 300]] = np.nan
    np.testing.assert_allclose(read.column("c"), expected, atol=0.01)
    assert "'broken' in row 301, 'unknown' in rows 61, 71" in note
    assert "--types c=category" in note
    again = Reading.from_dict(json.loads(json.dumps(reading.to_dict())))
    assert np.isnan(again.apply(table(c=["unknown"])).column("c")).all()
    with pytest.raises(DataError, match="row 1: 'other'"):
        again.apply(table(c=["other"]))


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["never"] * (round(400 * FEW_CELLS) + 1), NUMBERS_AS_TEXT),  # too many cells
        ([f"w{n}" for n in range(FEW_WORDS + 1)], NUMBERS_AS_TEXT),  # too many words
        (["A1"], [str(row % 12) for row in range(400)]),  # as codes are
        (["never"], NUMBERS_AS_TEXT[:60]),  # one cell of few
    ],
)
def test_more_words_leave_a_column_of_text_and_are_said(words, numbers):
    texts = [*words, *numbers[len(words) :]]
    read, reading, notes = recognise(table(c=texts))
    assert read.column("c").tolist() == texts
    assert not notes
    assert reading.to_dict() == {}
    said = stray_text(read, "c")
    assert f"but not '{words[0]}' in " in said
    told = " ".join(f"--missing={word}" for word in dict.fromkeys(words))
    assert f"; with {told} it holds numbers" in said


def test_a_few_words_among_days():
    texts = [f"{1 + row % 28:02}.{1 + row // 28 % 12:02}.2007" for row in range(400)]
    texts[7] = "soon"
    read, _, (note,) = recognise(table(day=texts))
    assert read.kinds["day"] == "time"
    assert np.flatnonzero(np.isnan(read.column("day"))).tolist() == [7]
    assert "'soon' in row 8" in note


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
