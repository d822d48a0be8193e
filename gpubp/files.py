"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from gpubp.errors import OutputPathError

PREFIX = ".gpubp-"  # of new files that are not whole yet, however long the name they will have


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that its path holds either the old or the whole new content.

    A link is followed; what is no regular file (a device, a pipe) is written to as it is.

    Raises
    ------
    OutputPathError
        When it cannot be written (no such folder, read-only, disk full).
    """
    target = _resolved(path)
    if target.exists() and not target.is_file():
        _write_special(target, content)
        return
    try:
        with replacing(target) as file:
            file.write(content)
    except OSError as error:
        raise _cannot_write(path, error) from error


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of another once all is written, and is gone if not.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=PREFIX, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _keep_mode(target, temporary)
        os.replace(temporary, target)
        _sync_folder(target.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def cache_folder() -> Path:
    """Return the folder for what can be made again: choices found by timing, converted tables."""
    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or Path.home())
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder / "gpubp"


def free_memory() -> float:
    """Return how many bytes of this machine's memory are free; infinity where it is not known."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    amounts = (line.split() for line in lines if line.startswith("MemAvailable:"))
    return next((float(words[1]) * 1024 for words in amounts), math.inf)


def _write_special(target: Path, content: bytes) -> None:
    try:
        target.write_bytes(content)
    except OSError as error:
        raise _cannot_write(target, error) from error


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out, before any work is done, whether a file can be written at this path.

    Raises
    ------
    OutputPathError
        When it cannot; says why.
    """
    target = _resolved(path)
    if target.is_dir():
        raise OutputPathError(f"cannot write {path}: it is a folder; the path of a file is needed")
    if target.exists() and not target.is_file():
        return  # a device or a pipe says so when it is written to
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=PREFIX):
            pass
    except OSError as error:
        raise _cannot_write(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder, with those above it, unless there is one.

    Raises
    ------
    OutputPathError
        When it cannot be made; says why.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _cannot_write(path, error) from error


def _resolved(path: str | os.PathLike[str]) -> Path:
    """Return where a path leads; raises OutputPathError for one that no file can have."""
    try:
        target = Path(path).resolve()
        with contextlib.suppress(FileNotFoundError):
            target.lstat()
    except (OSError, ValueError, TypeError) as error:
        raise _cannot_write(path, error) from error
    return target


def _cannot_write(path: Any, error: Exception) -> OutputPathError:
    return OutputPathError(
        f"cannot write {path}: {getattr(error, 'strerror', None) or error}; a folder that exists"
        " and can be written to, with room on the disk, is needed"
    )


def _keep_mode(target: Path, temporary: str) -> None:
    """Give the new file the old one's permissions, or those that the umask leaves."""
    if target.exists():
        mode = target.stat().st_mode & 0o777
    else:
        umask = os.umask(0)
        os.umask(umask)
        mode = 0o666 & ~umask
    os.chmod(temporary, mode)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
