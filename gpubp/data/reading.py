"""Rows of stored inputs, as a network's first layer reads them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from gpubp.backends import Array, Backend, Scratch
from gpubp.backends.precision import Precision
from gpubp.data.sparse_rows import SparseRows


class Reader(Protocol):
    """What data are read for: what `gpubp.nn.backprop.LayerStack` has of it."""

    sizes: tuple[int, ...]
    backend: Backend
    dtype: np.dtype[Any]
    stored: np.dtype[Any]
    precision: Precision
    input_scale: float
    seed: int
    scratch: Scratch
    host_scratch: Scratch


def read_rows(net: Reader, x: Array, start: int = 0, stop: int | None = None) -> Array:
    """Return rows of stored inputs as the first layer reads them, without a copy if so.

    What is copied lies in a buffer that the next call writes over.
    """
    rows = x[start:stop]
    if isinstance(rows, SparseRows):
        rows = rows.dense(net.host_scratch("sparse rows", rows.shape, rows.dtype))
    if is_on_host(net, rows):
        rows = net.backend.asarray(rows)
    if rows.dtype == net.stored and net.input_scale == 1:
        return rows
    return gather_rows(net, rows, net.scratch.arange(len(rows)))


def gather_rows(net: Reader, x: Array, rows: Array) -> Array:
    """Return these rows of stored inputs as `read_rows` does, in a buffer."""
    if is_on_host(net, x):
        return read_rows(net, x[net.backend.to_numpy(rows)])
    out = net.scratch("batch x", (len(rows), x.shape[1]), net.stored)
    net.backend.gather(x, rows, out, net.input_scale, net.scratch)
    return out


def is_on_host(net: Reader, x: Array) -> bool:
    """Tell whether inputs lie in the host's memory and a step cannot read them there."""
    return isinstance(x, SparseRows) or not isinstance(x, net.backend.xp.ndarray)
