"""A plugin of pytest: one process's share of the tests, and how far results were from the truth.

GPUBP_SHARE=2/8 leaves every eighth test, from the third on; GPUBP_ERRORS names a file that the
largest error of each test is written to, as JSON.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Keep this process's share."""
    number, _, count = os.environ.get("GPUBP_SHARE", "0/1").partition("/")
    kept = [one for one in items if zlib.crc32(one.nodeid.encode()) % int(count) == int(number)]
    config.hook.pytest_deselected(items=[one for one in items if one not in set(kept)])
    items[:] = kept


def pytest_sessionfinish() -> None:
    """Write the errors."""
    path = os.environ.get("GPUBP_ERRORS")
    if path:
        from tolerances import MEASURED

        Path(path).write_text(json.dumps(MEASURED, indent=1), encoding="utf-8")
