"""Model files: safetensors with the architecture in the metadata, written atomically."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gpubp.errors import ModelFileError, OutputPathError, import_extra

FORMAT = "gpubp"
VERSION = 1  # raised when older releases could no longer read what is written


def write(path: str | os.PathLike[str], parameters: NDArray[Any], network: dict[str, Any]) -> None:
    """Write parameters (count,) and a description of their network to a model file.

    An existing file is replaced only when the new one lies complete on the disk.

    Raises
    ------
    OutputPathError
        When the file cannot be written; an existing one is then as it was.
    MissingExtraError
        When safetensors is not installed.
    """
    safetensors = import_extra("safetensors.numpy", "files")
    metadata = {"format": FORMAT, "version": str(VERSION), "network": json.dumps(network)}
    write_atomically(path, safetensors.save({"parameters": parameters}, metadata))


def read(path: str | os.PathLike[str]) -> tuple[NDArray[Any], dict[str, Any]]:
    """Read the parameters (count,) and the description of the network from a model file.

    Raises
    ------
    ModelFileError
        When there is no such file, or it is torn, foreign or of a newer version.
    MissingExtraError
        When safetensors is not installed.
    """
    safetensors = import_extra("safetensors", "files")
    try:
        with safetensors.safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            network = _described_network(path, metadata)
            parameters = file.get_tensor("parameters")
    except FileNotFoundError as error:
        raise ModelFileError(f"{path} does not exist; a model file is needed") from error
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from error
    except safetensors.SafetensorError as error:
        raise ModelFileError(
            f"{path} is torn or no model file ({error}); a file that gpubp saved is needed"
        ) from error
    return parameters, network


def _described_network(path: Any, metadata: dict[str, str]) -> dict[str, Any]:
    if metadata.get("format") != FORMAT:
        raise ModelFileError(
            f"{path} is a safetensors file of another program; one that gpubp saved is needed"
        )
    version = metadata.get("version", "")
    if not version.isdigit():
        raise ModelFileError(f"{path} has version {version!r}; a whole number is needed")
    if int(version) > VERSION:
        raise ModelFileError(
            f"{path} has version {version} and this gpubp reads up to {VERSION}: install a newer"
            " gpubp"
        )
    try:
        network = json.loads(metadata["network"])
    except (KeyError, ValueError) as error:
        raise ModelFileError(f"{path} lacks a readable description of its network") from error
    if not isinstance(network, dict):
        raise ModelFileError(f"{path} describes no network; an object of settings is needed")
    return network


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that its path holds either the old or the whole new content.

    A link is followed; what is no regular file (a device, a pipe) is written to as it is.

    Raises
    ------
    OutputPathError
        When it cannot be written (no such folder, read-only, disk full).
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        _write_special(target, content)
        return
    try:
        handle, temporary = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name}.", suffix=".part"
        )
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _keep_mode(target, temporary)
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


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
    target = Path(path).resolve()
    if target.is_dir():
        raise OutputPathError(f"cannot write {path}: it is a folder; the path of a file is needed")
    if target.exists() and not target.is_file():
        return  # a device or a pipe says so when it is written to
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}."):
            pass
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Any, error: OSError) -> OutputPathError:
    return OutputPathError(
        f"cannot write {path}: {error.strerror or error}; a folder that exists and can be written"
        " to, with room on the disk, is needed"
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
