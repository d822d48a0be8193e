"""Training by several processes over MPI; extra: ``mpi``."""

from __future__ import annotations

from gpubp.distributed.communicator import Communicator, on_root
from gpubp.distributed.startup import communicator, is_launched

__all__ = ["Communicator", "communicator", "is_launched", "on_root"]
