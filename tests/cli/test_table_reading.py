"""Tables as people have them: other separators, decimal commas, marks, workbooks, streams."""

import io
import json
import random
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from command_runs import ENVIRONMENT, good, gpubp, refused, write_rows
from gpubp.cli.table_reading import TableOptions, read_to_train
from gpubp.errors import ConfigurationError, DataError, UnknownNameError
from gpubp.tables.table import read_table

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")
QUICK = ("--preset", "fast", "--epochs", "3", "--hidden", "8")


def amounts(rows=120):
    draw = random.Random(0)
    for _ in range(rows):
        value = draw.uniform(1, 5000)
        yield value, draw.uniform(0, 100), 2 * value + draw.gauss(0, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table written in the German way and the same one written plainly."""
    folder = tmp_path_factory.mktemp("reading")
    german, plain = [["Preis", "Anteil", "Tag", "y"]], [["Preis", "Anteil", "Tag", "y"]]
    for row, (price, share, y) in enumerate(amounts()):
        shown = f"{price:,.2f}".translate(str.maketrans(",.", ".,")) + " €"
        day = 1 + row % 28
        german.append([
            "?" if row == 7 else shown, f"{share:.1f}%".replace(".", ","), f"{day:02}.03.2020",
            f"{y:.3f}".replace(".", ","),
        ])  # fmt: skip
        cell = "" if row == 7 else f"{price:.2f}"
        plain.append([cell, f"{share:.1f}", f"2020-03-{day:02}", f"{y:.3f}"])
    write_rows(folder / "german.csv", german, ";")
    write_rows(folder / "plain.csv", plain)
    return folder


def test_a_german_table_is_learnt_like_a_plain_one(folder):
    done = gpubp("train", "german.csv", "--target", "y", *QUICK, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    for line in (
        "column 'Preis' is read as numbers like 1.234,5 with €; '?' in 1 row is missing",
        "column 'Anteil' is read as numbers like 1234,5 with %",
        "column 'Tag' is read as days like day.month.year",
    ):
        assert line in done.stderr
    good("train", "plain.csv", "--target", "y", *QUICK, cwd=folder)
    answers = []
    for name in ("german", "plain"):
        shown = good("predict", f"{name}.safetensors", f"{name}.csv", "--json", cwd=folder)
        answers.append([row["prediction"] for row in json.loads(shown)])
    np.testing.assert_array_equal(*answers)
    words = ("evaluate", "german.safetensors", "german.csv", "--part", "test", "--json")
    report = json.loads(done.stdout)
    assert json.loads(good(*words, cwd=folder))["r2"] == report["r2"]


def test_the_predictor_reads_cells_like_the_command(folder):
    good("train", "german.csv", "--target", "y", *QUICK, cwd=folder)
    good("export", "german.safetensors", "german.py", cwd=folder)
    done = subprocess.run(
        [sys.executable, "german.py", "german.csv"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    shown = good("predict", "german.safetensors", "german.csv", "--json", cwd=folder)
    expected = [row["prediction"] for row in json.loads(shown)]
    np.testing.assert_allclose(np.loadtxt(io.StringIO(done.stdout)), expected, rtol=1e-4)
    (folder / "odd.csv").write_text("Preis;Anteil;Tag\n1.234,50;5%;2020-03-01\n")
    done = subprocess.run(
        [sys.executable, "german.py", "odd.csv"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "'2020-03-01'" in done.stderr
    assert "Traceback" not in done.stderr
    refused("predict", "german.safetensors", "odd.csv", cwd=folder)


def test_standard_input(folder):
    good("train", "plain.csv", "--target", "y", *QUICK, cwd=folder)
    done = subprocess.run(
        [sys.executable, "-m", "gpubp", "predict", "plain.safetensors", "-"],
        cwd=folder, capture_output=True, env=ENVIRONMENT, input=(folder / "plain.csv").read_bytes(),
    )  # fmt: skip
    assert done.stdout.decode() == good("predict", "plain.safetensors", "plain.csv", cwd=folder)


def test_every_format_holds_the_same_table(folder, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("openpyxl")
    frame = pandas.DataFrame({"a": [1.5, None, 3.0], "b": ["x", None, "ü"], "n": [1, 2, 3]})
    frame["t"] = pandas.to_datetime(["2020-01-01", "2020-01-02", "2021-05-05"])
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_feather(tmp_path / "t.feather")
    frame.to_excel(tmp_path / "t.xlsx", index=False)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "u.csv", index=False, encoding="utf-16")
    days = frame.assign(t=frame["t"].dt.strftime("%Y-%m-%d 00:00:00"))
    days.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.write(tmp_path / "t.csv", "inner/t.csv")
    expected = read_table(tmp_path / "t.parquet")
    for name in ("t.feather", "t.xlsx", "t.csv", "u.csv", "t.jsonl", "t.zip"):
        found = read_table(tmp_path / name)
        assert found.kinds == expected.kinds, name
        for column in expected.columns:
            np.testing.assert_array_equal(found.column(column), expected.column(column), name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xlsx", b"PK", r"'a\.xlsx' cannot be read as an \.xlsx file"),
        ("a.zip", b"PK", r"'a\.zip' cannot be read as a zip file"),
        ("a.feather", b"a,b", r"cannot be read as a Feather file"),
        ("a.jsonl", b"{", r"cannot be read as a JSON lines file"),
        ("a.csv", b"a,b\n\n1,2\n3,4\n\n5,6,7\n", r"line 6: cells are 3 and columns 2"),
        ("a.csv", b'a,b\n"1\n2",2\n3\n', r"line 4: cells are 1 and columns 2"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_line(tmp_path, name, content, message):
    pytest.importorskip("openpyxl")
    pytest.importorskip("pandas")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_options_say_how_a_table_is_read(tmp_path):
    (tmp_path / "a.csv").write_text("1_2,5_red_-999\n2_3,5_7_4\n")
    options = TableOptions.of("_", ",", ["-999"], True)
    table, reading, _ = read_to_train(str(tmp_path / "a.csv"), options, drop="column1")
    assert list(table.columns) == ["column2", "column3", "column4"]
    assert table.column("column2").tolist() == [2.5, 3.5]
    np.testing.assert_array_equal(table.column("column4"), [np.nan, 4])
    assert reading.missing == ("-999",)
    assert options.words == " --sep _ --no-header"
    for bad in (("ab", None), (None, ";"), ("\n", None)):
        with pytest.raises(ConfigurationError):
            TableOptions.of(*bad, [], False)


def test_types_of_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("zip,price,y\n01234,5,1\n00234,?,2\n")
    usual = TableOptions()
    table, _, _ = read_to_train(str(path), usual, types="zip=category,price=number")
    assert table.column("zip").tolist() == ["01234", "00234"]
    assert table.kinds["price"] == "number"
    path.write_text("zip,price,y\n01234,5,1\n00234,cheap,2\n00235,4,2\n")
    with pytest.raises(DataError, match="'cheap' in row 2"):
        read_to_train(str(path), usual, types="price=number")
    with pytest.raises(UnknownNameError, match="category"):
        read_to_train(str(path), usual, types="price=categories")
    with pytest.raises(ConfigurationError, match="column=type"):
        read_to_train(str(path), usual, types="price")
    with pytest.raises(UnknownNameError, match="'price'"):
        read_to_train(str(path), usual, types="prize=number")
    with pytest.raises(UnknownNameError, match="'price'"):
        read_to_train(str(path), usual, drop="prize")


def test_predictions_by_the_end_of_their_name_and_kept_columns(tmp_path):
    """Parquet, JSON and CSV hold the same; kept columns stand as the table has them."""
    pandas = pytest.importorskip("pandas")
    rows = [[f"00{row}", f"2020-01-{1 + row % 28:02}", row % 7, "ab"[row % 2]] for row in range(60)]
    write_rows(tmp_path / "t.csv", [["id", "day", "x", "y"], *rows])
    words = ("train", "t.csv", "--target", "y", "--drop", "id", "--class-weight", "balanced")
    good(*words, *QUICK, cwd=tmp_path)
    for ending in ("csv", "json", "parquet"):
        words = ("predict", "t.safetensors", "t.csv", "--keep", "id,day", "--out", f"p.{ending}")
        good(*words, cwd=tmp_path)
    parquet = pandas.read_parquet(tmp_path / "p.parquet")
    assert parquet["id"].tolist() == [row[0] for row in rows]
    assert parquet["day"].tolist() == [f"{row[1]}T00:00:00" for row in rows]
    assert list(parquet) == ["id", "day", "prediction", "probability_a", "probability_b"]
    assert set(parquet["prediction"]) <= {"a", "b"}
    found = json.loads((tmp_path / "p.json").read_text())
    assert found == parquet.to_dict("records")
    plain = pandas.read_csv(tmp_path / "p.csv", dtype={"id": str})
    pandas.testing.assert_frame_equal(plain, parquet, rtol=1e-5, check_dtype=False)
    line = refused("predict", "t.safetensors", "t.csv", "--keep", "ID", cwd=tmp_path)
    assert "unknown column 'ID'" in line
    line = refused("train", "diabetes", "--class-weight", "balanced", cwd=tmp_path)
    assert "the task is regression" in line


def test_a_workbook_is_not_streamed(folder):
    (folder / "t.xlsx").write_bytes(b"PK")
    line = refused("train", "t.xlsx", "--target", "y", "--stream", cwd=folder)
    assert "--no-stream is needed" in line
    words = ("train", "plain.csv", "--target", "y", "--stream", "--missing", "-999")
    assert "--no-stream is needed" in refused(*words, cwd=folder)


def test_a_column_without_a_name_is_read_and_can_be_dropped(tmp_path):
    """It was left out without a word, whatever it held."""
    rows = [["abc"[k % 3], k * k % 17, "yes" if k % 3 == 0 else "no"] for k in range(90)]
    write_rows(tmp_path / "t.csv", [["", "x", "y"], *rows])
    words = ("train", "t.csv", "--target", "y", "--preset", "fast")
    assert json.loads(good(*words, "--json", cwd=tmp_path))["accuracy"] == 1
    assert json.loads(good(*words, "--json", "--drop", "", cwd=tmp_path))["accuracy"] < 1


def test_documents_and_searches_read_tables_as_options_say(trained, tmp_path):
    model = trained / "people.safetensors"
    (tmp_path / "p.csv").write_text((trained / "people.csv").read_text().replace(",", "#"))
    told = good("card", model, "p.csv", "--sep", "#", cwd=tmp_path)
    plain = good("card", model, trained / "people.csv", cwd=tmp_path)
    assert told == plain.replace("people.csv", "p.csv")
    few = ("--trials", "1", "--epochs", "1", "--preset", "fast")
    found = good("tune", "p.csv", "--target", "rich", "--sep", "#", *few, cwd=tmp_path)
    assert "gpubp evaluate p.safetensors p.csv --sep '#' --part test" in found
