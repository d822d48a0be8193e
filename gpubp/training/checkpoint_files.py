"""Checkpoints of a training under way: written so that a crash at any moment leaves a whole one.

A checkpoint is a safetensors file in a folder of its own, named by its step. It holds all that
decides what comes next, and a SHA-256 of that. A new one is written beside the last, and only then
the one before the last is removed: there are two, and if the newer is torn the older serves.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp import tensor_files
from gpubp.checks import checked_path
from gpubp.errors import CheckpointError, brief
from gpubp.files import check_writable, make_folder, write_atomically

VERSION = 1  # raised when older releases could no longer read what is written
KEPT = 2
_NAME = re.compile(r"step-(\d{12})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """All that decides how a training goes on.

    Attributes
    ----------
    run : dict
        What must be the same when it goes on: network, optimizer, loss, batches, data.
    state : dict
        Counters, history and the callbacks' numbers, as JSON holds them.
    arrays : dict of array
        Parameters, moments, losses of the epoch so far, the callbacks' arrays.
    """

    run: dict[str, Any]
    state: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class CheckpointFolder:
    """The checkpoints of one run.

    Raises
    ------
    OutputPathError
        When the folder cannot be made or written to.
    ConfigurationError
        When it is no path.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = checked_path("checkpoint", path)
        self._own: set[str] = set()  # names of files that this run has written or gone on from
        make_folder(self.path)
        check_writable(self.path / "checkpoint")

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and remove those before the last two.

        Raises
        ------
        OutputPathError
            When it cannot be written; those before are then as they were.
        CheckpointError
            When another run writes into the folder.
        """
        path = self.path / f"step-{step:012d}.safetensors"
        others = [file.name for file in self.files() if file.name not in self._own]
        if others:
            raise CheckpointError(
                f"{self.path} holds {others[0]}, which this run did not write: another run uses the"
                " folder; each needs its own"
            )
        self._own.add(path.name)
        write_atomically(path, encode(checkpoint))
        for old in self.files()[KEPT:]:
            with contextlib.suppress(OSError):  # one too many does no harm
                old.unlink()

    def begin(self, resume: bool) -> None:
        """Take the folder for a run: as it is to go on from, else it must hold no checkpoints.

        Raises
        ------
        CheckpointError
            When a new run finds the checkpoints of another.
        """
        files = self.files()
        if files and not resume:
            raise CheckpointError(
                f"{self.path} holds {files[0].name} of an earlier run; resume (--resume) to go on"
                " from it, or another folder, is needed"
            )
        self._own = {file.name for file in files}

    def files(self) -> list[Path]:
        """Return the files of the checkpoints, the newest first."""
        return sorted((p for p in self.path.iterdir() if _NAME.fullmatch(p.name)), reverse=True)

    def load(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest whole checkpoint and why newer ones could not be used.

        There is none in an empty folder, from which a run begins anew.

        Raises
        ------
        CheckpointError
            When there are checkpoints and none can be used.
        """
        problems: list[str] = []
        for path in self.files():
            try:
                return decode(path), problems
            except CheckpointError as error:
                problems.append(str(error))
        if problems:
            raise CheckpointError(f"no checkpoint in {self.path} can be used: {problems[0]}")
        return None, problems


def encode(checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint as the content of a file."""
    text = json.dumps(
        {
            "version": VERSION,
            "run": checkpoint.run,
            "state": checkpoint.state,
            "python": platform.python_version(),
            "numpy": np.__version__,
        }
    )
    metadata = {"gpubp checkpoint": text, "sha256": _digest(text, checkpoint.arrays)}
    return tensor_files.encode(checkpoint.arrays, metadata)


def decode(path: Path) -> Checkpoint:
    """Read a checkpoint and hold it against its SHA-256.

    Raises
    ------
    CheckpointError
        When it is torn, foreign or of a newer version.
    """
    metadata, arrays = tensor_files.read(path, "checkpoint", CheckpointError)
    text = metadata.get("gpubp checkpoint")
    if text is None or metadata.get("sha256") != _digest(text, arrays):
        raise CheckpointError(f"{path} is torn or no checkpoint (its SHA-256 is another)")
    try:
        content = tensor_files.parse_json(text)
    except ValueError as error:
        raise CheckpointError(f"{path} is no checkpoint ({error!s:.100})") from error
    parts = {"version": int, "run": dict, "state": dict}
    for name, kind in parts.items():
        value = content.get(name) if isinstance(content, dict) else None
        if type(value) is not kind:
            raise CheckpointError(f"{path} is no checkpoint ({name} is {brief(value)})")
    if content["version"] > VERSION:
        raise CheckpointError(
            f"{path} has version {content['version']!s:.20} and this gpubp reads up to {VERSION}:"
            " install a newer gpubp"
        )
    return Checkpoint(content["run"], content["state"], arrays)


def check_same_run(here: dict[str, Any], saved: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with what is another run.

    Raises
    ------
    CheckpointError
        When something that must be the same is not; names it with both values.
    """
    here = json.loads(json.dumps(here))  # as a file gives it back: lists for tuples
    for name in here | saved:
        if here.get(name) != saved.get(name):
            raise CheckpointError(
                f"the checkpoint in {folder} is of another run: {name!s:.60} is"
                f" {brief(here.get(name), 200)} here and {brief(saved.get(name), 200)} there; take"
                " another folder, or the same settings"
            )


def _digest(text: str, arrays: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
