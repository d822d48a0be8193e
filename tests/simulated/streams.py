"""Streams, events and graphs of the simulated CuPy, and the one place where launches are made."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any

from simulated.memory import HOST, Addressed, Place, Timeline


class Launch:
    """Something that the device does, with the memory that it reads and writes."""

    def __init__(
        self,
        name: str,
        run: Callable[[], None],
        reads: Iterable[Place | Addressed],
        writes: Iterable[Place],
    ) -> None:
        self._name, self._run = name, run
        self._reads, self._writes = list(reads), list(writes)

    def __call__(self, timeline: Timeline) -> None:
        """Do it as the next thing of a timeline."""
        timeline.time += 1
        for place in self._reads:
            place.use(timeline, writes=False)
        for place in self._writes:
            place.use(timeline, writes=True)
        self._run()

    @property
    def milliseconds(self) -> float:
        """How long it takes: any time, but the same whenever it is done."""
        return 0.001 + zlib.crc32(self._name.encode()) % 1000 / 1e5


class Stream:
    """A simulated stream; while it records, launches are noted and not done.

    Whatever is no launch is refused then, also what CuPy might let pass and would not replay. A
    stream that waits for an event of a recording one becomes a branch of the recording; what it
    notes is done as late as possible: when the other waits for it.
    """

    made = 0
    null: Stream
    stack: list[Stream]

    def __init__(self, non_blocking: bool = False) -> None:
        self.ptr = Stream.made
        Stream.made += 1
        self._non_blocking = non_blocking
        self.timeline = Timeline()
        self.milliseconds = 0.0
        self.recorded: list[tuple[Stream, Any]] | None = None
        self.branches: set[Stream] = set()
        self._trunk: Stream | None = None

    def __enter__(self) -> Stream:
        Stream.stack.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        Stream.stack.pop()

    def begin_capture(self) -> None:
        """Begin to note launches."""
        if not self._non_blocking:
            raise RuntimeError("cudaErrorStreamCaptureImplicit: the null stream cannot be captured")
        self.recorded = []

    def end_capture(self) -> Graph:
        """Return what was noted."""
        assert not self.branches, "cudaErrorStreamCaptureUnjoined"
        notes, self.recorded = self.recorded, None
        assert notes is not None, "cudaErrorIllegalState: no capture"
        return Graph(self, notes)

    def wait_event(self, event: Event) -> None:
        """Join the recording that the event is of, or take back one's branch."""
        source = event.stream
        if source is None or source.recorded is None:  # not of a recording
            if self.recorded is not None:
                raise RuntimeError("cudaErrorStreamCaptureIsolation: the event is not recorded")
            self.timeline.wait(event.moment)
            return
        if self.recorded is None:
            self.recorded, self._trunk = [], source
            source.branches.add(self)
        elif source._trunk is self:
            self.recorded += source.recorded
            source.recorded = source._trunk = None
            self.branches.remove(source)
        self.recorded.append((self, event.wait_on))

    def synchronize(self) -> None:
        """Let the host see what was done here."""
        refuse_while_recording("synchronize")
        HOST.wait(self.timeline.now())

    def do(self, launch: Launch) -> None:
        """Do a launch, or note it while this stream records."""
        if self.recorded is None:
            launch(self.timeline)
            self.milliseconds += launch.milliseconds
        else:
            self.recorded.append((self, launch))


class Event:
    """A simulated event."""

    def __init__(self, disable_timing: bool = False) -> None:
        self.stream: Stream | None = None
        self.moment: dict[Timeline, int] = {}
        self.milliseconds = 0.0

    def record(self, stream: Stream | None = None) -> None:
        """Note which stream it is of; where that records, only streams of the recording may wait.

        Recorded on the null stream it would be lost, as it is not what is captured.
        """
        self.stream = stream or Stream.stack[-1]
        if self.stream.recorded is None:
            refuse_while_recording("record an event of another stream")
            self.moment = self.stream.timeline.now()
            self.milliseconds = self.stream.milliseconds
        else:
            self.stream.recorded.append((self.stream, self.record_on))

    def record_on(self, timeline: Timeline) -> None:
        """Be recorded in a graph that is replayed."""
        self.moment = timeline.now()

    def wait_on(self, timeline: Timeline) -> None:
        """Be waited for in a graph that is replayed."""
        timeline.wait(self.moment)

    def synchronize(self) -> None:
        """Let the host see what came before; be refused while recording."""
        refuse_while_recording("synchronize")
        HOST.wait(self.moment)


class Graph:
    """What a stream and its branches have noted."""

    launched = 0

    def __init__(self, trunk: Stream, notes: list[tuple[Stream, Any]]) -> None:
        self.launches = [note for _, note in notes if isinstance(note, Launch)]
        self._trunk, self._notes = trunk, notes
        self._branches = {stream: Timeline() for stream, _ in notes if stream is not trunk}

    def launch(self, stream: Stream | None = None) -> None:
        """Do everything that was noted, in order."""
        Graph.launched += 1
        stream = stream or Stream.stack[-1]
        timelines = {**self._branches, self._trunk: stream.timeline}
        for own, note in self._notes:
            note(timelines[own])
        stream.milliseconds += sum(launch.milliseconds for launch in self.launches)


Stream.null = Stream()
Stream.stack = [Stream.null]


def launch(
    name: str,
    run: Callable[[], None],
    reads: Iterable[Place | Addressed],
    writes: Iterable[Place],
) -> None:
    """Do something on the current stream, or note it while that records."""
    Stream.stack[-1].do(Launch(name, run, reads, writes))


def refuse_while_recording(what: str) -> None:
    """Raise as CUDA does for what cannot be recorded."""
    if Stream.stack[-1].recorded is not None:
        raise RuntimeError(f"cudaErrorStreamCaptureUnsupported: {what} while a stream is capturing")
