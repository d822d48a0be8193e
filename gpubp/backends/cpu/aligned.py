"""NumPy arrays that begin where loops over several of them run fastest.

NumPy's own, when large, all lie 16 bytes behind the begin of a page. A vector of 64 bytes then
reaches over two cache lines, and a read from one array waits for a write to another whose address
ends in the same 12 bits: an Adam step takes three times as long.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAGE = 4096
_OFFSETS = itertools.cycle(range(0, PAGE, 256))  # multiples of 64, another one for each array


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array with undefined content, aligned to 64 bytes, apart from others in a page."""
    size = math.prod(shape) * dtype.itemsize
    room = np.empty(size + PAGE, np.uint8)
    start = (next(_OFFSETS) - room.ctypes.data) % PAGE
    return room[start : start + size].view(dtype).reshape(shape)
