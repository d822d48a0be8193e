"""A thread that ends a job which waits too long for one of its processes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: a launcher may try again
APART = 0.5  # seconds from a rank's limit to that of the next, so that one line is printed
LOOK = 0.1  # seconds
PATIENCE = 12  # times the timeout: for waits that the work of another process may make long
HANDED_ON = 0.25  # seconds in which a launcher prints what it was given, before it ends all


class Watchdog:
    """Ends the job when one wait takes longer than `timeout` seconds.

    Parameters
    ----------
    rank : int
        Named in the message. Each rank waits a little longer than the one before.
    timeout : float
        Seconds.
    end : callable
        Ends the whole job with the exit code it is given.
    """

    def __init__(self, rank: int, timeout: float, end: Callable[[int], None]) -> None:
        self.rank, self.timeout, self._end = rank, timeout, end
        self.step = 0  # of the training, kept by who trains
        self._waits: tuple[float, float, str] | None = None
        self._later = min(APART * rank, timeout)
        threading.Thread(target=self._watch, name="gpubp watchdog", daemon=True).start()

    @contextmanager
    def waiting(self, what: str, patient: bool = False) -> Iterator[None]:
        """Watch what is done within, 12 times as long if it is `patient`."""
        seconds = self.timeout * PATIENCE if patient else self.timeout
        self._waits = time.monotonic(), seconds, what
        try:
            yield
        finally:
            self._waits = None

    def _watch(self) -> None:
        while True:
            time.sleep(min(LOOK, self.timeout / 10))
            waits = self._waits
            if waits is None:
                continue
            since, seconds, what = waits
            if time.monotonic() - since > seconds + self._later:
                print(
                    f"gpubp: error: rank {self.rank} waited {seconds:g} s at step {self.step}"
                    f" for {what}: another rank is stuck or gone; ending all",
                    file=sys.stderr,
                    flush=True,
                )
                time.sleep(HANDED_ON)
                self._end(EXIT_CODE)
                return
