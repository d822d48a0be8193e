"""Work on the GPU recorded once as a CUDA graph and then replayed by one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

WARM_UPS = 2  # compile kernels, choose products, make scratch arrays: none of it can be recorded


class Recording:
    """A piece of work that is done as it stands twice, then recorded, then replayed.

    The work must read what changes from one time to the next from device memory, write into arrays
    that it keeps, and wait for nothing. Where it cannot be recorded it is done as it stands each
    time, and `reason` says why.

    What is said to `tell` then, once, is for a person to read.

    Recording needs a stream of its own; doing the work and replaying it happen on the caller's
    current stream, in order with everything else there.
    """

    def __init__(
        self,
        cupy: Any,
        work: Callable[[], None],
        reason: str = "",
        tell: Callable[[str], object] = lambda reason: None,
    ) -> None:
        self._cupy = cupy
        self._work = work
        self._tell = tell
        self._calls = 0
        self._graph: Any = None
        self.reason = reason

    @property
    def recorded(self) -> bool:
        """Whether the work has been recorded."""
        return self._graph is not None

    def __call__(self) -> None:
        if self._graph is not None:
            self._graph.launch()
            return
        if not self.reason and self._calls >= WARM_UPS:
            self._record()
            self()
            return
        self._work()
        self._calls += 1

    def _record(self) -> None:
        stream = self._cupy.cuda.Stream(non_blocking=True)
        with stream:
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
            self._graph = graph
