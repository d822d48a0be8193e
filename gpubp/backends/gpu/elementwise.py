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
    "mixing.cuh",
    "periodic.cuh",
)
LANES = 32  # threads a row, where a kernel has a warp for each row
# Rows that one thread of a backward kernel walks down: enough threads for a large device even at
# moderate batches, and not so many partial sums that adding them up takes long.
CHUNK_ROWS = 32
MOST_CHUNKS = 128


@dataclass(frozen=True)
class Elementwise:
    """One elementwise kernel; `operation` runs once for each element `i`."""

    name: str
    inputs: str
    outputs: str
    operation: str


def chunk_of(rows: int) -> tuple[int, int]:
    """Return how many rows one thread of a backward kernel walks down, and how many threads do.

    One thread does for no rows: it writes sums that are 0.
    """
    chunk = max(CHUNK_ROWS, -(-rows // MOST_CHUNKS))
    return chunk, max(1, -(-rows // chunk))


# CuPy's own reductions may take memory from its pool, which a recorded step must not.
SUM_COLUMNS = Elementwise(
    "gpubp_sum_columns",
    "raw T x, int64 rows, int64 columns",
    "raw T sums",
    f"const gpubp::Warp lanes(i); const gpubp::int64 column = i / {LANES};"
    " const T sum = gpubp::strided_sum(&x[column], rows, columns, lanes);"
    " if (lanes.leads()) sums[column] = sum",
)
