"""Every GPU kernel, named once: parameters and the expression that calls `kernels/*.cuh`.

The parameter strings are those of `cupy.ElementwiseKernel` and `cupy.ReductionKernel`. Type
parameters make one entry serve all precisions: ``T`` is what is computed with, ``S`` what
activations and their gradients are stored as, ``K`` what a derivative is computed from, ``X`` what
the data are stored as.

``clock``, ``settings`` and ``scaling`` are arrays laid out by `kernels/steps.cuh`. Only they change
from one step of training to the next, so a recorded step can be replayed.
"""

from __future__ import annotations

from gpubp.backends.formulas.activations import ACTIVATIONS
from gpubp.backends.formulas.updates import UPDATES
from gpubp.backends.gpu.categories import KERNELS as CATEGORIES
from gpubp.backends.gpu.elementwise import (
    CLOCK,
    LANES,
    SUM_CHUNKS,
    SUM_COLUMNS,
    Elementwise,
    row_kernel,
)
from gpubp.backends.gpu.embeddings import KERNELS as EMBEDDINGS
from gpubp.backends.gpu.loss_kernels import ALL as LOSSES
from gpubp.backends.gpu.mixing import KERNELS as MIXING
from gpubp.backends.gpu.normalization import KERNELS as NORMALIZATION
from gpubp.backends.gpu.penalties import KERNELS as PENALTIES
from gpubp.backends.gpu.periodic import KERNELS as PERIODIC

_ACTIVATIONS = [one.name for one in ACTIVATIONS.values() if not one.whole_rows]
IN_PLACE = [name for name in _ACTIVATIONS if ACTIVATIONS[name].keeps == "y"]


def _activate(name: str) -> Elementwise:
    return Elementwise(
        f"gpubp_bias_{name}",
        "S x, T bias",
        "S z, S y",
        "const T sum = gpubp::widen<T>(x) + bias;"
        f" gpubp::narrow(sum, z); gpubp::narrow(gpubp::{name}(sum), y)",
    )


def _activate_in_place(name: str) -> Elementwise:
    return Elementwise(
        f"gpubp_bias_{name}_in_place",
        "S x, T bias",
        "S y",
        f"gpubp::narrow(gpubp::{name}(gpubp::widen<T>(x) + bias), y)",
    )


def _backward(name: str) -> Elementwise:
    return Elementwise(
        f"gpubp_{name}_backward",
        "raw K x, raw K y, raw S dy, int64 rows, int64 columns, int64 chunk",
        "raw S dz, raw T partial",
        "gpubp::backward_chunk(&x[0], &y[0], &dy[0], &dz[0], &partial[0], i, rows, columns, chunk,"
        f" [](T x, T y, T dy) {{ return gpubp::{name}_backward(x, y, dy); }})",
    )


def _derivative(name: str) -> Elementwise:
    return Elementwise(
        f"gpubp_{name}_derivative",
        "K x, K y, S dy",
        "S dz",
        "typedef typename gpubp::Computed<S>::type T; const T value ="
        f" gpubp::{name}_backward(gpubp::widen<T>(x), gpubp::widen<T>(y), gpubp::widen<T>(dy));"
        " gpubp::narrow(value, dz)",
    )


def update_outputs(name: str) -> list[str]:
    """Return what an update writes, as parameters of a kernel."""
    return ["T p", *(f"T {array}" for array in UPDATES[name].state)]


def update_operation(name: str) -> str:
    """Return an update with the gradient `scaled`, which an overflow stops.

    All that it reads is on its way before it is known whether there was one.
    """
    update = UPDATES[name]
    written = ["p", *update.state]
    own = [f"own_{each}" for each in written]
    arguments = ", ".join(["g", *own, *update.arguments()])
    read = " ".join(f"T own_{each} = {each};" for each in written)
    kept = " ".join(f"{each} = own_{each};" for each in written)
    return (
        f"const double* c = &settings[clock[gpubp::SETTINGS] * {len(update.scalars)}]; {read}"
        " const T g = scaled / T(scaling[gpubp::SCALE]);"
        " if (scaling[gpubp::OVERFLOWED] == 0)"
        f" {{ gpubp::{name}({arguments}); {kept} }}"
    )


