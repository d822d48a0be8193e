"""`gpubp card`: it says what the model file holds, and no name is read as Markdown."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")
from markdown_it import MarkdownIt
from typer.testing import CliRunner

import gpubp
from gpubp.cli.app import app
from gpubp.cli.card import escaped
from gpubp.errors import ModelFileError, OutputPathError

TOWN = "to|wn <b>*x*</b> `c` [l](http://a.b) _u_"
CLASSES = ["no # 1", "yes | ~~2~~"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a model whose names are full of Markdown, and the table it learnt from."""
    folder = tmp_path_factory.mktemp("card")
    draw = np.random.default_rng(0)
    table = {
        "age": draw.uniform(20, 70, 60),
        TOWN: draw.choice(["Rome", "Os|lo"], 60).astype(object),
        "size": draw.integers(0, 2, 60),
        "since": np.datetime64("2024-01-01") + draw.integers(0, 90, 60).astype("timedelta64[D]"),
    }
    pandas = pytest.importorskip("pandas")
    table["size"] = pandas.Categorical.from_codes(table["size"], ["S", "M"], ordered=True)
    labels = np.where(table["age"] > 45, *CLASSES).astype(object)
    model = gpubp.TabularClassifier(members=2, hidden=(6,), epochs=3, random_state=0, backend="cpu")
    model.fit(pandas.DataFrame(table), labels).save(folder / "people.safetensors")
    frame = pandas.DataFrame(table | {model.model_.preprocessing.target: labels})
    frame.to_csv(folder / "people.csv", index=False)
    return folder


def run(*words):
    done = CliRunner().invoke(app, [*map(str, words), "--backend", "cpu"], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_names_are_what_a_reader_of_the_card_sees(folder):
    text = run("card", folder / "people.safetensors")
    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    cells = re.findall(r"<td>(.*?)</td>", html)
    unescaped = [
        cell.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") for cell in cells
    ]
    assert unescaped[::3] == ["age", TOWN, "size", "since"]
    assert unescaped[1::3] == ["number", "names", "names in order", "time"]
    assert unescaped[5] == "Os|lo, Rome"
    assert unescaped[8] == "S, M"
    assert unescaped[11].startswith("about 2024-02-")
    assert ", ".join(CLASSES) in html
    assert "<a href" not in html
    assert "<s>" not in html


def test_very_many_names_are_names_too(tmp_path):
    """They are embedded; the card called them hashed words."""
    pandas = pytest.importorskip("pandas")
    towns = np.array([f"t{number:03d}" for number in range(300)] * 2, object)
    frame = pandas.DataFrame({"town": towns, "x": np.arange(600.0)})
    model = gpubp.TabularRegressor(members=1, hidden=(4,), epochs=1, random_state=0, backend="cpu")
    model.fit(frame, np.arange(600.0) % 7).save(tmp_path / "towns.safetensors")
    text = run("card", tmp_path / "towns.safetensors")
    (row,) = re.findall(r"^\| town .*", text, re.MULTILINE)
    shown = ", ".join(f"t{number:03d}" for number in range(20))
    assert row.startswith(f"| town | names | {shown} and ")


@pytest.mark.parametrize(
    "text", ["a|b", "*a* **b**", "<i>", "`x`", "&amp;", "a\nb", "\\", "![](x)", "é \u2013 Ω 5%"]
)
def test_escaped_text_comes_out_as_it_was(text):
    html = MarkdownIt("commonmark").renderInline(escaped(text))
    shown = html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
    assert shown.replace("&amp;", "&") == text.replace("\n", " ")


def test_the_headings_are_hugging_faces(folder):
    text = run("card", folder / "people.safetensors")
    assert text.startswith("---\nlibrary_name: gpubp\npipeline_tag: tabular-classification\n---\n")
    assert re.findall("^## (.*)", text, re.MULTILINE) == [
        "Model Details",
        "Uses",
        "Bias, Risks, and Limitations",
        "How to Get Started with the Model",
        "Training Details",
        "Evaluation",
        "Technical Specifications",
    ]


def test_measures_are_those_of_evaluate_and_name_their_table(folder):
    model, table = folder / "people.safetensors", folder / "people.csv"
    measured = json.loads(run("evaluate", model, table, "--json"))
    text = run("card", model, table)
    for name, value in measured.items():
        assert f"| {name} | {value:.6g} |" in text
    assert "60 rows of people.csv" in text
    assert str(folder) not in text
    assert "not measured" in run("card", model)


def test_the_cards_own_program_runs(folder):
    text = run("card", folder / "people.safetensors")
    (code,) = re.findall("```python\n(.*?)```", text, re.DOTALL)
    frame = "import pandas; frame = pandas.read_csv('people.csv', parse_dates=['since'])\n"
    done = subprocess.run(
        [sys.executable, "-c", frame + code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_out_is_written_whole_or_not_at_all(folder, tmp_path):
    out = tmp_path / "README.md"
    assert run("card", folder / "people.safetensors", "--out", out) == ""
    assert out.read_text() == run("card", folder / "people.safetensors")
    before = out.read_bytes()
    with pytest.raises(ModelFileError, match="does not exist"):
        run("card", folder / "none", "--out", out)
    assert out.read_bytes() == before
    with pytest.raises(OutputPathError):
        run("card", folder / "people.safetensors", "--out", Path(tmp_path, "no", "README.md"))
