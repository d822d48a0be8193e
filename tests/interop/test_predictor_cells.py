"""A predictor file reads a table's cells as `read_table` does, and gives all digits back."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from gpubp import errors, exchange
from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import prepare
from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.recipe import Recipe
from gpubp.tables.table import Table, read_table
from tolerances import RELATIVE

pytest.importorskip("pyarrow")

NUMBERS = ["1", "-2.5", "1e3", " 7 ", "inf", "0.0001", "NaN", "nan", "NA", "null", "NULL", "N/A"]
NUMBERS += ["", "#N/A", "12:30:00", "12:30", "00:00:01.5", "1_000", "abc", "2020-01-01"]
TEXTS = ["red", "NaN", "nan", "NA", "null", "NULL", "n/a", "", "None", "none", "na", "1", "true"]
TIMES = ["2020-01-01", "2021-06-05 12:30", "2021-06-05T12:30:15", "2021-06-05 12:30:15.250"]
TIMES += ["2021-06-05T12:30:15Z", "2021-06-05 12:30:15+02:00", "NA", "", "1.5", "red", "20200101"]
FLAGS = ["true", "false", "True", "FALSE", "NA", "", "maybe", "tRuE"]
COLUMNS = {
    "number": ("number", [1.0, 2.0, np.nan, 4.0], NUMBERS),
    "text": ("text", ["red", "1", None, "true"], TEXTS),
    "time": ("time", [1.5e9, 1.6e9, np.nan, 1.7e9], TIMES),
    "flag": ("bool", [0.0, 1.0, np.nan, 1.0], FLAGS),
}
CELLS = [(kind, cell) for kind, (_, _, cells) in COLUMNS.items() for cell in cells]


@pytest.fixture(scope="module")
def predictors(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("predictors"), {}
    for name, (kind, values, _) in COLUMNS.items():
        dtype = object if kind == "text" else float
        columns = {"c": np.array(values, dtype), "y": np.array([1.5, 2.25, 3.5, 9.0])}
        table = Table("t", columns, {"c": kind, "y": "number"})
        fitted = Preprocessing.fit(table, "y", "regression")
        from gpubp import Network

        net = Network([len(fitted.features), 4, 1], "tanh", backend="cpu")
        model = TabularModel(net, fitted)
        exchange.write_numpy_predictor(model, folder / f"{name}.py")
        made[name] = model, folder / f"{name}.py"
    return made


@pytest.mark.parametrize(("name", "cell"), CELLS)
def test_every_cell_is_read_alike(predictors, tmp_path, name, cell):
    model, file = predictors[name]
    data = tmp_path / "data.csv"
    data.write_text(f"c,other\n{cell},1\n")
    done = subprocess.run([sys.executable, str(file), str(data)], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    try:
        table = read_table(data, text=model.preprocessing.text_columns)
        expected = model.predict(table).labels
    except errors.GpubpError:
        assert done.returncode == 2, done.stdout
        return
    assert done.returncode == 0, done.stderr
    close = RELATIVE[np.dtype(np.float32)]  # the network sums in another order
    np.testing.assert_allclose(float(done.stdout), expected[0], rtol=close)


def test_large_targets_keep_their_digits(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.standard_normal(500)
    columns = {"x": x, "y": 1e9 + x}
    model = TabularModel.create(
        prepared := prepare(Table("t", columns), "y", "regression", 0.0, 0.2, 0, False),
        recipe := Recipe.of("fast", 400, "regression", {"epochs": 2, "hidden": (8,)}),
        backend="cpu",
    )
    model.train(prepared, recipe)
    exchange.write_numpy_predictor(model, tmp_path / "m.py")
    data = tmp_path / "d.csv"
    data.write_text("x\n" + "\n".join(map(repr, x.tolist())))
    code = (
        "import runpy, csv; m = runpy.run_path(sys.argv[1]);"
        "print(*m['predict']({'x': [float(r[0]) for r in list(csv.reader(open(sys.argv[2])))[1:]]})"
        ".ravel().tolist())"
    )
    words = [sys.executable, "-c", f"import sys; {code}", str(tmp_path / "m.py"), str(data)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found = np.array(done.stdout.split(), float)
    expected = model.predict(read_table(data)).labels
    assert len(set(found)) > 400
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("start", ["\ufeff", ""])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_separators_and_marks_of_utf8_are_found_alike(predictors, tmp_path, mark, start):
    model, file = predictors["number"]
    data = tmp_path / "d.csv"
    data.write_text(f"{start}c{mark}b\n1.5{mark}2\n\n2.5{mark}3\n", encoding="utf-8")
    done = subprocess.run([sys.executable, str(file), str(data)], capture_output=True, text=True)
    expected = model.predict(read_table(data)).labels
    np.testing.assert_allclose(np.array(done.stdout.split(), float), expected, rtol=1e-6)
