"""Model files: safetensors with the architecture in the metadata, written atomically."""

from __future__ import annotations

import json
import os
from typing import Any

from numpy.typing import NDArray

from gpubp.errors import ModelFileError, import_extra
from gpubp.files import write_atomically

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