def _update(name: str, half: bool, last: bool = False) -> Elementwise:
    """Make an update; a half precision gets a copy of the parameters.

    As the `last` of a step its first warp ends the step beside it.
    """
    inputs, outputs = [], []
    operation = f"{update_operation(name)}{'; gpubp::narrow(p, half)' if half else ''}"
    if last:
        inputs, outputs = ["raw T sums", "int64 count"], ["raw T losses", "raw int64 next"]
        operation += (
            f"; if (i < {LANES}) gpubp::finish_beside("
            "&sums[0], count, &losses[0], &next[0], gpubp::Warp(i))"
        )
    given = ["T scaled", "raw float64 settings", "raw int64 clock", "raw float32 scaling", *inputs]
    outputs = [*update_outputs(name), *(["S half"] if half else []), *outputs]
    suffix = ("_half" if half else "") + ("_last" if last else "")
    return Elementwise(f"gpubp_{name}{suffix}", ", ".join(given), ", ".join(outputs), operation)


ACTIVATE = {name: _activate(name) for name in _ACTIVATIONS}
ACTIVATE_IN_PLACE = {name: _activate_in_place(name) for name in IN_PLACE}
BACKWARD = {name: _backward(name) for name in _ACTIVATIONS}
DERIVATIVE = {name: _derivative(name) for name in _ACTIVATIONS}
UPDATE = {name: _update(name, half=False) for name in UPDATES}
UPDATE_HALF = {name: _update(name, half=True) for name in UPDATES}
LAST_UPDATE = {name: _update(name, half=False, last=True) for name in UPDATES}
LAST_UPDATE_HALF = {name: _update(name, half=True, last=True) for name in UPDATES}
SOFTMAX = row_kernel(
    "raw T bias",
    "raw T z, raw T y",
    "gpubp_bias_softmax",
    "gpubp::bias_softmax_row(&z[at], &bias[0], &y[at], columns, lanes)",
)
SOFTMAX_BACKWARD = row_kernel(
    "raw T y, raw S dy",
    "raw S dz",
    "gpubp_softmax_backward",
    "gpubp::softmax_backward_row(&y[at], &dy[at], &dz[at], columns, lanes)",
)
DROPOUT = Elementwise(
    "gpubp_dropout",
    "S x, uint64 seed, uint64 stream, raw int64 clock, float32 rate",
    "S y",
    "typedef typename gpubp::Computed<S>::type T;"
    " gpubp::narrow(gpubp::dropout(gpubp::widen<T>(x), seed, stream, clock[gpubp::STEP], i, rate),"
    " y)",
)
SCHEDULED_DROPOUT = Elementwise(
    "gpubp_dropout_scheduled",
    f"S x, uint64 seed, uint64 stream, raw int64 clock, raw float64 rates, {CLOCK}",
    "S y",
    "typedef typename gpubp::Computed<S>::type T;"
    " const float rate = float(rates[now[gpubp::SETTINGS]]);"
    " gpubp::narrow(gpubp::dropout(gpubp::widen<T>(x), seed, stream, clock[gpubp::STEP], i, rate),"
    " y)",
)
GATHER = Elementwise(
    "gpubp_gather",
    "raw X x, raw int64 order, raw int64 clock, int64 batch, int64 columns, float64 scale",
    "raw S out",
    "gpubp::gather_element(x, order, clock[gpubp::BATCH] * batch, columns, scale, i, out[i])",
)


