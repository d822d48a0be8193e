"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import gpubp

PACKAGE = Path(gpubp.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name):
    for extra in ("sklearn", "safetensors"):
        pytest.importorskip(extra)
    done = doctest.testmod(importlib.import_module(name))
    assert done.attempted > 0
    assert done.failed == 0


def test_what_one_begins_with_has_an_example():
    beginning = (
        *(gpubp.Network, gpubp.Networks, gpubp.TabularClassifier, gpubp.MLPClassifier),
        *(gpubp.gradient_check, gpubp.quantile_bins, gpubp.StepDecay),
    )
    assert [each.__name__ for each in beginning if ">>> " not in each.__doc__] == []
