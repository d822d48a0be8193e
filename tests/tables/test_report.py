"""Reports and their parts, against scikit-learn and numbers written out."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import gpubp
from command_runs import good
from gpubp import plots
from gpubp.tables.baselines import baselines
from gpubp.tables.dependence import partial_dependence
from gpubp.tables.table import Table
from gpubp.text import number_text

pytest.importorskip("sklearn")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib").use("agg")

NASTY = {"<script>alert(1)</script>": 0, "\"&'": 1, "🧠 $x$": 2, "دمای اتاق": 3}


@pytest.fixture(scope="module")
def classifier():
    random = np.random.default_rng(0)
    columns = {name: random.standard_normal(120) for name in NASTY}
    columns["town"] = random.choice(np.array(["<b>Rome</b>", "Oslo"], object), 120)
    y = np.where(columns["\"&'"] > 0, "<i>yes", "no")
    model = gpubp.TabularClassifier("fast", epochs=8, random_state=0).fit(columns, y)
    return model, columns, y


def test_all_that_comes_from_data_is_escaped(classifier, tmp_path):
    model, columns, y = classifier
    model.report(tmp_path / "report.html", columns, y)
    text = (tmp_path / "report.html").read_text()
    for raw in ("<script>alert", "<b>Rome", "<i>yes"):
        assert raw not in text
    for shown in ("&lt;script&gt;alert(1)&lt;/script&gt;", "&lt;b&gt;Rome", "دمای اتاق", "🧠 $x$"):
        assert shown in text
    assert "http://" not in re.sub(
        r'xmlns(:\w+)?="[^"]*"|<metadata>.*?</metadata>', "", text, flags=re.S
    )


def test_the_measures_are_those_of_the_model_and_of_scikit_learn(classifier, tmp_path):
    dummy = pytest.importorskip("sklearn.dummy")
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    model, columns, _ = classifier
    preprocessing = model.model_.preprocessing
    x = preprocessing.transform(Table("t", columns)).x
    y = (np.asarray(columns["\"&'"]) > 0).astype(int)
    found = baselines(preprocessing, x[80:], y[80:], (x[:80], y[:80]))
    for name, other in (
        ("most frequent class", dummy.DummyClassifier(strategy="prior")),
        ("linear model", LogisticRegression(max_iter=500)),
    ):
        answers = other.fit(x[:80], y[:80]).predict_proba(x[80:])
        assert found[name]["log_loss"] == pytest.approx(log_loss(y[80:], answers))
    apart = baselines(preprocessing, x, y, None)
    assert apart["linear model"]["accuracy"] > 0.8 > apart["most frequent class"]["accuracy"]


def test_partial_dependence_is_the_mean_answer_with_one_value_everywhere(classifier):
    model, columns, _ = classifier
    values, answers = partial_dependence(model.model_, Table("t", columns), "\"&'")
    changed = {**columns, "\"&'": np.full(120, values[3])}
    np.testing.assert_allclose(answers[3], model.predict_proba(changed).mean(axis=0), rtol=1e-5)
    names, answers = partial_dependence(model.model_, Table("t", columns), "town")
    assert set(names) == {"<b>Rome</b>", "Oslo"}
    assert answers.shape == (2, 2)


def test_a_report_of_numbers(tmp_path):
    random = np.random.default_rng(0)
    columns = {"b": random.standard_normal(150), "a": random.standard_normal(150)}
    y = 100 + 20 * columns["a"]
    model = gpubp.TabularRegressor("fast", epochs=8, random_state=0).fit(columns, y)
    model.report(tmp_path / "report.html", columns, y)
    text = (tmp_path / "report.html").read_text()
    r2 = model.score(columns, y)
    assert f"{r2:.4g}" in text
    worst = np.argmax(np.abs(model.predict(columns) - y))
    assert re.search(rf"<tr><td><bdi>{worst + 1}</bdi></td><td><bdi>{y[worst]:.6g}</bdi>", text)
    heads = re.findall(r'<th scope="col"><bdi>(.*?)</bdi>', text)
    assert heads == ["row", "true", "answer", "answer - true", "a", "b"]
    other = gpubp.TabularRegressor("fast", epochs=1).fit({"target": columns["a"]}, y)
    with pytest.raises(gpubp.errors.ConfigurationError, match="a column 'target'"):
        other.report(tmp_path / "other.html", {"target": columns["a"]}, y)
    with pytest.raises(gpubp.errors.OutputPathError):
        model.report(tmp_path / "none" / "report.html", columns, y)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_simple_models_that_are_known_are_not_fitted_again(tmp_path, monkeypatch):
    from gpubp.tables import report

    a = np.random.default_rng(0).standard_normal(60)
    model = gpubp.TabularRegressor("fast", epochs=1, random_state=0).fit({"a": a}, a)
    monkeypatch.setattr(report, "baselines", None)
    facts = report.TrainingFacts(measures={"network": {"r2": 0.5}, "a line": {"r2": 0.123456}})
    table = Table("t", {"a": a, "target": a})
    report.write_report(tmp_path / "report.html", model.model_, table, facts)
    text = (tmp_path / "report.html").read_text()
    assert "a line" in text
    assert "0.1235" in text


def test_importances_have_a_spread(classifier):
    from gpubp.tables.importances import importances

    model, columns, y = classifier
    found = importances(model, Table("X", columns), y, 5)
    assert max(found, key=lambda name: found[name][0]) == "\"&'"
    assert found["\"&'"][1] > 0
    plain = model.feature_importances(columns, y)
    assert plain == {name: mean for name, (mean, _) in found.items()}


def test_pictures_hold_the_numbers():
    axes = plots.plot_confusion(["a", "b", "b", "a"], ["a", "b", "a", "a"])
    assert [each.get_text() for each in axes.texts] == ["2", "0", "1", "1"]
    shares = np.array([[0.95, 0.05], [0.93, 0.07], [0.4, 0.6], [0.35, 0.65]])
    axes = plots.plot_calibration([0, 1, 1, 1], shares)
    np.testing.assert_allclose(axes.lines[1].get_xydata(), [[0.625, 1], [0.94, 0.5]])
    axes = plots.plot_importance({"small": (0.1, 0.01), "$large$": (0.5, 0.1)})
    assert [bar.get_width() for bar in axes.patches] == [0.1, 0.5]
    axes = plots.plot_predicted([1, 2], [2, 3])
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), [[1, 2], [2, 3]])
    with pytest.raises(gpubp.errors.ShapeError, match="2 and 1 rows"):
        plots.plot_predicted([1, 2], [2])


def test_the_decision_boundary_lies_where_the_model_changes_its_answer():
    class Split:
        def predict(self, x):
            return np.where(x[:, 0] > 0.5, "right", "left")

    x, y = np.array([[0.0, 0], [1, 1]]), np.array(["left", "right"])
    axes = plots.plot_decision_boundary(Split(), x, y)
    colours = axes.collections[0].get_array()
    assert colours[:, :90].max() == 0
    assert colours[:, 110:].min() == 1
    with pytest.raises(gpubp.errors.ShapeError, match="a plane"):
        plots.plot_decision_boundary(Split(), np.ones((2, 3)), y)


def test_a_report_of_a_training_tells_the_measures_of_the_command(tmp_path):
    """Days are days in it, and the simple models are those that the command names."""
    random = np.random.default_rng(0)
    days = np.datetime64("2024-01-01") + np.arange(200)
    sizes = random.normal(100, 20, 200)
    lines = [f"{day},{size},{1000 * size + 2e4}" for day, size in zip(days, sizes, strict=True)]
    path = tmp_path / "houses.csv"
    path.write_text("\n".join(["sold,size,price", *lines]))
    report, arguments = tmp_path / "report.html", ["--preset", "fast", "--epochs", "3", "--json"]
    arguments += ["--report", report, "--out", "m.safetensors"]
    told = json.loads(good("train", path, "--target", "price", *arguments, cwd=tmp_path))
    text = report.read_text()
    for each in (told, *told["baselines"].values()):
        assert f">{number_text(each['r2'])}</td>" in text
        assert f">{number_text(each['mean_absolute_error'])}</td>" in text
    assert number_text(told["baselines"]["mean"]["mean_absolute_error"]).count(",") == 1
    assert re.search(r"<bdi>2024-\d\d-\d\d</bdi>", text)
