"""Ctrl-C that all processes see at the same step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

from gpubp.distributed.communicator import Communicator


class DeferredInterrupt:
    """A context in which Ctrl-C is noted, and raised where all processes ask for it together.

    A process that left at once would leave the others waiting. Without a communicator it does
    nothing, and Python raises KeyboardInterrupt as ever.
    """

    def __init__(self, communicator: Communicator | None) -> None:
        self._communicator = communicator
        self._wanted = False
        main = threading.current_thread() is threading.main_thread()
        self._used = communicator is not None and communicator.size > 1 and main

    def __enter__(self) -> DeferredInterrupt:
        if self._used:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._used:
            signal.signal(signal.SIGINT, self._before)

    def raise_if_any(self) -> None:
        """Raise KeyboardInterrupt on all processes if one of them was interrupted."""
        communicator = self._communicator
        if communicator is None or communicator.size == 1:
            return
        if communicator.largest(float(self._wanted), "whether anyone was interrupted") > 0:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._wanted = True
