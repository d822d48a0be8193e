"""The page of a step without a browser: its arithmetic by node, its file, what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

import gpubp
from gpubp.inspection.lessons import LESSONS, write_lessons
from gpubp.inspection.page import FOLDER, LANGUAGES, PageNames, joined, page_text, trace_model

NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_the_arithmetic_is_that_of_gpubp():
    net = gpubp.Network([3, 5, 4, 2], "gelu", "softmax", "cpu", "float64", seed=4)
    random = np.random.default_rng(0)
    trace = net.trace(random.standard_normal((6, 3)), random.integers(0, 2, 6), 0.3)
    scripts = [(FOLDER / f"{name}.js").read_text() for name in ("activations", "losses")]
    script = joined([*scripts, (FOLDER / "arithmetic.js").read_text()]) + (
        f"const m = {json.dumps(trace_model(trace, PageNames()))};"
        "const layers = buildLayers(m.layers, decodeNumbers(m.parameters));"
        "const s = step(layers, m.x, m.expected, m.loss, m.learning_rate);"
        "console.log(JSON.stringify([s.before.loss, s.again.loss, [...s.slopes[0].weight]]));"
    )
    done = subprocess.run([NODE, "-e", script], capture_output=True, text=True, check=True)
    loss, after, gradient = json.loads(done.stdout)
    assert loss == pytest.approx(trace.loss, rel=1e-12)
    assert after == pytest.approx(trace.loss_after, rel=1e-12)
    np.testing.assert_allclose(gradient, trace.layers[0].weight_gradient.ravel(), rtol=1e-10)


def test_every_language_says_everything():
    tables = {
        name: json.loads((FOLDER / f"messages/{name}.json").read_text()) for name in LANGUAGES
    }
    places = {
        name: {key: sorted(re.findall(r"\{\w+\}", text)) for key, text in table.items()}
        for name, table in tables.items()
    }
    assert all(each == places["en"] for each in places.values())
    for lesson in LESSONS:
        assert {f"lesson_{lesson}", f"lesson_{lesson}_words"} <= tables["en"].keys()


def test_names_end_no_element_of_the_page():
    net = gpubp.Network([1, 1], backend="cpu")
    names = PageNames(["</script><script>alert(1)</script>"])
    text = page_text([trace_model(net.trace([[1.0]], [[1.0]]), names)])
    assert text.count("<script") == 3
    assert "alert(1)</script>" not in text


def test_what_is_refused(tmp_path):
    net = gpubp.Network([2, 1], backend="cpu")
    trace = net.trace([[1.0, 2.0]], [[1.0]])
    path = tmp_path / "page.html"
    with pytest.raises(gpubp.errors.UnknownNameError, match="unknown language 'de'"):
        trace.to_html(path, language="de")
    with pytest.raises(gpubp.errors.ShapeError, match="1 names of inputs; 2 are needed"):
        trace.to_html(path, PageNames(["a"]))
    with pytest.raises(gpubp.errors.OutputPathError, match="cannot write"):
        trace.to_html(tmp_path / "none" / "page.html")
    with pytest.raises(gpubp.errors.UnknownNameError, match="did you mean 'xor'"):
        write_lessons(path, "xo")
    assert not path.exists()
