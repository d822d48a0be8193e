"""Sums over GPUs by NCCL, one process a device; MPI only hands round NCCL's id.

A CuPy array must never go into MPI: where MPI was not built for CUDA, that is a segmentation fault.
"""

from __future__ import annotations

import socket
from typing import Any

import numpy as np

from gpubp.backends import Array
from gpubp.backends.protocol import ReplayBackend
from gpubp.buffers import Buffers
from gpubp.distributed.communicator import Communicator
from gpubp.errors import DistributedError, MissingExtraError
from gpubp.stack import HEADER, LayerStack


class DeviceSum:
    """The sum of gradients and losses over the GPUs of a group; can be recorded.

    Raises
    ------
    MissingExtraError
        When CuPy has no NCCL.
    DistributedError
        When two processes use one device.
    """

    def __init__(self, stack: LayerStack, communicator: Communicator) -> None:
        backend: ReplayBackend = stack.backend  # type: ignore[assignment]
        self._backend, self._stack = backend, stack
        nccl = load_nccl(backend.xp)
        self._float = nccl.NCCL_FLOAT64 if stack.dtype == np.float64 else nccl.NCCL_FLOAT32
        self._add = nccl.NCCL_SUM
        place = f"{socket.gethostname()}, gpu:{getattr(backend, 'index', 0)}"
        check_devices(communicator.collect(place, "the names of the devices", patient=True))
        own = nccl.get_unique_id() if communicator.is_root else None
        identity = communicator.share(own, "NCCL's id")
        self._comm = nccl.NcclCommunicator(communicator.size, identity, communicator.rank)
        self._buffer = backend.empty((HEADER + stack.gradients.size,), stack.dtype)
        self._buffer.fill(0)
        self._counts: dict[int, Array] = {}

    def __call__(self, buffers: Buffers, share: float) -> None:
        """Add up gradients and loss, one's own weighted by the share of one's rows."""
        backend, sums = self._backend, self._buffer
        loss = buffers.loss.reshape(1)
        backend.accumulate(self._stack.gradients, share, True, sums[HEADER:])
        backend.accumulate(loss, share, True, sums[:1])
        stream = backend.xp.cuda.get_current_stream()
        where = sums.data.ptr
        self._comm.allReduce(where, where, sums.size, self._float, self._add, stream.ptr)
        backend.accumulate(sums[HEADER:], 1.0, True, self._stack.gradients)
        backend.accumulate(sums[:1], 1.0, True, loss)

    def count(self, rows: int) -> Array:
        """Return the number of rows of a batch over all processes on the device, shape ()."""
        if rows not in self._counts:
            self._counts[rows] = self._backend.xp.full((), rows, self._stack.dtype)
        return self._counts[rows]


def load_nccl(cupy: Any) -> Any:
    """Return CuPy's NCCL.

    Raises
    ------
    MissingExtraError
        When there is none; names the wheel.
    """
    try:
        from cupy.cuda import nccl
    except ImportError:
        nccl = None
    if nccl is None or not getattr(nccl, "available", True):
        major = cupy.cuda.runtime.runtimeGetVersion() // 1000
        raise MissingExtraError(
            f"CuPy found no NCCL, which several GPUs need: pip install nvidia-nccl-cu{major}"
        )
    return nccl


def check_devices(places: list[str]) -> None:
    """Refuse two processes on one device, which NCCL cannot serve.

    Raises
    ------
    DistributedError
        Names the device and the ranks.
    """
    for place in places:
        ranks = [rank for rank, other in enumerate(places) if other == place]
        if len(ranks) > 1:
            error = DistributedError(
                f"ranks {ranks} are all on {place}; one process a device is needed: backend='gpu'"
                " takes a device of its own for each, if there are as many"
            )
            error.everywhere = True
            raise error
