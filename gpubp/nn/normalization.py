"""Normalisation of what a layer's units sum up, over the units or over the batch.

Layer normalisation: Ba, Kiros and Hinton 2016. Batch normalisation: Ioffe and Szegedy 2015, with
PyTorch's epsilon of 1e-5 and running moments, each batch counting 1/10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpubp.backends import Array, Backend, Scratch
from gpubp.nn.layers import Dense

RUNNING_DECAY = 0.9


@dataclass
class Normalized:
    """What the backward pass needs of one layer.

    Attributes
    ----------
    n : array, (rows, outputs)
        The normalised sums.
    inverse : array, (rows,) or (outputs,)
        1 / sqrt(variance + epsilon) of each row, or of each unit.
    moments : array, (2, outputs), or None
        Mean and unbiased variance over the batch, for batch normalisation.
    learning : bool
        Whether they were those of the batch, not the running ones.
    """

    n: Array
    inverse: Array
    moments: Array | None
    learning: bool = False

    def first(self, rows: int) -> Normalized:
        """Return views of the first rows."""
        by_row = self.moments is None
        return Normalized(
            self.n[:rows], self.inverse[:rows] if by_row else self.inverse, self.moments
        )


def normalization_buffers(
    rows: int, layers: Sequence[Dense], backend: Backend, dtype: Any, stored: Any
) -> list[Normalized | None]:
    """Return the arrays for a batch of so many rows; None for layers without normalisation."""
    made: list[Normalized | None] = []
    for layer in layers:
        if layer.normalization is None:
            made.append(None)
            continue
        over_batch = layer.normalization == "batch"
        made.append(
            Normalized(
                backend.empty((rows, layer.outputs), stored),
                backend.empty((layer.outputs if over_batch else rows,), dtype),
                backend.empty((2, layer.outputs), dtype) if over_batch else None,
            )
        )
    return made


def normalize(
    backend: Backend,
    layer: Dense,
    kept: Normalized | None,
    z: Array,
    learning: bool,
    scratch: Scratch,
) -> None:
    """Turn the sums in z, without bias, into gamma times their normalised values."""
    assert kept is not None, "buffers were made for layers that normalise"
    norm, n = backend.normalization, kept.n
    backend.convert(z, n)
    kept.learning = learning
    if kept.moments is None:
        norm.rows(n, kept.inverse, scratch)
    elif learning:
        norm.columns(n, kept.inverse, kept.moments, scratch)
    else:
        norm.fixed_columns(n, kept.inverse, layer.running)
    norm.scale_columns(n, layer.gamma, z)


def normalize_backward(
    backend: Backend,
    layer: Dense,
    kept: Normalized | None,
    delta: Array,
    gradients: tuple[Array, Array],
    scratch: Scratch,
) -> None:
    """Turn the gradient in delta into that by the sums.

    `gradients` are dbias, which is read, and dgamma, which is written.
    """
    assert kept is not None, "buffers were made for layers that normalise"
    norm, (dbias, dgamma) = backend.normalization, gradients
    if kept.moments is None:
        norm.rows_backward(kept.n, kept.inverse, layer.gamma, delta, dgamma, scratch)
    else:
        norm.columns_backward(
            *(kept.n, kept.inverse, layer.gamma, delta, dbias, dgamma),
            not kept.learning,
            scratch,
        )


def move_running_moments(
    backend: Backend,
    layers: Sequence[Dense],
    normalized: Sequence[Normalized | None],
    scratch: Scratch,
    scaling: Array | None = None,
) -> None:
    """Let the moments of the last batch count in the running ones."""
    for layer, kept in zip(layers, normalized, strict=True):
        if kept is not None and kept.moments is not None:
            backend.average(kept.moments, RUNNING_DECAY, layer.running, scratch, scaling)
