"""Inputs stored as a sparse matrix, made dense a batch at a time."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import DataError, NonFiniteError, ShapeError

STORED = frozenset({"uint8", "float32", "float64"})  # SciPy has no sparse float16


def is_sparse(x: Any) -> bool:
    """Tell whether this is a SciPy sparse matrix or array, without importing SciPy."""
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(x))


class SparseRows:
    """Rows of a CSR matrix, to be read a batch at a time.

    Parameters
    ----------
    matrix : scipy.sparse.csr_matrix or csr_array, (rows, inputs)

    Attributes
    ----------
    shape, dtype, ndim, nbytes
        As those of an array; the bytes are those of the stored numbers.
    """

    ndim = 2

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix
        self.shape: tuple[int, int] = matrix.shape
        self.dtype: np.dtype[Any] = matrix.dtype
        self.nbytes = int(matrix.data.nbytes)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> SparseRows:
        return SparseRows(self._matrix[rows])

    def dense(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return all rows as a dense array, (rows, inputs); written into `out` if given."""
        if out is None:
            out = np.empty(self.shape, self.dtype)
        self._matrix.toarray(out=out)
        return out


def take_sparse(x: Any, name: str, inputs: int, dtype: np.dtype[Any]) -> SparseRows:
    """Return the rows of a sparse matrix, checked; converted to CSR and `dtype` where needed.

    Raises
    ------
    ShapeError, DataError, NonFiniteError
        When it does not fit the number of inputs, holds no real numbers, or a stored number
        is not finite.
    """
    if x.ndim != 2 or x.shape[1] != inputs:
        raise ShapeError(
            f"{name} has shape {tuple(x.shape)}; (rows, {inputs}) is needed, as the network has"
            f" {inputs} inputs"
        )
    if x.dtype.kind not in "biuf":
        raise DataError(f"{name} is sparse of dtype {x.dtype}; real numbers are needed")
    matrix = x.tocsr()
    if matrix.dtype.name not in STORED:
        matrix = matrix.astype(dtype)
    if not np.isfinite(matrix.data).all():
        place = int(np.argmin(np.isfinite(matrix.data)))
        row = int(np.searchsorted(matrix.indptr, place, side="right")) - 1
        raise NonFiniteError(
            f"{name}[{row}, {matrix.indices[place]}] is {matrix.data[place]}; finite numbers are"
            " needed"
        )
    return SparseRows(matrix)
