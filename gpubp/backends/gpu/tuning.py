"""The fastest of several ways to do the same on a GPU: found once by timing, then remembered."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from gpubp.backends.gpu.recording import WARM_UPS, Recording
from gpubp.backends.remembered import Remembered

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
        self._lend = lend
        self._remembered = Remembered(machine)

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
        known = self._remembered.get(key)
        if known in names:
            return str(known)
        fastest = names[0]
        if self._remembered.times_allowed and len(names) > 1:
            found = times()
            fastest = min(names, key=lambda name: found[name])
        kept = self._remembered.put(key, fastest)
        return str(kept) if kept in names else fastest

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


def _repeat(way: Callable[[], None]) -> None:
    for _ in range(CALLS):
        way()
