"""Model files: safetensors with the description of its networks, written atomically."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from gpubp import tensor_files
from gpubp.errors import ConfigurationError, ModelFileError, brief
from gpubp.files import write_atomically
from gpubp.training.history import History

FORMAT = "gpubp"
MEMBERS = "members"  # where a description has those of the networks after the first
HISTORIES = "histories"  # where those of trained networks are, beside the description
MOST_EPOCHS = 10_000  # a longer history is left out, so that files stay small
VERSION = 1  # raised when older releases could no longer read what is written


def write(
    path: str | os.PathLike[str],
    parameters: Sequence[NDArray[Any]],
    network: dict[str, Any],
    histories: Sequence[History] = (),
) -> None:
    """Write the parameters (count,) of one network or several and a description to a model file.

    Histories go along without their times, so that the same training writes the same things.

    An existing file is replaced only when the new one lies complete on the disk.

    Raises
    ------
    OutputPathError
        When the file cannot be written; an existing one is then as it was.
    MissingExtraError
        When safetensors is not installed.
    """
    metadata = {"format": FORMAT, "version": str(VERSION), "network": _as_json(network)}
    if any(0 < each.epochs <= MOST_EPOCHS for each in histories):
        metadata[HISTORIES] = json.dumps([_kept(history) for history in histories])
    tensors = {_tensor(number): each for number, each in enumerate(parameters)}
    write_atomically(path, tensor_files.encode(tensors, metadata))


def _as_json(network: dict[str, Any]) -> str:
    try:
        return json.dumps(network)
    except (TypeError, ValueError) as error:  # all but the preprocessing is ours
        raise ConfigurationError(f"preprocessing holds what JSON cannot: {error}") from error


def _kept(history: History) -> dict[str, Any]:
    kept = history if history.epochs <= MOST_EPOCHS else History()
    return kept.to_dict() | {"seconds": []}


def _tensor(number: int) -> str:
    """Return the name of a network's parameters in a file."""
    return f"parameters.{number}" if number else "parameters"


def read(
    path: str | os.PathLike[str],
) -> tuple[list[NDArray[Any]], dict[str, Any], list[History]]:
    """Read parameters (count,) and history of every network and the description from a model file.

    Raises
    ------
    ModelFileError
        When there is no such file, or it is torn, foreign or of a newer version.
    MissingExtraError
        When safetensors is not installed.
    """
    if isinstance(path, str | os.PathLike) and os.path.isdir(path):
        raise ModelFileError(
            f"{path} is a folder; a model file is needed. fit(checkpoint=..., resume=True) goes on"
            " from a folder of checkpoints"
        )
    described: dict[str, Any] = {}

    def names(metadata: dict[str, str]) -> list[str]:
        described.update(_described_network(path, metadata))
        return [_tensor(number) for number in range(len(described.get(MEMBERS, ())) + 1)]

    metadata, tensors = tensor_files.read(path, "model file", ModelFileError, names)
    return list(tensors.values()), described, _histories(path, metadata, len(tensors))


def _histories(path: Any, metadata: dict[str, str], count: int) -> list[History]:
    """Return the histories in a file, empty ones where it has none."""
    if HISTORIES not in metadata:
        return [History() for _ in range(count)]
    try:
        histories = [
            History.from_dict(each) for each in tensor_files.parse_json(metadata[HISTORIES])
        ]
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(
            f"{path} holds a history that cannot be read: {error!s:.200}"
        ) from error
    if len(histories) != count:
        raise ModelFileError(f"{path} holds {len(histories)} histories; {count} are needed")
    return histories


def _described_network(path: Any, metadata: dict[str, str]) -> dict[str, Any]:
    if metadata.get("format") != FORMAT:
        raise ModelFileError(
            f"{path} is a safetensors file of another program; one that gpubp saved is needed"
        )
    version = metadata.get("version", "")
    if not re.fullmatch("[0-9]{1,9}", version):
        raise ModelFileError(f"{path} has version {brief(version)}; a whole number is needed")
    if int(version) > VERSION:
        raise ModelFileError(
            f"{path} has version {version} and this gpubp reads up to {VERSION}: install a newer"
            " gpubp"
        )
    try:
        network = tensor_files.parse_json(metadata["network"])
    except (KeyError, ValueError) as error:
        raise ModelFileError(f"{path} lacks a readable description of its network") from error
    if isinstance(network, dict):
        members = network.get(MEMBERS, [])
        if isinstance(members, list) and all(isinstance(each, dict) for each in members):
            return network
    raise ModelFileError(f"{path} describes no network; an object of settings is needed")
