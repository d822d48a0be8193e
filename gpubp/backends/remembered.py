"""What was found by timing on a machine, kept in a file for every later run.

What was chosen by time decides how numbers are rounded, so a choice that changed from run to run
would change results.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from gpubp.errors import OutputPathError
from gpubp.files import cache_folder, write_atomically

ENVIRONMENT_VARIABLE = "GPUBP_TUNING"


# what this process knows, by file and machine: it does not change under a second backend's feet
KNOWN: dict[tuple[Path, str], dict[str, Any]] = {}


class Remembered:
    """Findings by their keys, in the file and in this process.

    The first finding stays, whichever process it is of.

    Parameters
    ----------
    machine : str
        Device and library, within which a finding is valid.
    """

    def __init__(self, machine: str) -> None:
        self.machine, self._path = machine, cache_file()
        self._known = {} if self._path is None else KNOWN.setdefault((self._path, machine), {})
        self._known |= _read(self._path).get(machine, {}) | self._known

    @property
    def times_allowed(self) -> bool:
        """Whether anything is to be timed."""
        return self._path is not None

    def get(self, key: str) -> Any:
        """Return a finding; None where there is none."""
        return self._known.get(key)

    def put(self, key: str, finding: Any) -> Any:
        """Keep a finding, which JSON can hold, and return it.

        One that another process has found in between is kept instead, but none that this process
        knew before. Where the file cannot be written it is kept here alone.
        """
        everything = _read(self._path)
        there = everything.setdefault(self.machine, {})
        if key in there and there[key] != self._known.get(key):
            finding = there[key]
        there[key] = self._known[key] = finding
        if self._path is None:
            return finding
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, json.dumps(everything, indent=1).encode())
        except (OSError, OutputPathError):
            pass  # a read-only home is no reason to stop training
        return finding


def cache_file() -> Path | None:
    """Return where findings are kept; None, with ``GPUBP_TUNING=off``, for no timing at all."""
    chosen = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
    if chosen == "off":
        return None
    if chosen:
        return Path(chosen)
    return cache_folder() / "tuning.json"


def _read(path: Path | None) -> dict[str, dict[str, Any]]:
    """Return what the file holds; nothing where there is none or it is not one of ours."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {str(key): value for key, value in content.items() if isinstance(value, dict)}
