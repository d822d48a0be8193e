"""What a GPU kernel is made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

HEADERS = (
    "activations.cuh",
    "layers.cuh",
    "normalization.cuh",
    "losses.cuh",
    "updates.cuh",
    "random.cuh",
    "steps.cuh",
    "gathering.cuh",
    "embeddings.cuh",
    "mixing.cuh",
    "periodic.cuh",
)
# Of kernels whose threads work together
BLOCK_HEADERS = (
    "activations.cuh",
    "losses.cuh",
    "steps.cuh",
    "output.cuh",
    "tiles.cuh",
)
# What kernels call dtypes where they find arrays by their addresses
C_TYPES = {
    "float32": "float",
    "float64": "double",
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "int32": "int",
    "int64": "long long",
    "uint64": "unsigned long long",
}
CLOCK = "raw int64 now"  # a parameter behind numbers of which it selects one
LANES = 32  # threads a row, where a kernel has a warp for each row
# Rows that one thread of a backward kernel walks down, `ROWS_AT_ONCE` of kernels/layers.cuh at a
# time: enough threads for a large device even at moderate batches, and not so many partial sums
# that adding them up takes long. So few rows that one thread is done before a second kernel could
# add up what several leave are one chunk.
CHUNK_ROWS = 8
MOST_CHUNKS = 128
ONE_CHUNK = 32


class Parameter(NamedTuple):
    """A parameter of a kernel.

    Attributes
    ----------
    name : str
    kind : str
        Its dtype, or the letter of one.
    raw : bool
        Whether the operation indexes it itself.
    written : bool
        Whether it is an output.
    """

    name: str
    kind: str
    raw: bool
    written: bool


@dataclass(frozen=True)
class Elementwise:
    """One elementwise kernel; `operation` runs once for each element `i`."""

    name: str
    inputs: str
    outputs: str
    operation: str

    @property
    def parameters(self) -> list[Parameter]:
        """What it is called with, inputs first."""
        return [*parameters_of(self.inputs), *parameters_of(self.outputs, True)]


@cache
def parameters_of(text: str, written: bool = False) -> tuple[Parameter, ...]:
    """Return what a string such as ``"raw T x, int64 rows"`` declares."""
    words = [part.split() for part in text.split(",") if part.strip()]
    return tuple(Parameter(one[-1], one[-2], one[0] == "raw", written) for one in words)


def row_kernel(inputs: str, outputs: str, name: str, operation: str) -> Elementwise:
    """Make a kernel with a warp for each row: `row`, where it is `at`, and its `lanes`."""
    return Elementwise(
        name,
        f"{inputs}, int64 columns",
        outputs,
        f"const gpubp::int64 row = i / {LANES}, at = row * columns;"
        f" const gpubp::Warp lanes(i); {operation}",
    )


def chunk_of(rows: int) -> tuple[int, int]:
    """Return how many rows one thread of a backward kernel walks down, and how many threads do.

    One thread does for no rows: it writes sums that are 0.
    """
    if rows <= ONE_CHUNK:
        return ONE_CHUNK, 1
    blocks = -(-rows // (CHUNK_ROWS * MOST_CHUNKS))
    chunk = blocks * CHUNK_ROWS
    return chunk, -(-rows // chunk)


# CuPy's own reductions may take memory from its pool, which a recorded step must not.
SUM_COLUMNS = Elementwise(
    "gpubp_sum_columns",
    "raw T x, int64 rows, int64 columns",
    "raw T sums",
    f"const gpubp::Warp lanes(i); const gpubp::int64 column = i / {LANES};"
    " const T sum = gpubp::strided_sum(&x[column], rows, columns, lanes);"
    " if (lanes.leads()) sums[column] = sum",
)
SUM_CHUNKS = Elementwise(
    "gpubp_sum_chunks",
    "raw S x, int64 rows, int64 columns, int64 chunk",
    "raw T sums",
    "sums[i] = gpubp::chunk_sum<T>(&x[0], i, rows, columns, chunk)",
)
