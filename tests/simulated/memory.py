"""The memory of the simulated GPU: a pool that reuses it, and who used which bytes when.

An array's memory goes back to the pool when the array is gone, is filled with what is no number,
and is handed out again at the same address. Each use is noted with its stream, so that two uses
that nothing puts in order are found.
"""

from __future__ import annotations

import bisect
import ctypes
import mmap
import threading
import weakref
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

ALIGNMENT = 512  # of what CuPy's pool hands out
GUARD = 512  # bytes on either side of an array that nothing may write to
POISON = b"\xff"  # not a number in every floating type, -1 as an integer


class IllegalAddressError(RuntimeError):
    """Memory was used that is no array's: ``cudaErrorIllegalAddress``."""


class OrderError(RuntimeError):
    """Two streams used the same memory and no event says which comes first."""


class Timeline:
    """What has happened on a stream, and what of the others it has waited for.

    Attributes
    ----------
    time : int
        Number of things done on it.
    seen : dict
        By timeline: up to which time all it did comes before what follows here, because of events.
        What the host has waited for comes before all that it asks for afterwards.
    """

    def __init__(self) -> None:
        self.time, self.seen = 0, dict[Timeline, int]()

    def now(self) -> dict[Timeline, int]:
        """Return what comes before whatever waits for this moment."""
        return {**self.seen, self: self.time}

    def wait(self, moment: dict[Timeline, int]) -> None:
        """Let what follows come after a moment."""
        for other, time in moment.items():
            if other is not self and time > self.seen.get(other, 0):
                self.seen[other] = time

    def comes_after(self, other: Timeline, time: int) -> bool:
        """Return whether what is asked for here now comes after what another did."""
        if other is self:
            return True
        return self.seen.get(other, 0) >= time or HOST.seen.get(other, 0) >= time


HOST = Timeline()  # which begins everything, and has seen what it has waited for
CHUNKS: weakref.WeakSet[Chunk] = weakref.WeakSet()


class Chunk:
    """A piece of memory that arrays are made of, one after the other.

    It is mapped, and so lies far above 2^32: a table of addresses holds plain numbers too, and none
    of 32 bits, such as a float32, shall be taken for an address.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        room = size + 2 * GUARD + ALIGNMENT
        self._memory = mmap.mmap(-1, room)
        self._memory.write(POISON * room)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._start = GUARD + -(address + GUARD) % ALIGNMENT
        self.address = address + self._start
        self._uses: dict[tuple[int, int, Timeline, bool], int] = {}
        CHUNKS.add(self)

    def forget_uses(self) -> None:
        """Forget who used it: all has been waited for."""
        self._uses.clear()

    def block(self) -> Any:
        """Return the memory as an object; as long as it is alive, it is one array's."""
        return (ctypes.c_char * self.size).from_buffer(self._memory, self._start)

    def poison(self) -> None:
        """Make what is there unusable."""
        ctypes.memset(self.address, POISON[0], self.size)

    def use(self, start: int, stop: int, timeline: Timeline, writes: bool) -> None:
        """Note a use of bytes.

        Raises
        ------
        OrderError
            When another stream uses them too, one of both writes, and none waits for the other.
        """
        if any(key[2] is not timeline for key in self._uses):
            self._compare(start, stop, timeline, writes)
        self._uses[start, stop, timeline, writes] = timeline.time

    def _compare(self, start: int, stop: int, timeline: Timeline, writes: bool) -> None:
        for (begin, end, other, wrote), time in list(self._uses.items()):
            if begin >= stop or end <= start or not (wrote or writes):
                continue
            if not timeline.comes_after(other, time):
                raise OrderError(
                    f"a {'write' if writes else 'read'} of bytes {start} to {stop} does not wait"
                    f" for another stream's {'write' if wrote else 'read'} of {begin} to {end}"
                )
            if writes and start <= begin and end <= stop:
                del self._uses[begin, end, other, wrote]


def wait_for_everything() -> None:
    """Let the host wait for all streams."""
    HOST.seen.clear()
    for chunk in list(CHUNKS):
        chunk.forget_uses()


