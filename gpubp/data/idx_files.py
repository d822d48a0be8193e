"""Files in the IDX format, in which MNIST comes: images and the labels beside them.

The format: two zero bytes, the type, the number of dimensions, each dimension as a big-endian
32-bit number, then the values (LeCun, Cortes and Burges, "The MNIST database").
"""

from __future__ import annotations

import gzip
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import DataError

LABEL = "label"
_NAME = re.compile(r"idx\d-ubyte(\.gz)?$", re.I)
_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def is_idx(path: Path) -> bool:
    """Tell whether a file is in the IDX format, by its name, such as train-images-idx3-ubyte.gz."""
    return _NAME.search(path.name) is not None


def idx_columns(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return a column for each pixel, and "label" where a file of labels lies beside the images.

    The labels of train-images-idx3-ubyte are in train-labels-idx1-ubyte.

    Raises
    ------
    DataError
        When a file is torn or not in the format, or there is not one label for each image.
    """
    images = read_idx(path)
    pixels = images.reshape(len(images), math.prod(images.shape[1:])).astype(np.float64)
    width = images.shape[-1] if images.ndim == 3 else max(pixels.shape[1], 1)
    columns = {
        f"pixel_{place // width}_{place % width}": pixels[:, place]
        for place in range(pixels.shape[1])
    }
    beside = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    if beside != path and beside.is_file():
        labels = read_idx(beside)
        if labels.shape != (len(images),):
            raise DataError(
                f"{beside.name!r} holds labels of shape {labels.shape} and {path.name!r}"
                f" {len(images)} images; one label each is needed"
            )
        columns[LABEL] = labels.astype(np.float64)
    return columns


def read_idx(path: Path) -> NDArray[Any]:
    """Return the array in an IDX file, which may be compressed by gzip.

    Raises
    ------
    DataError
        When it is torn or not in the format.
    """
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else open(path, "rb") as file:
            content = file.read()
    except (OSError, EOFError) as error:
        raise DataError(f"{path.name!r} cannot be read as an IDX file: {error}") from error
    kind = _TYPES.get(content[2]) if content[:2] == b"\0\0" and len(content) > 3 else None
    start = 4 + 4 * content[3] if kind else 0
    if kind is None or content[3] == 0 or len(content) < start:
        raise DataError(
            f"{path.name!r} does not begin as an IDX file does, with two zeros, a type and the"
            " number of dimensions"
        )
    shape = np.frombuffer(content, ">u4", content[3], 4).tolist()
    expected = start + math.prod(shape) * np.dtype(kind).itemsize
    if len(content) != expected:
        raise DataError(
            f"{path.name!r} has {len(content)} bytes and shape {shape} needs {expected}; the whole"
            " file is needed"
        )
    return np.frombuffer(content, kind, offset=start).reshape(shape)
