"""What tells data apart: a digest of their shapes, dtypes and of some of their rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array, Backend
from gpubp.data.sparse_rows import SparseRows

SAMPLED_ROWS = 65_536


def fingerprint(arrays: Iterable[NDArray[Any]]) -> str:
    """Return a SHA-256 of the arrays' shapes, dtypes and of up to 65,536 rows spread over each."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array[sampled_rows(len(array))]).tobytes())
    return digest.hexdigest()[:16]


def fingerprint_of_rows(
    arrays: Iterable[Array | SparseRows], rows: NDArray[np.int64], backend: Backend
) -> str:
    """Return the `fingerprint` of some rows of arrays that lie on a device, or are sparse."""

    def on_host(array: Array | SparseRows) -> NDArray[Any]:
        if isinstance(array, SparseRows):
            return array[rows].dense()
        if isinstance(array, np.ndarray):
            return array[rows]
        return backend.to_numpy(array[backend.asarray(rows)])

    return fingerprint(on_host(array) for array in arrays)


def sampled_rows(count: int) -> NDArray[np.int64]:
    """Return the rows that a fingerprint is taken of."""
    return np.unique(np.linspace(0, count - 1, min(count, SAMPLED_ROWS)).astype(np.int64))
