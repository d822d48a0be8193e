"""Normalisation of what a layer's units sum up, over the units of a row or over the batch.

n = (z - mean) / sqrt(variance + epsilon), then z = gamma n. Layer normalisation: Ba, Kiros and
Hinton 2016. Batch normalisation: Ioffe and Szegedy 2015, with PyTorch's epsilon of 1e-5 and running
statistics, each batch counting 1/10.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from gpubp.backends import Array, Scratch
from gpubp.nn.layers.layer import Room

RUNNING_DECAY = 0.9


@dataclass
class NormalizationArrays:
    """What the way back needs of a batch.

    Attributes
    ----------
    n : array, (rows, outputs)
        The normalised sums.
    inverse : array, (rows,) or (outputs,)
        1 / sqrt(variance + epsilon) of each row, or of each unit.
    statistics : array, (2, outputs), or None
        Mean and unbiased variance over the batch, for batch normalisation.
    """

    n: Array
    inverse: Array
    statistics: Array | None

    def first(self, rows: int) -> NormalizationArrays:
        """Return views of the first rows."""
        inverse = self.inverse[:rows] if self.statistics is None else self.inverse
        return replace(self, n=self.n[:rows], inverse=inverse)


@dataclass
class Normalization:
    """Layer or batch normalisation of one layer.

    Attributes
    ----------
    over_batch : bool
        Whether means are taken over the rows of a batch, not over the units of a row.
    gamma, dgamma : array, (outputs,)
        What the normalised sums are multiplied by, and the gradient by it.
    running : array, (2, outputs), or None
        Mean and variance of the sums over the batches, for batch normalisation.
    """

    over_batch: bool
    scratch: Scratch
    gamma: Array
    dgamma: Array
    running: Array | None

    def forward(self, ops: Any, z: Array, p: NormalizationArrays, learning: bool) -> None:
        """Turn the sums in z, without bias, into gamma times their normalised values."""
        ops.convert(z, p.n)
        if not self.over_batch:
            ops.normalize_rows(p.n, p.inverse, self.scratch)
        elif learning:
            ops.normalize_columns(p.n, p.inverse, p.statistics, self.scratch)
        else:
            ops.normalize_columns_by(p.n, p.inverse, self.running)
        ops.scale_columns(p.n, self.gamma, z)

    def backward(
        self,
        ops: Any,
        delta: Array,
        p: NormalizationArrays,
        dbias: Array,
        dgamma: Array,
        learning: bool,
    ) -> None:
        """Turn the gradient in delta into that by the sums; dbias is read, dgamma written."""
        if not self.over_batch:
            ops.normalize_rows_backward(p.n, p.inverse, self.gamma, delta, dgamma, self.scratch)
        else:
            ops.normalize_columns_backward(
                p.n, p.inverse, self.gamma, delta, dbias, dgamma, not learning, self.scratch
            )

    def follow(self, ops: Any, p: NormalizationArrays, scaling: Array) -> None:
        """Let the statistics of the last batch count in the running ones."""
        if self.over_batch:
            ops.average(p.statistics, RUNNING_DECAY, self.running, self.scratch, scaling)


def normalization_arrays(over_batch: bool, room: Room, outputs: int) -> NormalizationArrays:
    """Return the arrays for a batch."""
    return NormalizationArrays(
        room.make((room.rows, outputs), room.stored),
        room.make((outputs if over_batch else room.rows,), room.dtype),
        room.make((2, outputs), room.dtype) if over_batch else None,
    )
