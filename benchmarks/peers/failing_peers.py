"""Peers that fail in each way that a measurement has to survive, and one that does not."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from cases import Case

Repeat = Callable[[int], tuple[int, float]]


def versions() -> dict[str, str]:
    """Return no versions."""
    return {}


class Well:
    """Takes a microsecond a step."""

    def step(self, case: Case) -> Repeat:
        """Return what does steps."""
        return lambda count: (count, count * 1e-6)

    predict = step

    def ceilings(self) -> dict[str, object]:
        """Return a device that does not exist."""
        rates = {"copy": 1e12, "float32": 1e13, "tf32": 1e14, "bfloat16": 1e15}
        return {"device": "No GPU", "notes": [], "rates": rates, "problems": {}}


class Hanging(Well):
    """Never comes back."""

    def step(self, case: Case) -> Repeat:
        """Wait."""
        time.sleep(3600)
        raise AssertionError

    predict = step


class Dying(Well):
    """Ends its process."""

    def step(self, case: Case) -> Repeat:
        """Die, with a last word."""
        print("a last word", file=sys.stderr, flush=True)
        os._exit(3)

    predict = step


class OutOfMemory(Well):
    """Has no memory."""

    def step(self, case: Case) -> Repeat:
        """Ask for too much."""
        raise MemoryError("out of memory allocating 1 TB")

    predict = step


class FailingLater(Well):
    """Works when it is tried, and fails when it is measured."""

    def __init__(self) -> None:
        self.calls = 0

    def step(self, case: Case) -> Repeat:
        """Return what fails after the warm-up."""
        self.calls = 0

        def repeat(count: int) -> tuple[int, float]:
            self.calls += 1
            if self.calls > 8:
                raise RuntimeError("an illegal memory access was encountered")
            return count, count * 1e-6

        return repeat

    predict = step


PEERS: dict[str, type] = {
    "well": Well,
    "hanging": Hanging,
    "dying": Dying,
    "out-of-memory": OutOfMemory,
    "failing-later": FailingLater,
}
