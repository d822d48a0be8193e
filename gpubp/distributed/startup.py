"""How a process joins the others: is the launcher theirs, what if one fails, how many threads."""

from __future__ import annotations

import atexit
import faulthandler
import os
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from gpubp.backends.cpu.thread_count import told_threads
from gpubp.backends.cpu.threads import use_threads
from gpubp.distributed.communicator import TIMEOUT, Communicator
from gpubp.distributed.watchdog import PATIENCE
from gpubp.errors import ConfigurationError, DistributedError, MissingExtraError, brief

# What launchers tell their processes of how many there are.
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
_REMEDY = "start with `gpubp launch`, or the mpiexec"
RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
TIMEOUT_VARIABLE = "GPUBP_TIMEOUT"
PASS_ON = 0.5  # seconds for the launcher to pass on what was printed: MPICH's drops the rest
MARKS_VARIABLE = "GPUBP_MARKS"  # the folder in which processes tell the launcher how they fare


def is_launched() -> bool:
    """Tell whether a launcher started this process as one of several."""
    return any(size > 1 for size in _told_sizes().values())


def communicator(timeout: float | None = None) -> Communicator:
    """Return the communicator of this process and the others; the same at every call.

    The first call checks that the launcher and the MPI library belong together, has an error that
    no one catches end all processes, and lets each use its share of the processors.

    Parameters
    ----------
    timeout : float or None
        Seconds after which a wait for another process ends the job with exit code 75; None for
        ``GPUBP_TIMEOUT``, or 300. The first call's counts.

    Raises
    ------
    MissingExtraError
        When mpi4py, or an MPI library for it, is not installed.
    DistributedError
        When the launcher is that of another MPI.
    ConfigurationError
        When the timeout is no number above 0.
    """
    return _communicator(_timeout(timeout))


def asked_for(distributed: bool | Communicator) -> Communicator | None:
    """Return the processes that the argument `distributed` asks for; None for one by itself.

    Raises
    ------
    MissingExtraError, DistributedError, ConfigurationError
        As `communicator`.
    """
    if distributed is False:
        return None
    return distributed if isinstance(distributed, Communicator) else communicator()


_made: list[Communicator] = []


def _communicator(timeout: float) -> Communicator:
    if not _made:
        mpi = load_mpi(timeout)
        check_launcher(_told_sizes(), mpi.COMM_WORLD.Get_size(), mpi.get_vendor()[0])
        _guard(mpi)
        _mark("joined", mpi.COMM_WORLD.Get_rank())
        communicator = Communicator(mpi.COMM_WORLD, timeout)
        threads = told_threads() or threads_a_rank(communicator.local_size)
        use_threads(threads)
        if communicator.is_root and communicator.size > 1:
            print(
                f"gpubp: {communicator.size} ranks, {communicator.local_size} on this machine with"
                f" {threads} BLAS thread{'s' * (threads > 1)} each ({mpi.get_vendor()[0]})",
                file=sys.stderr,
            )
        _made.append(communicator)
    return _made[0]


def current() -> Communicator | None:
    """Return the communicator if this process has joined others."""
    return _made[0] if _made else None


@cache
def load_mpi(timeout: float = TIMEOUT) -> Any:
    """Return mpi4py's MPI, begun by the first call, which waits for the others.

    Raises
    ------
    MissingExtraError
        When mpi4py, or an MPI library for it, is not installed.
    """
    try:
        import mpi4py

        mpi4py.rc.initialize, mpi4py.rc.finalize = False, True  # first look at the launcher
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        lacks = "no MPI library was found" if "mpi4py" in sys.modules else "mpi4py is not installed"
        raise MissingExtraError(
            f"{lacks}: pip install 'gpubp[mpi]' for the MPI of this machine, or"
            " 'gpubp[mpi-mpich]' where there is none"
        ) from error
    if not MPI.Is_initialized():
        check_family(*MPI.get_vendor())
        _mark("began", _told_rank())
        with open(os.devnull, "wb") as nothing:  # `gpubp launch` says what was waited for
            # ends the process though MPI keeps Python's lock meanwhile, as no thread could
            faulthandler.dump_traceback_later(PATIENCE * timeout, exit=True, file=nothing)
            MPI.Init_thread(MPI.THREAD_MULTIPLE)
            faulthandler.cancel_dump_traceback_later()
    return MPI


def check_family(vendor: str, version: tuple[int, ...]) -> None:
    """Refuse to begin where it can be told before that the launcher is that of another MPI.

    Another MPI fails to begin under Open MPI's launcher; Open MPI, from 5 on told of the others by
    PMIx alone, begins alone under another one and leaves a file in shared memory.

    Raises
    ------
    DistributedError
        Names both.
    """
    if "OMPI_COMM_WORLD_SIZE" in os.environ and vendor != "Open MPI":
        raise DistributedError(
            f"the launcher is Open MPI's and mpi4py uses {vendor}: {_REMEDY} of {vendor}"
        )
    if vendor == "Open MPI" and version >= (5,) and "PMIX_NAMESPACE" not in os.environ:
        check_launcher(_told_sizes(), 1, vendor)


def check_launcher(told: dict[str, int], size: int, vendor: str) -> None:
    """Refuse to run as several jobs of one process each.

    Raises
    ------
    DistributedError
        When a launcher started another number of processes than MPI knows of.
    """
    for variable, count in told.items():
        if count != size:
            raise DistributedError(
                f"the launcher started {count} processes ({variable}) and {vendor} knows of {size}:"
                f" it is the launcher of another MPI; {_REMEDY} of {vendor}"
            )


def threads_a_rank(local_size: int) -> int:
    """Return how many threads each process on this machine may use."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        bound = len(os.sched_getaffinity(0))
        # a launcher may have bound each process to processors of its own
        return max(1, cores // local_size if bound == cores else min(bound, cores // local_size))
    return max(1, cores // local_size)


def _told_rank() -> int:
    """Return which process a launcher says this is; 0 where it says nothing."""
    told = (os.environ.get(name, "") for name in RANKS)
    return next((int(value) for value in told if value.isdigit()), 0)


def _mark(what: str, rank: int) -> None:
    """Tell `gpubp launch` that this process has joined the others, or left as it should."""
    folder = os.environ.get(MARKS_VARIABLE)
    if folder:
        with suppress(OSError):
            (Path(folder) / f"{what}-{rank}").touch()


def _told_sizes() -> dict[str, int]:
    sizes = {name: os.environ.get(name, "") for name in SIZES}
    return {name: int(value) for name, value in sizes.items() if value.isdigit()}


def _timeout(timeout: float | None) -> float:
    value: Any = timeout
    if value is None:
        value = os.environ.get(TIMEOUT_VARIABLE) or TIMEOUT
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigurationError(
            f"timeout is {brief(value)}; a number of seconds above 0 is needed"
        )
    return seconds


def _guard(mpi: Any) -> None:
    """Have an error that no one catches end all processes: the others would wait for ever."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        before(kind, error, trace)
        sys.stderr.flush()
        if mpi.COMM_WORLD.Get_size() > 1:
            time.sleep(PASS_ON)
            mpi.COMM_WORLD.Abort(130 if issubclass(kind, KeyboardInterrupt) else 1)

    sys.excepthook = hook
    atexit.register(_leave_no_one_waiting)  # `sys.exit` calls no hook


def _leave_no_one_waiting() -> None:
    processes = current()
    if processes is None:
        return
    if processes.left_alone and processes.size > 1:
        sys.modules["mpi4py"].MPI.COMM_WORLD.Abort(1)
    _mark("left", processes.rank)
