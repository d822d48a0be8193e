"""Reading of CSV files, Parquet files and bundled data sets, and what cannot be read."""

import datetime
import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import sklearn.datasets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpubp.errors import DataError, ShapeError, UnknownNameError
from gpubp.tables.table import BUNDLED, Table, read_table


def write(tmp_path, content, name="data.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_csv_columns_have_their_kinds_and_missing_values(tmp_path):
    path = write(
        tmp_path,
        "count,size,ok,when,colour,nothing\n1,0.5,true,1970-01-02,red,\nNA,,false,,,\n3,2,,1970-01-01,NA,\n",
    )
    table = read_table(path)
    assert table.name == "data.csv"
    assert table.rows == 3
    assert table.kinds == {
        "count": "number",
        "size": "number",
        "ok": "bool",
        "when": "time",
        "colour": "text",
        "nothing": "number",
    }
    nan = np.nan
    for name, expected in {
        "count": [1, nan, 3],
        "size": [0.5, nan, 2],
        "ok": [1, 0, nan],
        "when": [86400, nan, 0],
        "nothing": [nan, nan, nan],
    }.items():
        assert table.column(name).dtype == np.float64
        np.testing.assert_array_equal(table.column(name), expected)
        np.testing.assert_array_equal(table.missing(name), np.isnan(expected))
    assert table.column("colour").tolist() == ["red", None, None]
    assert table.missing("colour").tolist() == [False, True, True]


def test_type_is_found_from_all_rows_not_the_first_block(tmp_path):
    rows = ["1"] * 600_000 + ["x"]
    table = read_table(write(tmp_path, "a\n" + "\n".join(rows) + "\n"))
    assert table.kinds["a"] == "text"
    assert table.column("a")[[0, -1]].tolist() == ["1", "x"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "a,b\n1,x\n"),
        ("a.CSV", "\ufeffa,b\r\n1,x\r\n"),
        ("a.tsv", "a\tb\n1\tx\n"),
        ("semicolons.csv", "a;b\n1;x\n"),
        ("quoted.csv", '"a","b"\n"1","x"\n'),
        ("a.csv.gz", gzip.compress(b"a,b\n1,x\n", mtime=0)),
        ("a.tsv.gz", gzip.compress(b"a\tb\n1\tx\n", mtime=0)),
    ],
)
def test_forms_of_csv_are_read_alike(tmp_path, name, content):
    table = read_table(write(tmp_path, content, name))
    assert {key: column.tolist() for key, column in table.columns.items()} == {"a": [1], "b": ["x"]}


def test_quoted_line_break_stays_in_its_cell(tmp_path):
    rows = 300_000  # several blocks of the reader: one of them ends within a cell
    table = read_table(write(tmp_path, "a,b\n" + '1,"x\ny"\n' * rows))
    assert table.rows == rows
    assert set(table.column("b")) == {"x\ny"}


def test_columns_asked_for_as_text_keep_leading_zeros(tmp_path):
    path = write(tmp_path, "zip,n\n01,1\n20,\n")
    assert read_table(path).column("zip").tolist() == [1, 20]
    assert read_table(path, text=["zip", "elsewhere"]).column("zip").tolist() == ["01", "20"]


def test_parquet_types_become_numbers_times_and_text(tmp_path):
    zone = datetime.timezone(datetime.timedelta(hours=1))
    arrow = pa.table(
        {
            "int": pa.array([2**60, None], pa.int64()),
            "float": pa.array([1.5, None], pa.float32()),
            "half": pa.array(np.array([1.5, 2], np.float16)),
            "bool": [True, None],
            "decimal": pa.array([1.25, None]).cast(pa.decimal128(5, 2)),
            "date": [datetime.date(1969, 12, 31), None],
            "zoned": [datetime.datetime(1970, 1, 1, 2, tzinfo=zone), None],
            "nanoseconds": pa.array([1_500_000_001, None], pa.timestamp("ns")),
            "time": [datetime.time(0, 1, 0, 500_000), None],
            "duration": [datetime.timedelta(days=1), None],
            "text": ["a", ""],
            "large": pa.array(["a", None], pa.large_string()),
            "dictionary": pa.array(["a", None]).dictionary_encode(),
            "numbers": pa.array([7, None]).dictionary_encode(),
            "list": [[1], None],
        }
    )
    pa.parquet.write_table(arrow, tmp_path / "data.parquet")
    table = read_table(tmp_path / "data.parquet")
    first = {
        "int": 2.0**60,
        "float": 1.5,
        "bool": 1.0,
        "decimal": 1.25,
        "date": -86400.0,
        "zoned": 3600.0,
        "nanoseconds": 1.5,
        "time": 60.5,
        "duration": 86400.0,
        "numbers": 7.0,
        "text": "a",
        "large": "a",
        "dictionary": "a",
    }
    assert {name: table.column(name)[0] for name in first} == first
    assert all(table.missing(name).tolist() == [False, True] for name in first)
    assert table.column("half").tolist() == [1.5, 2.0]
    assert [n for n, kind in table.kinds.items() if kind == "time"] == [
        "date",
        "zoned",
        "nanoseconds",
    ]
    assert list(table.left_out) == ["list"]
    with pytest.raises(DataError, match=r"column 'list' of data.parquet holds list<.*neither"):
        table.column("list")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_every_finite_float_survives_a_csv_file(tmp_path, numbers):
    path = write(tmp_path, "a\n" + "".join(f"{number!r}\n" for number in numbers))
    np.testing.assert_array_equal(read_table(path).column("a"), numbers)


