"""The fastest of several ways to do the same on a GPU: found once by timing, then remembered.

Ways differ in rounding, so a choice that changed from run to run would change results. It is kept
in a file, and taken from there by every later run on the same device and library.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from gpubp.backends.gpu.recording import WARM_UPS, Recording
from gpubp.errors import OutputPathError
from gpubp.files import cache_folder, write_atomically

ENVIRONMENT_VARIABLE = "GPUBP_TUNING"
ROUNDS = 3  # that count
CALLS = 16  # in a recording, which a round replays: asking for them one by one may take longer


class Tuner:
    """Chooses between ways to do the same on one device.

    Parameters
    ----------
    cupy : module
    machine : str
        Device and library, within which a choice is valid.
    lend : callable
        See `Recording`.
    """

    def __init__(
        self,
        cupy: Any,
        machine: str,
        lend: Callable[[Any], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._cupy = cupy
        self._machine = machine
        self._lend = lend
        self._path = cache_file()
        self._known = _read(self._path).get(machine, {})

    def choose(self, key: str, ways: Mapping[str, Callable[[], None]]) -> str:
        """Return the name of the fastest way; each may be called any number of times.

        A way that fails is left out; when all do, the first is chosen, to fail where it is used.
        """
        return self.fastest(key, list(ways), lambda: self._times(ways))

    def fastest(
        self, key: str, names: Sequence[str], times: Callable[[], Mapping[str, float]]
    ) -> str:
        """Return the name of the fastest way: the one that is remembered, or that `times` finds.

        Parameters
        ----------
        names : sequence of str
            Of all ways; the first is taken where nothing is to be timed.
        times : callable
            Measures each, in any unit.
        """
        known = self._known.get(key)
        if known in names:
            return str(known)
        fastest = names[0]
        if self._path is not None and len(names) > 1:
            found = times()
            fastest = min(names, key=lambda name: found[name])
        self._known[key] = fastest
        self._remember(key, fastest)
        return fastest

    def _times(self, ways: Mapping[str, Callable[[], None]]) -> dict[str, float]:
        recordings = {
            name: Recording(self._cupy, partial(_repeat, way), lend=self._lend)
            for name, way in ways.items()
        }
        return self.times(recordings, lambda: None)

    def times(
        self, calls: Mapping[str, Callable[[], object]], after: Callable[[], object]
    ) -> dict[str, float]:
        """Return the milliseconds of calls, done in turn; after each, `after` is called.

        What comes before the second replay of a recording warms up. The fastest is the least
        disturbed. The time of one that fails is infinite.
        """
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(WARM_UPS + 1 + ROUNDS):
            for name, call in calls.items():
                times[name].append(self._milliseconds(call))
                after()
        return {name: min(each[-ROUNDS:]) for name, each in times.items()}

    def _milliseconds(self, call: Callable[[], object]) -> float:
        cuda = self._cupy.cuda
        start, end, stream = cuda.Event(), cuda.Event(), cuda.get_current_stream()
        start.record(stream)
        try:
            call()
        except RuntimeError:
            return math.inf
        end.record(stream)
        end.synchronize()
        return float(cuda.get_elapsed_time(start, end))

    def _remember(self, key: str, way: str) -> None:
        if self._path is None:
            return
        everything = _read(self._path)  # another process may have written in between
        everything.setdefault(self._machine, {})[key] = way
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, json.dumps(everything, indent=1).encode())
        except (OSError, OutputPathError):
            pass  # kept for this process alone; a read-only home is no reason to stop training


def _repeat(way: Callable[[], None]) -> None:
    for _ in range(CALLS):
        way()


def cache_file() -> Path | None:
    """Return where choices are kept; None, with ``GPUBP_TUNING=off``, for no timing at all."""
    chosen = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
    if chosen == "off":
        return None
    if chosen:
        return Path(chosen)
    return cache_folder() / "tuning.json"


def _read(path: Path | None) -> dict[str, dict[str, str]]:
    """Return what the file holds; nothing where there is none or it is not one of ours."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {str(key): value for key, value in content.items() if isinstance(value, dict)}
