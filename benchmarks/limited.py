"""Programs that may hang, die or fail, without what started them doing the same."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TAIL = 4000  # characters of what a program has said that are looked at


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes
    ----------
    how : str
        "ended", "died" (by a signal) or "hung" (and was ended).
    code : int
        Its exit code.
    said : str
        The end of what it said.
    """

    how: str
    code: int
    seconds: float
    said: str


class Program:
    """A program in a process group of its own, all it says in a file."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: dict[str, str], folder: Path
    ) -> None:
        self._log, self._start = log, time.monotonic()
        with log.open("w", encoding="utf-8") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
                start_new_session=True,
            )

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process.poll() is not None

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._start

    def wait(self, limit: float) -> Ended:
        """Wait until it ends; end it, with all it has started, after so many seconds."""
        try:
            code = self._process.wait(max(limit - self.seconds, 0))
            how = "died" if code < 0 else "ended"
        except subprocess.TimeoutExpired:
            how = "hung"
            os.killpg(self._process.pid, signal.SIGKILL)
            code = self._process.wait()
        said = self._log.read_text(encoding="utf-8", errors="replace")[-TAIL:]
        return Ended(how, code, self.seconds, said)
