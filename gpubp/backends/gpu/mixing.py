"""Activations with a trained mixing factor on a GPU: the kernels of `kernels/mixing.cuh`."""

from __future__ import annotations

from typing import Any

from gpubp.backends.formulas.activations import ACTIVATIONS
from gpubp.backends.gpu.elementwise import LANES, SUM_COLUMNS, Elementwise, chunk_of
from gpubp.backends.scratch import Array, Scratch


def _mix(name: str) -> Elementwise:
    return Elementwise(
        f"gpubp_mix_{name}",
        "S x, T bias, T factor",
        "S z, S y",
        "const T sum = gpubp::widen<T>(x) + bias; gpubp::narrow(sum, z);"
        f" gpubp::narrow(gpubp::mixed(sum, gpubp::{name}(sum), factor), y)",
    )


def _mix_backward(name: str) -> Elementwise:
    return Elementwise(
        f"gpubp_mix_{name}_backward",
        "raw S z, raw T factor, raw S dy, int64 rows, int64 columns, int64 chunk",
        "raw S dz, raw T partial, raw T factors",
        "gpubp::mix_backward_chunk(&z[0], &factor[0], &dy[0], &dz[0], &partial[0], &factors[0],"
        f" i, rows, columns, chunk, [](T x) {{ return gpubp::{name}(x); }},"
        f" [](T x, T y, T dy) {{ return gpubp::{name}_backward(x, y, dy); }})",
    )


_NAMES = [one.name for one in ACTIVATIONS.values() if not one.whole_rows]
MIX = {name: _mix(name) for name in _NAMES}
MIX_BACKWARD = {name: _mix_backward(name) for name in _NAMES}
KERNELS = (*MIX.values(), *MIX_BACKWARD.values())


class CupyMixing:
    """What the CuPy backend does for mixed activations."""

    _kernels: dict[str, Any]

    def mix(
        self, name: str, z: Array, bias: Array, factor: Array, y: Array, scratch: Scratch
    ) -> None:
        self._kernels[MIX[name].name](z, bias, factor, z, y)

    def mix_backward(
        self,
        name: str,
        z: Array,
        factor: Array,
        dy: Array,
        dz: Array,
        dbias: Array,
        dfactor: Array,
        scratch: Scratch,
    ) -> None:
        rows, columns = z.shape
        chunk, chunks = chunk_of(rows)
        sums = (dbias, dfactor)
        partial = sums
        if chunks != 1:
            shape = (chunks, columns)
            partial = (
                scratch("sums", shape, dbias.dtype),
                scratch("sums of factors", shape, dbias.dtype),
            )
        self._kernels[MIX_BACKWARD[name].name](
            *(z, factor, dy, rows, columns, chunk, dz, *partial), size=chunks * columns
        )
        if chunks != 1:
            for parts, total in zip(partial, sums, strict=True):
                self._kernels[SUM_COLUMNS.name](parts, chunks, columns, total, size=columns * LANES)
