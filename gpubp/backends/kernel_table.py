"""Every GPU kernel, named once: parameters and the expression that calls `kernels/*.cuh`.

The parameter strings are those of `cupy.ElementwiseKernel` and `cupy.ReductionKernel`; the type
parameter ``T`` makes one entry serve float32 and float64.
"""

from __future__ import annotations

from dataclasses import dataclass

HEADERS = ("activations.cuh", "layers.cuh", "losses.cuh", "updates.cuh", "random.cuh")


@dataclass(frozen=True)
class Elementwise:
    """One elementwise kernel; `operation` runs once for each element `i`."""

    name: str
    inputs: str
    outputs: str
    operation: str


@dataclass(frozen=True)
class Reduction:
    """One reduction kernel; see `cupy.ReductionKernel` for the expressions."""

    name: str
    inputs: str
    outputs: str
    map: str
    reduce: str
    post_map: str
    identity: str


_KEEPS_OUTPUT = (
    "identity",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "softplus",
    "softsign",
    "hard_sigmoid",
)
_KEEPS_INPUT = ("silu", "gelu", "gelu_tanh", "mish")
_LOSSES = ("squared_error", "absolute_error", "huber", "binary_cross_entropy", "cross_entropy")
_UPDATES = {
    "sgd": ("", "T rate"),
    "momentum": ("velocity", "T rate, T decay"),
    "nesterov": ("velocity", "T rate, T decay"),
    "rmsprop": ("square", "T rate, float64 decay, T epsilon"),
    "adam": (
        "moment1, moment2",
        "T rate, float64 beta1, float64 beta2, T epsilon, T root, T shrink",
    ),
}


def _activate(name: str) -> Elementwise:
    return Elementwise(
        f"gpubp_bias_{name}", "T x, T bias", "T z, T y", f"z = x + bias; y = gpubp::{name}(z)"
    )


def _activate_in_place(name: str) -> Elementwise:
    return Elementwise(
        f"gpubp_bias_{name}_in_place", "T x, T bias", "T y", f"y = gpubp::{name}(x + bias)"
    )


def _backward(name: str) -> Elementwise:
    return Elementwise(
        f"gpubp_{name}_backward",
        "raw T x, raw T y, raw T dy, int64 rows, int64 columns, int64 chunk",
        "raw T dz, raw T partial",
        "gpubp::backward_chunk(&x[0], &y[0], &dy[0], &dz[0], &partial[0], i, rows, columns, chunk,"
        f" [](T x, T y, T dy) {{ return gpubp::{name}_backward(x, y, dy); }})",
    )


def _loss(name: str, expected: str, value: str) -> Elementwise:
    return Elementwise(
        f"gpubp_{name}",
        f"raw T y, raw {expected} expected, int64 columns, T scale",
        "raw T dy, raw T loss",
        f"const gpubp::int64 at = i * columns;"
        f" loss[i] = gpubp::{name}_row(&y[at], {value}, &dy[at], columns, scale)",
    )


def _update(name: str) -> Elementwise:
    state, scalars = _UPDATES[name]
    outputs = ["p", *filter(None, state.split(", "))]
    arguments = ["g", *outputs, *(scalar.split()[1] for scalar in scalars.split(", "))]
    return Elementwise(
        f"gpubp_{name}",
        f"T g, {scalars}",
        ", ".join(f"T {output}" for output in outputs),
        f"gpubp::{name}({', '.join(arguments)})",
    )


ACTIVATE = {name: _activate(name) for name in _KEEPS_OUTPUT + _KEEPS_INPUT}
ACTIVATE_IN_PLACE = {name: _activate_in_place(name) for name in _KEEPS_OUTPUT}
BACKWARD = {name: _backward(name) for name in _KEEPS_OUTPUT + _KEEPS_INPUT}
LOSS = {name: _loss(name, "T", "&expected[at]") for name in _LOSSES} | {
    "class_cross_entropy": _loss("class_cross_entropy", "int64", "expected[i]")
}
UPDATE = {name: _update(name) for name in _UPDATES}
SOFTMAX = Elementwise(
    "gpubp_bias_softmax",
    "raw T bias, int64 columns",
    "raw T z, raw T y",
    "const gpubp::int64 at = i * columns;"
    " gpubp::bias_softmax_row(&z[at], &bias[0], &y[at], columns)",
)
SOFTMAX_BACKWARD = Elementwise(
    "gpubp_softmax_backward",
    "raw T y, raw T dy, int64 columns",
    "raw T dz",
    "const gpubp::int64 at = i * columns;"
    " gpubp::softmax_backward_row(&y[at], &dy[at], &dz[at], columns)",
)
DROPOUT = Elementwise(
    "gpubp_dropout",
    "T x, uint64 seed, uint64 stream, uint64 step, float32 rate",
    "T y",
    "y = gpubp::dropout(x, seed, stream, step, i, rate)",
)
SUM = Reduction("gpubp_sum", "T x", "T y", "x", "a + b", "y = a", "0")

ELEMENTWISE: tuple[Elementwise, ...] = (
    *ACTIVATE.values(),
    *ACTIVATE_IN_PLACE.values(),
    *BACKWARD.values(),
    *LOSS.values(),
    *UPDATE.values(),
    SOFTMAX,
    SOFTMAX_BACKWARD,
    DROPOUT,
)
REDUCTIONS: tuple[Reduction, ...] = (SUM,)
