"""Work on the GPU recorded once as a CUDA graph and then replayed by one call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

# Steps in one recording, for networks so small that starting a recording takes longer than a step.
STEPS_AT_ONCE = 8
SMALL_STEP = 1_000_000_000  # multiplications, forward and back
WARM_UPS = 2  # compile kernels, choose products, make scratch arrays: none of it can be recorded


class Recording:
    """A piece of work that is done as it stands twice, then recorded, then replayed.

    The work must read what changes from one time to the next from device memory, write into arrays
    that it keeps, and wait for nothing. Where it cannot be recorded it is done as it stands each
    time, and `reason` says why.

    What is said to `tell` then, once, is for a person to read.

    Recording needs a stream of its own; doing the work and replaying it happen on the caller's
    current stream, in order with everything else there. What a recording keeps to itself is that
    stream's, so there is a recording for each stream that the work is done on.

    Parameters
    ----------
    lend : callable
        Returns the context in which a stream may record with what is the current stream's.
    """

    def __init__(
        self,
        cupy: Any,
        work: Callable[[], None],
        reason: str = "",
        tell: Callable[[str], object] = lambda reason: None,
        lend: Callable[[Any], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._cupy = cupy
        self._work = work
        self._tell = tell
        self._lend = lend
        self._calls = 0
        self._graphs: dict[int, Any] = {}  # by the address of the stream that replays
        self.reason = reason

    @property
    def recorded(self) -> bool:
        """Whether the work has been recorded."""
        return bool(self._graphs)

    def __call__(self) -> None:
        current = self._cupy.cuda.get_current_stream().ptr
        graph = self._graphs.get(current)
        if graph is not None:
            graph.launch()
            return
        if not self.reason and self._calls >= WARM_UPS:
            self._record(current)
            self()
            return
        self._work()
        self._calls += 1

    def _record(self, current: int) -> None:
        stream = self._cupy.cuda.Stream(non_blocking=True)
        with self._lend(stream), stream:
            stream.begin_capture()
            try:
                self._work()
            except Exception as error:
                self.reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
            try:
                graph = stream.end_capture()
            except Exception as error:  # what failed inside has spoilt the recording
                self.reason = self.reason or f"{type(error).__name__}: {error}"
        if self.reason:
            self._tell(f"a step could not be recorded and is done as it stands: {self.reason}")
        else:
            self._graphs[current] = graph


class RecordedSteps:
    """A training step, recorded; for a small network several steps in one recording too.

    A step must count itself on in device memory, so that the next one may follow at once.
    """

    def __init__(
        self,
        make: Callable[[Callable[[], None]], Recording],
        step: Callable[[], None],
        several: bool,
    ) -> None:
        self.one = make(step)
        self.several: Recording | None = None
        if several:
            self.several = make(partial(_repeat, step))

    def __call__(self, count: int = 1) -> None:
        """Do so many steps."""
        if self.several is not None:
            for _ in range(count // STEPS_AT_ONCE):
                self.several()
            count %= STEPS_AT_ONCE
        for _ in range(count):
            self.one()


def _repeat(step: Callable[[], None]) -> None:
    for _ in range(STEPS_AT_ONCE):
        step()
