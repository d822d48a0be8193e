"""Sums over GPUs by NCCL, one process a device; MPI only hands round NCCL's id.

A CuPy array must never go into MPI: where MPI was not built for CUDA, that is a segmentation fault.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpubp.backends import Array
from gpubp.distributed.communicator import Communicator
from gpubp.distributed.host_sums import Buckets
from gpubp.errors import DistributedError, MissingExtraError


class DeviceSum:
    """The sum of gradients and losses over the GPUs of a group, where they lie; can be recorded.

    Large buckets are added up on a stream of their own while the backward pass goes on, which in a
    recording becomes a branch of its graph.

    Parameters
    ----------
    backend : CupyBackend
        Where the gradients lie.
    exchanged : array
        What is summed: the numbers that go along, the loss first, and the gradients behind them.
    bounds : sequence of int
        Where the gradients of each layer begin, and where the last end.

    Raises
    ------
    MissingExtraError
        When CuPy has no NCCL.
    DistributedError
        When two processes use one device.
    """

    def __init__(
        self,
        backend: Any,
        exchanged: Array,
        bounds: Sequence[int],
        communicator: Communicator,
    ) -> None:
        self._backend, self._exchanged, self._first = backend, exchanged, bounds[0]
        nccl = load_nccl(backend.xp)
        wide = exchanged.dtype == np.float64
        self._float = nccl.NCCL_FLOAT64 if wide else nccl.NCCL_FLOAT32
        self._add = nccl.NCCL_SUM
        place = f"{socket.gethostname()}, gpu:{getattr(backend, 'index', 0)}"
        check_devices(communicator.collect(place, "the names of the devices", patient=True))
        made = nccl.get_unique_id() if communicator.is_root else None
        identity = communicator.share(made, "NCCL's id")
        self._comm = nccl.NcclCommunicator(communicator.size, identity, communicator.rank)
        self._buckets, self._share = Buckets(bounds, exchanged.dtype.itemsize), 0.0
        self._branch = backend.branch()
        self._branched = False
        self._counts: dict[int, Array] = {}

    def watch(self, share: float) -> None:
        """Begin anew, with gradients that are weighted by the share of one's rows."""
        self._share, self._branched = share, False
        self._buckets.begin_anew()

    def ready(self, index: int) -> None:
        """Be told that a layer's gradients are written."""
        bucket = self._buckets.completed(index)
        if bucket is not None:
            self._weight(bucket)
            self._sum_aside(bucket)

    def finish(self, mean: Array) -> None:
        """Add up the rest and the mean loss, (); what follows on the stream reads the sums."""
        exchanged, rest = self._exchanged, self._buckets.rest
        loss = mean.reshape(1)
        self._weight(slice(self._first, rest.stop))
        self._backend.accumulate(loss, self._share, True, exchanged[:1])
        if self._branched:
            self._sum_aside(rest)
            self._branch.join()
        else:
            self._sum(rest)
        self._backend.accumulate(exchanged[:1], 1.0, True, loss)

    def _weight(self, bucket: slice) -> None:
        values = self._exchanged[bucket]
        if self._share != 1:
            self._backend.accumulate(values, self._share, True, values)

    def _sum_aside(self, bucket: slice) -> None:
        """Add up on the other stream once what this one has begun is done."""
        with self._branch.after_what_was_begun():
            self._sum(bucket)
        self._branched = True

    def _sum(self, bucket: slice) -> None:
        values = self._exchanged[bucket]
        where, stream = values.data.ptr, self._branch.pointer
        self._comm.allReduce(where, where, values.size, self._float, self._add, stream)

    def count(self, rows: int) -> Array:
        """Return the number of rows of a batch over all processes on the device, shape ()."""
        if rows not in self._counts:
            self._counts[rows] = self._backend.xp.full((), rows, self._exchanged.dtype)
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
