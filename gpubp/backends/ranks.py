"""Which process of several on this machine this one is, as their launcher says."""

from __future__ import annotations

import os

VARIABLES = (
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
    "PALS_LOCAL_RANKID",
    "SLURM_LOCALID",
)


def local_rank() -> int | None:
    """Return its number among those on this machine; None where no launcher says one."""
    values = (os.environ.get(name, "") for name in VARIABLES)
    return next((int(value) for value in values if value.isdigit()), None)
