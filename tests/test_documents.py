"""The code in the documents runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/learn/arrays.md", "docs/learn/one-step.md", "docs/learn/tables.md")
_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def blocks(page):
    """Return the Python of a page, each block with the line that it begins in."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [(text[: match.start(1)].count("\n"), match[1]) for match in _BLOCK.finditer(text)]


def people(rows, seed):
    random = np.random.default_rng(seed)
    age, hours = random.integers(18, 80, rows), random.normal(38, 9, rows)
    income = np.where(age + hours > 85, "high", "low")
    return pd.DataFrame({"age": age, "hours": hours, "income": income})


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    """The names that a page takes for given are a small table; of epochs it does few."""
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    people(200, 0).to_csv("people.csv", index=False)
    people(20, 1).drop(columns="income").to_csv("new.csv", index=False)
    frame = people(200, 0)
    names = {"frame": frame.drop(columns="income"), "labels": frame["income"]}
    names["new_frame"] = names["frame"][:10]
    found = blocks(page)
    assert found
    for line, code in found:
        code = re.sub(r"epochs=\d+", "epochs=2", code)
        code = code.replace("random_state=0", "random_state=0, members=1, epochs=2")
        code = code.replace("range(1000)", "range(2)")
        exec(compile("\n" * line + code, str(ROOT / page), "exec"), names)
