"""Penalties, clipping and largest norms on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpubp.backends.gpu import kernel_table as table
from gpubp.backends.gpu.elementwise import LANES
from gpubp.backends.scratch import Array, Scratch

GROUP = 1024  # numbers that one warp adds up


class CupyPenalties:
    """What the CuPy backend does for regularisation."""

    _kernels: dict[str, Any]
    _scaling: Array
    _ones: dict[np.dtype[Any], Array]
    add_up: Callable[[Array, Array, Scratch], None]

    def penalize(
        self,
        weight: Array,
        dweight: Array,
        l1: float,
        l2: float,
        scratch: Scratch,
        scaling: Array | None = None,
        per: Array | None = None,
    ) -> None:
        scaling = self._scaling if scaling is None else scaling
        per = self._ones[weight.dtype] if per is None else per
        self._kernels[table.PENALIZE.name](weight, l1, l2, per, scaling, dweight)

    def add_squares(
        self,
        weights: Sequence[Array],
        factor: float,
        per: Array,
        mean: Array,
        scratch: Scratch,
        scaling: Array | None = None,
    ) -> None:
        scaling = self._scaling if scaling is None else scaling
        counts = [-(-weight.size // GROUP) for weight in weights]
        squares = scratch("squared weights", (sum(counts),), mean.dtype)
        total, start = scratch("square", (1,), mean.dtype), 0
        for weight, count in zip(weights, counts, strict=True):
            self._kernels[table.SUM_SQUARES.name](
                *(weight, weight.size, GROUP, self._scaling, squares[start : start + count]),
                size=count * LANES,
            )
            start += count
        self.add_up(squares, total, scratch)
        self._kernels[table.ADD_SQUARES.name](total, factor, per, scaling, mean, size=1)

    def clip(self, gradients: Array, limit: float, scaling: Array | None = None) -> None:
        scaling = self._scaling if scaling is None else scaling
        self._kernels[table.CLIP.name](limit, scaling, gradients)

    def clip_norm(
        self, gradients: Array, limit: float, scratch: Scratch, scaling: Array | None = None
    ) -> None:
        scaling = self._scaling if scaling is None else scaling
        count, dtype = gradients.size, gradients.dtype
        groups = -(-count // GROUP)
        squares, total = scratch("squares", (groups,), dtype), scratch("square", (1,), dtype)
        self._kernels[table.SUM_SQUARES.name](
            gradients, count, GROUP, scaling, squares, size=groups * LANES
        )
        self.add_up(squares, total, scratch)
        self._kernels[table.CLIP_NORM.name](total, limit, gradients)

    def limit_norms(self, weight: Array, limit: float, scratch: Scratch) -> None:
        rows, columns = weight.shape
        self._kernels[table.LIMIT_NORMS.name](rows, columns, limit, weight, size=columns * LANES)