@pytest.mark.parametrize("name", sorted(BUNDLED))
def test_bundled_sets_hold_what_scikit_learn_has(name):
    table = read_table(name)
    bunch = getattr(sklearn.datasets, f"load_{name}")()
    features = table.without(BUNDLED[name])
    assert list(features.columns) == list(bunch.feature_names)
    np.testing.assert_array_equal(np.column_stack(list(features.columns.values())), bunch.data)
    target = table.column("target")
    if name in ("digits", "diabetes"):
        np.testing.assert_array_equal(target, bunch.target)
    else:
        assert target.tolist() == [str(bunch.target_names[index]) for index in bunch.target]
        assert all(type(label) is str for label in target)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", r"'a\.csv' is empty"),
        ("a.csv", "\n\n", r"'a\.csv' is empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), r"'a\.csv\.gz' is empty"),
        ("a.parquet", "", r"'a\.parquet' is empty"),
        ("a.csv", "a,b\n", r"'a\.csv' has a header but no rows"),
        ("a.csv", "a,b,a\n1,2,3\n", r"more than one column named 'a'"),
        ("a.csv", "a,b\n1,2\n3\n", r"'a\.csv', line 3: cells are 1 and columns 2"),
        ("a.csv", b"a,b\n1,caf\x81\n", r"'a\.csv' is neither UTF-8 nor Windows-1252"),
        ("a.csv", b"caf\x81,b\n1,2\n", r"'a\.csv' is neither UTF-8 nor Windows-1252"),
        ("a.csv.gz", b"a,b\n1,2\n", r"cannot be read as a CSV file"),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], r"'a\.csv\.gz'"),
        ("a.parquet", "a,b\n1,2\n", r"cannot be read as a Parquet file"),
        ("a.ods", "PK", r"'a\.ods' is not known as a table by its name"),
    ],
)
def test_bad_file_is_one_line_of_data_error(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read_table(write(tmp_path, content, name))
    assert "\n" not in str(caught.value)


def test_parquet_without_rows_or_usable_columns(tmp_path):
    path = tmp_path / "a.parquet"
    pa.parquet.write_table(pa.table({"a": pa.array([], pa.int64())}), path)
    with pytest.raises(DataError, match="header but no rows"):
        read_table(path)
    pa.parquet.write_table(pa.table({"a": [b"1"]}), path)
    with pytest.raises(DataError, match="no column of numbers or text"):
        read_table(path)


def test_missing_file_suggests_the_bundled_set(tmp_path):
    with pytest.raises(
        DataError, match=r"'irs' does not exist; did you mean the bundled .* 'iris'"
    ):
        read_table("irs")
    with pytest.raises(DataError, match=r"is a directory; a CSV or Parquet file is needed"):
        read_table(tmp_path)


def test_unknown_column_suggests_the_nearest():
    table = Table("t", {"length": np.array([1.0]), "width": np.array([2.0])})
    with pytest.raises(UnknownNameError, match="unknown column 'lenght'; did you mean 'length'"):
        table.column("lenght")
    with pytest.raises(UnknownNameError, match="unknown column 'x'"):
        table.without("x")


def test_table_built_from_arrays_takes_the_standard_form():
    table = Table(
        "t",
        {
            "i": np.array([1, 2]),
            "b": np.array([True, False]),
            "u": np.array(["x", "y"]),
            "o": np.array(["x", None], dtype=object),
            "d": np.array(["1970-01-02", "NaT"], dtype="datetime64[D]"),
        },
    )
    assert table.kinds == {"i": "number", "b": "bool", "u": "text", "o": "text", "d": "time"}
    assert table.column("i").dtype == table.column("b").dtype == np.float64
    assert table.column("u").tolist() == ["x", "y"]
    np.testing.assert_array_equal(table.column("d"), [86400, np.nan])


def test_taken_rows_keep_their_numbers():
    table = Table("t", {"a": np.arange(5.0)})
    taken = table.take(np.array([4, 2])).take(np.array([False, True]))
    assert taken.row_numbers.tolist() == [3]
    assert taken.column("a").tolist() == [2.0]


def test_malformed_columns_are_refused():
    with pytest.raises(ShapeError, match="columns differ in length"):
        Table("t", {"a": np.zeros(2), "b": np.zeros(3)})
    with pytest.raises(ShapeError, match=r"column 'a' has shape \(2, 1\)"):
        Table("t", {"a": np.zeros((2, 1))})
    with pytest.raises(DataError, match="column 'a' has dtype complex128"):
        Table("t", {"a": np.zeros(2, complex)})
