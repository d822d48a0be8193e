"""Pages that the command writes: of one step, of lessons, of models."""

import json

import pytest

from command_runs import good, gpubp, refused
from gpubp.text import number_text

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")


def test_pages_are_written(folder, tmp_path):
    """`explain --html` names columns and classes; `learn` needs no data; bad input is one line."""
    page = tmp_path / "step.html"
    model = folder / "people.safetensors"
    good("explain", model, folder / "people.csv", "--row", 3, "--html", page, cwd=folder)
    text = page.read_text()
    assert '"target": "rich"' in text
    assert '"outputs": ["no", "yes"]' in text
    assert '"row": 3, "expected_text": "' in text
    assert "town" in text
    good("learn", "xor", "--out", page, "--language", "fa", cwd=folder)
    assert '"language": "fa"' in page.read_text()
    for words, why in (
        (("learn", "xr"), "unknown lesson 'xr'"),
        (("learn", "--language", "xx"), "unknown language 'xx'"),
        (("learn", "--out", tmp_path / "none" / "a.html"), "cannot write"),
    ):
        done = gpubp(*words, cwd=tmp_path)
        assert done.returncode == 2
        assert why in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
    assert sorted(tmp_path.iterdir()) == [page]


def test_reports_are_written_and_refused_before_training(folder, tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    page, model = tmp_path / "report.html", folder / "people.safetensors"
    good("report", model, folder / "people.csv", "--out", page, cwd=tmp_path)
    assert "Which columns matter" in page.read_text()
    assert "rows were trained on" in page.read_text()
    good("report", model, folder / "people.csv", "--part", "test", "--out", page, cwd=tmp_path)
    assert "the test part" in page.read_text()
    assert "rows were trained on" not in page.read_text()
    options = ("train", folder / "people.csv", "--target", "rich", "--epochs", 2, "--out", "m")
    done = good(*options, "--preset", "fast", "--report", page, "--json", cwd=tmp_path)
    text = page.read_text()
    assert "the test part" in text
    assert "gpubp train" in text
    for measures in json.loads(done)["baselines"].values():
        assert f">{number_text(measures['log_loss'])}<" in text, "those of the command"
    (tmp_path / "m").unlink()
    other = tmp_path / "other.csv"
    other.write_text((folder / "people.csv").read_text().replace(",", "_"))
    good("report", model, other, "--sep", "_", "--out", page, cwd=tmp_path)
    assert "Which columns matter" in page.read_text()
    other.unlink()
    line = refused(*options, "--report", "m", cwd=tmp_path)
    assert "--report m is the model file as well" in line
    line = refused(*options, "--report", folder / "people.csv", cwd=tmp_path)
    assert line.startswith("gpubp: error: --report")
    done = gpubp(*options, "--report", tmp_path / "none" / "report.html", cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot write" in done.stderr
    done = gpubp(*options, "--stream", "--report", page, cwd=tmp_path)
    assert done.returncode == 2
    assert "read while training" in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == [page]
