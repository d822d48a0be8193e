"""Starting several processes on this machine with the mpiexec of the MPI that mpi4py uses."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from gpubp.checks import checked_whole
from gpubp.distributed.startup import MARKS_VARIABLE, TIMEOUT_VARIABLE
from gpubp.errors import ConfigurationError, DistributedError, MissingExtraError

# By a word in what `mpiexec --version` says: the vendor as mpi4py names it.
_LAUNCHERS = {
    "Open MPI": "Open MPI",
    "OpenRTE": "Open MPI",
    "prte": "Open MPI",
    "PRRTE": "Open MPI",
    "Intel": "Intel MPI",
    "HYDRA": "MPICH",
    "MPICH": "MPICH",
}
_SEGMENTS = ("mpich_shm_*", "sm_segment.*", "Intel_MPI_*", "psm*_shm*")
_HANDED_ON = (signal.SIGINT, signal.SIGTERM)
GRACE = 10.0  # seconds from a signal until what is left is killed
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def launch(words: list[str], processes: int, timeout: float | None = None) -> int:
    """Run a command of gpubp, or a Python script, in several processes; return the exit code.

    Parameters
    ----------
    words : list of str
        A command of gpubp and its options, or a path that ends in .py and its arguments.
    processes : int
        How many.
    timeout : float or None
        See `gpubp.distributed.communicator`.

    Raises
    ------
    ConfigurationError, MissingExtraError, DistributedError
        When there is nothing to run, no MPI, or a launcher of another MPI than mpi4py's.
    """
    checked_whole("-n", processes)
    if not words:
        raise ConfigurationError("nothing to launch; a command, or a .py file, is needed after -n")
    if words[0].endswith(".py") and not Path(words[0]).is_file():
        raise ConfigurationError(f"{words[0]} does not exist; a Python script is needed")
    library, launcher = _library(), find_launcher()
    vendor = launcher_vendor(launcher)
    if vendor and vendor != library:
        raise DistributedError(
            f"{launcher} is the launcher of {vendor} and mpi4py uses {library}: install one MPI"
            " alone in this environment"
        )
    program = words if words[0].endswith(".py") else ["-m", "gpubp", *words]
    crowded = library == "Open MPI" and processes > (os.cpu_count() or 1)
    options = ["--oversubscribe"] * crowded
    command = [launcher, *options, "-n", str(processes), sys.executable, "-m", "mpi4py", *program]
    before = _segments()
    with tempfile.TemporaryDirectory(prefix="gpubp-launch-") as marks:
        around = environment(processes, timeout) | {MARKS_VARIABLE: marks}
        code = _run(command, around)
        said = _why(Path(marks), processes, code)
    if said:
        print(f"gpubp: error: {said}", file=sys.stderr)
        code = code or 1
    if code:
        _sweep(_segments() - before)
    return code


def _why(marks: Path, processes: int, code: int) -> str:
    """Return what processes that can say nothing left unsaid, by the marks they made; "" if none.

    Each marks that it began, joined the others, and left as Python leaves.
    """
    names = [path.name.partition("-") for path in marks.iterdir()]
    began, joined, left = (
        {int(rank) for what, _, rank in names if what == wanted}
        for wanted in ("began", "joined", "left")
    )
    if code == 0 and joined - left:
        rank = min(joined - left)
        return f"rank {rank} ended without a word in the middle of its work; nothing is whole"
    if began and not joined and len(began) < processes:
        lacking = sorted(set(range(processes)) - began)
        return f"ranks {sorted(began)} waited to begin for ranks {lacking}, which never came"
    return ""


def find_launcher() -> str:
    """Return the path of mpiexec: this environment's own, or else the first there is.

    Raises
    ------
    MissingExtraError
        When there is none.
    """
    beside = Path(sys.executable).parent / "mpiexec"
    program = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if program is None:
        raise MissingExtraError(
            "no mpiexec was found: pip install 'gpubp[mpi-mpich]' brings one, or load your"
            " cluster's MPI"
        )
    return program


def launcher_vendor(launcher: str) -> str:
    """Return which MPI a launcher belongs to, as mpi4py names it; "" for not known."""
    done = subprocess.run([launcher, "--version"], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    return next((vendor for word, vendor in _LAUNCHERS.items() if word in said), "")


def environment(processes: int, timeout: float | None = None) -> dict[str, str]:
    """Return the environment of processes that share this machine's processors."""
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    added = {name: threads for name in _THREADS if name not in os.environ}
    if os.name == "posix" and os.geteuid() == 0:  # as in a container; Open MPI asks for it twice
        added |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    if timeout is not None:
        added[TIMEOUT_VARIABLE] = str(timeout)
    return {**os.environ, **added}


def _library() -> str:
    """Return which MPI mpi4py uses, asked in another process: this one is to join none."""
    code = "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI;"
    code += "print(MPI.get_vendor()[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingExtraError(
            "mpi4py, or an MPI library for it, is not installed: pip install 'gpubp[mpi-mpich]', or"
            " 'gpubp[mpi]' where there is an MPI"
        )
    return done.stdout.strip()


def _run(command: list[str], around: dict[str, str]) -> int:
    """Run the launcher of MPI and return its exit code; what ends us ends all processes.

    It has a session of its own, so that a signal, whether it came to us alone or from a terminal
    to all, is handed on once. The second kills.
    """
    process = subprocess.Popen(command, env=around, start_new_session=True)
    given: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        given.append(number)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number if len(given) == 1 else signal.SIGKILL)

    before = {number: signal.signal(number, hand_on) for number in _HANDED_ON}
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(GRACE)
                break
            if given:
                given.append(0)
                _end_session(process.pid)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if given:
        _end_session(process.pid)
        return 128 + given[0]
    return code if code >= 0 else 128 - code


def _end_session(session: int) -> None:
    """Kill what is left of the processes that the launcher of MPI has begun."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):  # ended meanwhile
            words = status.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(words[3]) == session:
                os.kill(int(status.parent.name), signal.SIGKILL)


def _segments() -> set[Path]:
    """Return the shared memory of MPI jobs on this machine."""
    return {path for pattern in _SEGMENTS for path in Path("/dev/shm").glob(pattern)}


def _sweep(left: set[Path]) -> None:
    """Remove the shared memory of a job that was killed, which no MPI does."""
    used = _mapped()
    for _ in range(20):  # killed processes may take a moment
        if not any(str(path) in used for path in left):
            break
        time.sleep(0.1)
        used = _mapped()
    for path in left:
        with suppress(OSError):  # gone already, or another user's
            if str(path) not in used and path.stat().st_uid == os.geteuid():
                path.unlink()


def _mapped() -> str:
    """Return what the processes of this machine have mapped into their memory."""
    texts = []
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):  # ended meanwhile, or another user's
            texts.append(maps.read_text(encoding="utf-8", errors="replace"))
    return "".join(texts)
