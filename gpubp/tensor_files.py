"""Files of tensors and JSON (safetensors): the same bytes for the same content, read with distrust.

What is read may have been made by a stranger to do harm: nothing in it is run, and whatever is
wrong with it is one error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gpubp.errors import GpubpError, brief, import_extra

DTYPES = ("F64", "F32", "F16", "U8", "U16", "I32", "I64")  # as safetensors calls what NumPy has
LONGEST_TEXT = 50_000_000  # characters of JSON; read, they take about 20 times as much memory
_ALIGNMENT = 8


def encode(tensors: dict[str, NDArray[Any]], metadata: dict[str, str]) -> bytes:
    """Return the content of a file; safetensors alone writes metadata in an order by chance.

    Raises
    ------
    MissingExtraError
        When safetensors is not installed.
    """
    content: bytes = import_extra("safetensors.numpy", "files").save(tensors, metadata)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def read(
    path: str | os.PathLike[str],
    kind: str,
    error: type[GpubpError],
    wanted: Callable[[dict[str, str]], Iterable[str] | None] = lambda metadata: None,
) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Return the metadata and the tensors of a file.

    Parameters
    ----------
    kind : str
        What the file should be, for messages, such as "model file".
    error : type of GpubpError
        What is raised when it cannot be read.
    wanted : callable
        Returns the names of the tensors to read, or None for all; given the metadata before any
        tensor is read, it may refuse the file.

    Raises
    ------
    MissingExtraError
        When safetensors is not installed.
    """
    safetensors = import_extra("safetensors", "files")
    _check_regular(path, kind, error)
    try:
        with safetensors.safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            names = wanted(metadata)
            tensors = {}
            for name in file.keys() if names is None else names:
                dtype = file.get_slice(name).get_dtype()
                if dtype not in DTYPES:
                    raise error(
                        f"{path} is torn or no {kind} (tensor {brief(name)} is of {dtype}); one of"
                        f" {', '.join(DTYPES)} is needed"
                    )
                tensors[name] = file.get_tensor(name)
    except GpubpError:
        raise
    except OSError as reason:
        raise error(f"{path} cannot be read: {reason.strerror or reason}") from reason
    except (safetensors.SafetensorError, ValueError, OverflowError) as reason:
        raise error(
            f"{path} is torn or no {kind} ({reason!s:.200}); a file that gpubp saved is needed"
        ) from reason
    return metadata, tensors


def parse_json(text: str) -> Any:
    """Return what a text of JSON holds.

    Raises
    ------
    ValueError
        When it is none, longer than 50 million characters, nested deeper than Python reads, or
        holds half of a character (a lone surrogate), which could be written nowhere.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"{len(text)} characters of JSON; {LONGEST_TEXT} at most are read")
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("JSON that is nested too deep") from error
    return value


def _check_regular(path: str | os.PathLike[str], kind: str, error: type[GpubpError]) -> None:
    """Refuse what is no regular file; a pipe would be waited for without end."""
    try:
        given = Path(path)
        if given.is_file():
            return
        exists = given.exists()
    except (OSError, ValueError, TypeError) as reason:
        raise error(f"{path!r} is no path of a {kind}: {reason}") from reason
    if not exists:
        raise error(f"{path} does not exist; a {kind} is needed")
    raise error(f"{path} cannot be read: it is a folder, a pipe or a device; a {kind} is needed")