class Pool:
    """Hands out memory, and takes it back when an array is gone, in whatever thread that is."""

    def __init__(self) -> None:
        # one thread takes it again while it has it: arrays go where garbage is collected
        self._lock = threading.RLock()
        # by stream, as CuPy's: what one has left, another does not get
        self._free: dict[tuple[int, int], list[Chunk]] = defaultdict(list)
        self._live: dict[int, tuple[weakref.ref[Any], Chunk]] = {}
        self._addresses: list[int] = []

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], stream: int) -> np.ndarray:
        """Return an array whose content is not to be used."""
        size = -(-int(np.prod(shape, dtype=np.int64)) * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        with self._lock:
            free = self._free[stream, size or ALIGNMENT]
            chunk = free.pop() if free else Chunk(size or ALIGNMENT)
            block = chunk.block()
            self._live[chunk.address] = weakref.ref(block), chunk
            bisect.insort(self._addresses, chunk.address)
            weakref.finalize(block, self._take_back, chunk, free).atexit = False
        return np.ndarray(shape, dtype, buffer=block)

    def release(self) -> None:
        """Give back what no array has; streams of a test that is over are asked for no more."""
        self._free.clear()

    def _take_back(self, chunk: Chunk, free: list[Chunk]) -> None:
        with self._lock:
            del self._live[chunk.address]
            del self._addresses[bisect.bisect_left(self._addresses, chunk.address)]
            chunk.poison()
            free.append(chunk)

    def holds(self, host: np.ndarray) -> bool:
        """Return whether an array lies in this memory."""
        address = host.__array_interface__["data"][0]
        return host.size == 0 or self._find(address) is not None

    def _find(self, address: int) -> tuple[weakref.ref[Any], Chunk] | None:
        with self._lock:
            index = bisect.bisect_right(self._addresses, address) - 1
            if index < 0:
                return None
            found = self._live[self._addresses[index]]
        return found if address < found[1].address + found[1].size else None

    def block_of(self, address: int) -> Place | None:
        """Return what an array's memory has from an address on; None for a number that is none."""
        chunk = self._find(address) if address else None
        if chunk is None:
            return None
        return Place(address, chunk[1].address + chunk[1].size - address, *chunk)

    def place(self, start: int, size: int) -> Place:
        """Return bytes of the memory.

        Raises
        ------
        IllegalAddressError
            When they are no array's.
        """
        found = self._find(start)
        if found is None or start + size > found[1].address + found[1].size:
            raise IllegalAddressError(
                f"cudaErrorIllegalAddress: {size} bytes at {start:#x} are no array's"
            )
        return Place(start, size, *found)


class Place:
    """Bytes of the memory as a kernel gets them: an address, which keeps nothing alive."""

    def __init__(self, start: int, size: int, block: weakref.ref[Any], chunk: Chunk) -> None:
        self.start, self.size = start, size
        self._block, self._chunk = block, chunk

    def use(self, timeline: Timeline, writes: bool) -> None:
        """Note a use.

        Raises
        ------
        IllegalAddressError
            When the array that they were of is gone.
        OrderError
            See `Chunk.use`.
        """
        if self._block() is None:
            raise IllegalAddressError(
                f"memory at {self.start:#x} was given back to the pool and is used by a recording"
            )
        start = self.start - self._chunk.address
        self._chunk.use(start, start + self.size, timeline, writes)


class Reference:
    """An array as a launch keeps it: where it lies, its shape and dtype."""

    def __init__(self, host: np.ndarray) -> None:
        self.address: int = host.__array_interface__["data"][0] if host.size else 0
        self.shape, self.dtype, self._strides = host.shape, host.dtype, host.strides
        self.places: list[Place] = []
        if host.size:
            steps = [step * (n - 1) for step, n in zip(host.strides, host.shape, strict=True)]
            low = self.address + sum(step for step in steps if step < 0)
            extent = sum(map(abs, steps)) + host.itemsize
            self.places = [POOL.place(low, extent)]

    def host(self) -> np.ndarray:
        """Return the array that lies there."""
        if not self.places:
            return np.empty(self.shape, self.dtype)
        (place,) = self.places
        memory = (ctypes.c_char * place.size).from_address(place.start)
        offset = self.address - place.start
        return np.ndarray(self.shape, self.dtype, memory, offset, self._strides)


class Addressed:
    """The arrays whose addresses a table holds at the time when a launch is done."""

    def __init__(self, table: Reference) -> None:
        self._table = table

    def use(self, timeline: Timeline, writes: bool) -> None:
        """Note a use of all of them.

        Raises
        ------
        IllegalAddressError
            When an address is no array's, or that of one that is gone.
        OrderError
            See `Chunk.use`.
        """
        for address in self._table.host().tolist():
            place = POOL.block_of(address)
            if place is None:
                raise IllegalAddressError(f"a table leads to {address:#x}, which is no array's")
            place.use(timeline, writes)


class Guarded:
    """Finds writes beside the arrays that a kernel was given to write to."""

    def __init__(self, places: Iterable[Place]) -> None:
        self._ranges = [(place.start, place.start + place.size) for place in places]
        self._windows = [
            (start, ctypes.string_at(start, GUARD))
            for low, high in self._ranges
            for start in (low - GUARD, high)
        ]

    def check(self, name: str) -> None:
        """Raise when something else was written to.

        Raises
        ------
        IllegalAddressError
            Names the kernel and says how far beside.
        """
        for start, before in self._windows:
            after = ctypes.string_at(start, GUARD)
            if after == before:
                continue
            for offset in range(GUARD):
                address = start + offset
                own = any(low <= address < high for low, high in self._ranges)
                if after[offset] != before[offset] and not own:
                    raise IllegalAddressError(f"{name} wrote outside its arrays, at {address:#x}")


# what the host's kernels get for an address that is 0
NOWHERE = (ctypes.c_char * 65536).from_buffer(bytearray(POISON * 65536))
POOL = Pool()
