"""What processes say to each other, over MPI; every wait is watched and its time counted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpubp.distributed.watchdog import Watchdog
from gpubp.errors import GpubpError

T = TypeVar("T")
TIMEOUT = 300.0  # seconds
PAUSE = 0.01  # seconds from one look to the next, in which others have the processor


class Communicator:
    """The processes of an MPI job; `gpubp.distributed.communicator` returns it.

    All methods are called by all processes, in the same order.

    Attributes
    ----------
    rank, size : int
        Number of this process, from 0, and how many there are.
    local_rank, local_size : int
        The same among those on this machine.
    seconds : float
        Time spent waiting for the others so far.
    left_alone : bool
        Whether this process left a training that the others are still in.
    """

    def __init__(self, comm: Any, timeout: float = TIMEOUT) -> None:
        from mpi4py import MPI

        self._mpi, self._comm = MPI, comm
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.watchdog = Watchdog(self.rank, timeout, comm.Abort)
        with self.watchdog.waiting("the others to begin", True):
            local = comm.Split_type(MPI.COMM_TYPE_SHARED)
            self.local_rank, self.local_size = local.Get_rank(), local.Get_size()
            local.Free()
        self.seconds = 0.0
        self.left_alone = False

    def __repr__(self) -> str:
        return f"Communicator(rank={self.rank}, size={self.size})"

    @property
    def is_root(self) -> bool:
        """Whether this is rank 0, which writes and prints."""
        return bool(self.rank == 0)

    def sum(self, array: NDArray[Any], what: str, patient: bool = False) -> None:
        """Put the sum over all processes in an array's place."""
        with self._wait(what, patient):
            self._comm.Allreduce(self._mpi.IN_PLACE, array)

    def begin_sum(self, array: NDArray[Any]) -> Any:
        """Begin `sum` and return what `finish` takes."""
        return self._comm.Iallreduce(self._mpi.IN_PLACE, array)

    def finish(self, requests: list[Any], what: str, patient: bool = False) -> None:
        """Wait for the ends of sums that were begun."""
        with self._wait(what, patient):
            self._mpi.Request.Waitall(requests)

    def largest(self, value: float, what: str, patient: bool = False) -> float:
        """Return the largest of all processes' numbers; infinity where one is not finite."""
        array = np.array([value if math.isfinite(value) else math.inf])
        with self._wait(what, patient):
            self._comm.Allreduce(self._mpi.IN_PLACE, array, self._mpi.MAX)
        return float(array[0])

    def broadcast(self, array: NDArray[Any], what: str) -> None:
        """Put rank 0's numbers into everyone's array."""
        with self._wait(what, True):
            self._comm.Bcast(array, 0)

    def share(self, value: T, what: str) -> T:
        """Return rank 0's value, whatever it is."""
        with self._wait(what, True):
            shared: T = self._comm.bcast(value, 0)
        return shared

    def collect(self, value: T, what: str, patient: bool = False) -> list[T]:
        """Return the values of all processes, by rank."""
        with self._wait(what, patient):
            values: list[T] = self._comm.allgather(value)
        return values

    def on_root(self, work: Callable[[], T], what: str) -> T:
        """Do something on rank 0 and return its result everywhere, or raise its error there.

        It is waited for 12 times as long as else: it may be a checkpoint that takes long.
        """
        result: Any = None
        error: GpubpError | None = None
        if self.is_root:
            try:
                result = work()
            except GpubpError as own_error:
                error = own_error
        result, error = self.share((result, error), what)
        if error is not None:
            error.everywhere = True
            raise error
        found_everywhere: T = result
        return found_everywhere

    def barrier(self, what: str) -> None:
        """Wait for all, 12 times as long as else."""
        with self._wait(what, True):
            self._comm.Barrier()

    def wait_for_all(self) -> None:
        """Wait, however long it takes and without using the processor, until all have come.

        Raises
        ------
        KeyboardInterrupt
            When all have come, after Ctrl-C meanwhile.
        """
        start, interrupted = time.perf_counter(), None
        request = self._comm.Ibarrier()
        while not request.Test():
            try:
                time.sleep(PAUSE)
            except KeyboardInterrupt as error:
                interrupted = error
        self.seconds += time.perf_counter() - start
        if interrupted is not None:
            raise interrupted

    @contextmanager
    def _wait(self, what: str, patient: bool) -> Iterator[None]:
        start = time.perf_counter()
        with self.watchdog.waiting(what, patient):
            yield
        self.seconds += time.perf_counter() - start


def on_root(communicator: Communicator | None, work: Callable[[], T], what: str) -> T:
    """Do `Communicator.on_root`, or simply the work where there is one process."""
    return work() if communicator is None else communicator.on_root(work, what)