def _first_gather(name: str, gather: str) -> Elementwise:
    """Make the kernel that gathers inputs and expected values of a batch."""
    return Elementwise(
        name,
        "raw X x, raw Y y, raw int64 order, int64 batch, int64 columns, int64 own, float64 scale,"
        " int64 split",
        "raw S x_out, raw Y y_out, raw int64 clock",
        "const gpubp::int64 first = gpubp::begin_step(&clock[0], i) * batch;"
        f" if (i < split) {gather};"
        " else gpubp::gather_element(y, order, first, own, 1.0, i - split, y_out[i - split])",
    )


FIRST_GATHER = _first_gather(
    "gpubp_first_gather", "gpubp::gather_element(x, order, first, columns, scale, i, x_out[i])"
)
# four neighbours of a row by each thread
FIRST_GATHER_FOURS = _first_gather(
    "gpubp_first_gather_fours",
    "gpubp::gather_four(&x[0], order, first, columns, scale, i * 4, &x_out[0])",
)
CONVERT = Elementwise("gpubp_convert", "X x", "S y", "gpubp::gathered(x, 1.0, y)")
ADD = Elementwise(
    "gpubp_add",
    "K a, S b",
    "K sum",
    "typedef typename gpubp::Computed<S>::type T;"
    " gpubp::narrow(gpubp::widen<T>(a) + gpubp::widen<T>(b), sum)",
)
SHUFFLE_KEYS = Elementwise(
    "gpubp_shuffle_keys",
    "uint64 seed, uint64 stream, uint64 epoch, uint64 mask",
    "uint64 key",
    "key = gpubp::shuffle_key(seed, stream, epoch, i, mask)",
)
FIND_OVERFLOW = Elementwise(
    "gpubp_find_overflow",
    "T g",
    "raw float32 scaling",
    "if (!gpubp::is_finite(g)) scaling[gpubp::OVERFLOWED] = 1.0f",
)
FINISH_STEP = Elementwise(
    "gpubp_finish_step",
    "raw T mean, int64 growth, int64 updated",
    "raw T losses, raw int64 clock, raw float32 scaling",
    "gpubp::finish_step(mean[0], &losses[0], &clock[0], &scaling[0], growth, updated)",
)
ACCUMULATE = Elementwise(
    "gpubp_accumulate",
    "T g, T share, int64 first",
    "T sum",
    "sum = (first ? T(0) : sum) + share * g",
)
AVERAGE = Elementwise(
    "gpubp_average",
    "T p, T decay, raw float32 scaling",
    "T mean",
    "if (scaling[gpubp::OVERFLOWED] == 0) mean += (T(1) - decay) * (p - mean)",
)
SUM_GROUPS = Elementwise(
    "gpubp_sum_groups",
    "raw T x, int64 count, int64 group",
    "raw T sums",
    f"const gpubp::Warp lanes(i); const gpubp::int64 number = i / {LANES}, at = number * group;"
    " const gpubp::int64 rest = count - at;"
    " const T sum = gpubp::strided_sum(&x[at], rest < group ? rest : group, 1, lanes);"
    " if (lanes.leads()) sums[number] = sum",
)

ELEMENTWISE: tuple[Elementwise, ...] = (
    *ACTIVATE.values(),
    *ACTIVATE_IN_PLACE.values(),
    *BACKWARD.values(),
    *DERIVATIVE.values(),
    *LOSSES,
    *UPDATE.values(),
    *UPDATE_HALF.values(),
    *LAST_UPDATE.values(),
    *LAST_UPDATE_HALF.values(),
    SOFTMAX,
    SOFTMAX_BACKWARD,
    DROPOUT,
    SCHEDULED_DROPOUT,
    GATHER,
    FIRST_GATHER,
    FIRST_GATHER_FOURS,
    CONVERT,
    ADD,
    SHUFFLE_KEYS,
    FIND_OVERFLOW,
    FINISH_STEP,
    SUM_CHUNKS,
    SUM_COLUMNS,
    SUM_GROUPS,
    ACCUMULATE,
    AVERAGE,
    *CATEGORIES,
    *EMBEDDINGS,
    *MIXING,
    *NORMALIZATION,
    *PENALTIES,
    *PERIODIC,
)
