"""Penalties, clipping and largest norms on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpubp.backends.gpu.elementwise import LANES, Elementwise
from gpubp.backends.scratch import Array, Scratch

GROUP = 1024  # numbers that one warp adds up

PENALIZE = Elementwise(
    "gpubp_penalize",
    "T w, T l1, T l2, raw T per, raw float32 scaling",
    "T g",
    "const T share = per[0] > T(0) ? T(scaling[gpubp::SCALE]) / per[0] : T(0);"
    " g += share * (l1 * gpubp::sign(w) + l2 * w)",
)
ADD_SQUARES = Elementwise(
    "gpubp_add_squares",
    "raw T squares, T factor, raw T per, raw float32 scaling",
    "raw T mean",
    "if (per[0] > T(0)) mean[0] += T(scaling[gpubp::SCALE]) * factor * squares[0] / per[0]",
)
CLIP = Elementwise(
    "gpubp_clip",
    "T limit, raw float32 scaling",
    "T g",
    "const T most = limit * T(scaling[gpubp::SCALE]);"
    " g = g > most ? most : (g < -most ? -most : g)",
)
SUM_SQUARES = Elementwise(
    "gpubp_sum_squares",
    "raw T x, int64 count, int64 group, raw float32 scaling",
    "raw T sums",
    f"const gpubp::Warp lanes(i); const gpubp::int64 number = i / {LANES}, at = number * group;"
    " const gpubp::int64 end = at + group < count ? at + group : count; T sum = T(0);"
    " for (gpubp::int64 j = at + lanes.first(); j < end; j += lanes.step())"
    " { const T g = x[j] / T(scaling[gpubp::SCALE]); sum += g * g; }"
    " sum = lanes.sum(sum); if (lanes.leads()) sums[number] = sum",
)
CLIP_NORM = Elementwise(
    "gpubp_clip_norm",
    "raw T squares, T limit",
    "T g",
    "const T norm = gpubp::math::sqrt(squares[0]); if (norm > limit) g *= limit / norm",
)
LIMIT_NORMS = Elementwise(
    "gpubp_limit_norms",
    "int64 rows, int64 columns, T limit",
    "raw T w",
    f"const gpubp::Warp lanes(i); const gpubp::int64 column = i / {LANES}; T sum = T(0);"
    " for (gpubp::int64 j = lanes.first(); j < rows; j += lanes.step())"
    " sum += w[j * columns + column] * w[j * columns + column];"
    " const T norm = gpubp::math::sqrt(lanes.sum(sum)); if (norm > limit)"
    " for (gpubp::int64 j = lanes.first(); j < rows; j += lanes.step())"
    " w[j * columns + column] *= limit / norm",
)
KERNELS = (
    PENALIZE,
    ADD_SQUARES,
    CLIP,
    SUM_SQUARES,
    CLIP_NORM,
    LIMIT_NORMS,
)


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
        self._kernels[PENALIZE.name](weight, l1, l2, per, scaling, dweight)

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
            self._kernels[SUM_SQUARES.name](
                *(weight, weight.size, GROUP, self._scaling, squares[start : start + count]),
                size=count * LANES,
            )
            start += count
        self.add_up(squares, total, scratch)
        self._kernels[ADD_SQUARES.name](total, factor, per, scaling, mean, size=1)

    def clip(self, gradients: Array, limit: float, scaling: Array | None = None) -> None:
        scaling = self._scaling if scaling is None else scaling
        self._kernels[CLIP.name](limit, scaling, gradients)

    def clip_norm(
        self, gradients: Array, limit: float, scratch: Scratch, scaling: Array | None = None
    ) -> None:
        scaling = self._scaling if scaling is None else scaling
        count, dtype = gradients.size, gradients.dtype
        groups = -(-count // GROUP)
        squares, total = scratch("squares", (groups,), dtype), scratch("square", (1,), dtype)
        self._kernels[SUM_SQUARES.name](
            gradients, count, GROUP, scaling, squares, size=groups * LANES
        )
        self.add_up(squares, total, scratch)
        self._kernels[CLIP_NORM.name](total, limit, gradients)

    def limit_norms(self, weight: Array, limit: float, scratch: Scratch) -> None:
        rows, columns = weight.shape
        self._kernels[LIMIT_NORMS.name](rows, columns, limit, weight, size=columns * LANES)
