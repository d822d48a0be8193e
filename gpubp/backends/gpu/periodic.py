"""Numbers embedded by waves on a GPU: the kernels of `kernels/periodic.cuh`.

The layer's formulas, and what its `waves` hold, are in `gpubp.nn.layers.periodic`. Every sum over
rows is done by one thread, in the order of the rows, so that two runs give the same bits.
"""

from __future__ import annotations

from typing import Any

from gpubp.backends.gpu.elementwise import Elementwise
from gpubp.backends.scratch import Array


def _kernel(name: str, inputs: str, outputs: str, operation: str) -> Elementwise:
    """Make a kernel that knows the embedding as `p`."""
    waves = "int64 passing, int64 numbers, int64 frequencies, int64 width, int64 beside"
    made = "const gpubp::Waves p = {passing, numbers, frequencies, width, beside}; "
    return Elementwise(name, f"{inputs}, {waves}", outputs, made + operation)


PERIODIC_WAVES = _kernel(
    "gpubp_periodic_waves",
    "raw S x, raw T frequency, raw T phase",
    "raw T wave",
    "const gpubp::int64 row = i / (numbers * frequencies), own = i % (numbers * frequencies);"
    " const gpubp::int64 f = own / frequencies;"
    " T* at = &wave[p.wave(row, f) + own % frequencies];"
    " gpubp::waves_of(gpubp::widen<T>(x[row * p.inputs() + passing + f]), T(frequency[own]),"
    " T(phase[own]), at[0], at[frequencies])",
)
EMBED_PERIODIC = _kernel(
    "gpubp_embed_periodic",
    "raw S x, raw T wave, raw T weight, raw T bias",
    "raw S y",
    "const gpubp::int64 row = i / p.outputs(), at = i % p.outputs() - passing;"
    " if (at < 0) { y[i] = x[row * p.inputs() + passing + at]; } else {"
    " const gpubp::int64 f = at / width, j = at % width - beside;"
    " if (j < 0) { y[i] = x[row * p.inputs() + passing + f]; } else {"
    " gpubp::narrow(gpubp::of_waves(p, &wave[p.wave(row, f)], &weight[p.map(f)],"
    " T(bias[f * p.linear() + j]), j), y[i]); } }",
)
PERIODIC_LINEAR_BACKWARD = _kernel(
    "gpubp_periodic_linear_backward",
    "raw T wave, raw S y, raw S dy, int64 rows",
    "raw T dweight, raw T dbias",
    "const gpubp::int64 f = i / p.map(1), h = i / p.linear() % p.read(), j = i % p.linear();"
    " T weight = T(0), bias = T(0); for (gpubp::int64 row = 0; row < rows; ++row) {"
    " const gpubp::int64 at = p.output(row, f);"
    " const T error = gpubp::wave_error<T>(p, &y[at], &dy[at], j);"
    " bias += error; weight += wave[p.wave(row, f) + h] * error; }"
    " dweight[i] = weight; if (h == 0) { dbias[f * p.linear() + j] = bias; }",
)
PERIODIC_ANGLE_BACKWARD = _kernel(
    "gpubp_periodic_angle_backward",
    "raw S x, raw T weight, raw T wave, raw S y, raw S dy, int64 rows",
    "raw T dfrequency, raw T dphase",
    "const gpubp::int64 f = i / frequencies; T frequency = T(0), phase = T(0);"
    " for (gpubp::int64 row = 0; row < rows; ++row) {"
    " const gpubp::int64 at = p.output(row, f);"
    " const T gradient = gpubp::angle_gradient(p, &wave[p.wave(row, f)], &weight[p.map(f)],"
    " &y[at], &dy[at], gpubp::int64(i % frequencies)); phase += gradient;"
    " frequency += gpubp::turns(gpubp::widen<T>(x[row * p.inputs() + passing + f])) * gradient; }"
    " dfrequency[i] = frequency; dphase[i] = phase",
)
PERIODIC_SLOPE = _kernel(
    "gpubp_periodic_slope",
    "raw T frequency, raw T weight, raw T wave, raw S y, raw S dy",
    "raw T dx",
    "const gpubp::int64 row = i / p.inputs(), f = i % p.inputs() - passing;"
    " if (f < 0) { dx[i] = gpubp::widen<T>(dy[row * p.outputs() + passing + f]); } else {"
    " const gpubp::int64 at = p.output(row, f);"
    " dx[i] = gpubp::periodic_slope(p, &frequency[f * frequencies], &wave[p.wave(row, f)],"
    " &weight[p.map(f)], &y[at], &dy[at]); }",
)
KERNELS = (
    PERIODIC_WAVES,
    EMBED_PERIODIC,
    PERIODIC_LINEAR_BACKWARD,
    PERIODIC_ANGLE_BACKWARD,
    PERIODIC_SLOPE,
)


class CupyPeriodic:
    """What the CuPy backend does for periodic embeddings."""

    _kernels: dict[str, Any]

    def embed_periodic(
        self,
        x: Array,
        waves: Any,
        frequency: Array,
        phase: Array,
        weight: Array,
        bias: Array,
        wave: Array,
        y: Array,
    ) -> None:
        size = len(x) * frequency.size
        self._kernels[PERIODIC_WAVES.name](x, frequency, phase, *waves, wave, size=size)
        self._kernels[EMBED_PERIODIC.name](x, wave, weight, bias, *waves, y, size=y.size)

    def embed_periodic_backward(
        self,
        x: Array,
        waves: Any,
        weight: Array,
        wave: Array,
        y: Array,
        dy: Array,
        dfrequency: Array,
        dphase: Array,
        dweight: Array,
        dbias: Array,
    ) -> None:
        self._kernels[PERIODIC_LINEAR_BACKWARD.name](
            wave, y, dy, len(x), *waves, dweight, dbias, size=dweight.size
        )
        self._kernels[PERIODIC_ANGLE_BACKWARD.name](
            *(x, weight, wave, y, dy, len(x), *waves),
            *(dfrequency, dphase),
            size=dfrequency.size,
        )

    def embed_periodic_slope(
        self,
        waves: Any,
        frequency: Array,
        weight: Array,
        wave: Array,
        y: Array,
        dy: Array,
        dx: Array,
    ) -> None:
        self._kernels[PERIODIC_SLOPE.name](frequency, weight, wave, y, dy, *waves, dx, size=dx.size)
