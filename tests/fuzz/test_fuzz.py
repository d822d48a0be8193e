"""Some hundred attacks of each kind, the same at every run; `nox -s fuzz` tries more."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

for module in ("safetensors", "pyarrow", "scipy"):
    pytest.importorskip(module)
sys.path.insert(0, str(Path(__file__).parent))

from attacks import ATTACKS, failure  # noqa: E402

CASES = {"model files": 400, "CSV tables": 200, "arrays and settings": 400}


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_ends_in_anything_but_an_error_of_gpubp(name, tmp_path):
    attack = ATTACKS[name](tmp_path)
    found = {}
    for number in range(CASES.get(name, 150)):
        start = time.monotonic()
        what = failure(attack, number)
        if time.monotonic() - start > 10:
            what = "it took more than 10 s"
        if what:
            found[number] = what
    assert not found
