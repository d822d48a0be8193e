"""What a GPU kernel is made of."""

from __future__ import annotations

from dataclasses import dataclass

HEADERS = (
    "activations.cuh",
    "layers.cuh",
    "normalization.cuh",
    "losses.cuh",
    "updates.cuh",
    "random.cuh",
    "steps.cuh",
    "embeddings.cuh",
    "periodic.cuh",
)
LANES = 32  # threads a row, where a kernel has a warp for each row


@dataclass(frozen=True)
class Elementwise:
    """One elementwise kernel; `operation` runs once for each element `i`."""

    name: str
    inputs: str
    outputs: str
    operation: str
