"""A simulated `cupy.cuda.nccl`: its calls as CuPy 14's sources have them, the sums by MPI."""

from __future__ import annotations

import ctypes
from types import ModuleType

import numpy as np

from simulated.memory import POOL
from simulated.streams import Stream, launch

NUMBERS = {7: np.float32, 8: np.float64}  # ncclDataType_t
SUM = 0


def install(monkeypatch, cuda, comm=None):
    """Give the simulated CuPy an NCCL; without an MPI communicator each rank is alone."""
    module = ModuleType("cupy.cuda.nccl")
    sent = []

    class NcclCommunicator:
        def __init__(self, size, identity, rank):
            assert isinstance(identity, bytes)  # since CuPy 14; a tuple before
            assert len(identity) == 128
            assert 0 <= rank < size
            self.size = size

        def allReduce(self, sendbuf, recvbuf, count, datatype, op, stream):  # noqa: N802
            assert op == SUM
            assert stream == Stream.stack[-1].ptr, "not the current stream"

            kind = np.dtype(NUMBERS[datatype])
            places = [POOL.place(where, count * kind.itemsize) for where in (sendbuf, recvbuf)]

            def run():
                sent.append(count)
                buffers = [
                    np.frombuffer(
                        (ctypes.c_char * (count * kind.itemsize)).from_address(where), kind
                    )
                    for where in (sendbuf, recvbuf)
                ]
                buffers[1][...] = buffers[0] if comm is None else comm.allreduce(buffers[0])

            launch("allReduce", run, places[:1], places[1:])

    module.__dict__.update(
        available=True,
        get_unique_id=lambda: bytes(range(128)),
        NcclCommunicator=NcclCommunicator,
        NCCL_FLOAT32=7,
        NCCL_FLOAT64=8,
        NCCL_SUM=SUM,
        sent=sent,
    )
    monkeypatch.setitem(__import__("sys").modules, "cupy.cuda.nccl", module)
    monkeypatch.setattr(cuda, "nccl", module, raising=False)
    return module
