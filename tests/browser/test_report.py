"""The report of a training in a real browser."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp

for needed in ("sklearn", "jinja2", "matplotlib"):
    pytest.importorskip(needed)

NASTY = ("<script>alert(1)</script>", "\"&'", "🧠 emoji", "دمای اتاق")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    random = np.random.default_rng(0)
    columns = {name: random.standard_normal(120) for name in NASTY}
    columns["town"] = random.choice(np.array(["<b>Rome</b>", "Oslo"], object), 120)
    y = np.where(columns[NASTY[1]] > 0, "<i>yes", "no")
    path = tmp_path_factory.mktemp("report") / "report.html"
    gpubp.TabularClassifier("fast", epochs=8, random_state=0).fit(columns, y).report(
        path, columns, y
    )
    return path


def test_names_from_a_table_are_text(visit, report):
    page = visit(report)
    shown = page.evaluate("document.body.textContent")
    assert [name for name in (*NASTY, "<b>Rome</b>", "<i>yes") if name not in shown] == []
    assert page.locator("script, i, b").count() == 0
    assert page.locator("figure, svg").count() >= 8


@pytest.mark.parametrize("width", [360, 1100])
def test_nothing_leaves_the_page(visit, report, width):
    page = visit(report, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 1100])
def test_axe_finds_no_serious_fault(visit, report, width):
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    found = axe.run(visit(report, viewport={"width": width, "height": 800}))["violations"]
    serious = [
        (each["id"], [node["html"][:200] for node in each["nodes"]][:3])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []
