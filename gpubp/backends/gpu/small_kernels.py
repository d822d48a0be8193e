"""The two kernels of a small network's training step, written out for its layers.

See `kernels/small.cuh`. All sizes are constants in the text, so the compiler unrolls what it can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from gpubp.backends.gpu.kernel_table import LANES, Elementwise, update_operation, update_outputs

WIDEST = 128  # neurons in a layer; the inputs may be more
MOST_ROWS = 4096


@dataclass(frozen=True)
class SmallLayer:
    """What the kernels need to know of a layer.

    Attributes
    ----------
    inputs, outputs : int
        Its sizes.
    activation : str
        Its function; ``"identity"`` for the last layer where the loss acts on logits.
    dropout : float
        Share of the outputs dropped.
    """

    inputs: int
    outputs: int
    activation: str
    dropout: float


def is_small(layers: Sequence[SmallLayer], rows: int) -> bool:
    """Tell whether the kernels are made for this."""
    narrow = all(layer.outputs <= WIDEST for layer in layers)
    return narrow and rows <= MOST_ROWS and layers[-1].activation != "softmax"


def rows_kernel(layers: Sequence[SmallLayer], loss: str, seed: int, stream: int) -> Elementwise:
    """Return the kernel with a warp a row: forward, loss, backward.

    Its arguments: x, expected, p (the parameters), scale (1 / rows), the loss's parameter, scaling,
    and the clock if any layer has dropout; then z, y, d (the gradient by z) and with dropout u (y
    after it) of every layer; the rows' losses.
    """
    starts = _starts(layers)
    last = len(layers) - 1
    classes = loss.startswith("class_")
    lines = [f"const gpubp::int64 row = i / {LANES}; const gpubp::Warp lanes(i)"]
    source = f"&x[row * {layers[0].inputs}]"
    for index, layer in enumerate(layers):
        weight, bias = starts[index], starts[index] + layer.inputs * layer.outputs
        outputs = layer.outputs
        written = f"[](gpubp::int64, T v) {{ return gpubp::{layer.activation}(v); }}"
        lines.append(
            f"gpubp::small_forward({source}, &p[{weight}], &p[{bias}], &z{index}[row * {outputs}],"
            f" &y{index}[row * {outputs}], {layer.inputs}, {outputs}, lanes, {written})"
        )
        source = f"&y{index}[row * {outputs}]"
        if layer.dropout:
            value = _dropped(f"y{index}[at]", layer, index, seed, stream)
            lines.append(
                f"for (gpubp::int64 j = lanes.first(); j < {outputs}; j += lanes.step()) {{ const"
                f" gpubp::int64 at = row * {outputs} + j; u{index}[at] = {value}; }} lanes.wait()"
            )
            source = f"&u{index}[row * {outputs}]"
    outputs = layers[last].outputs
    expected = "expected[row]" if classes else f"&expected[row * {outputs}]"
    lines.append(
        f"const T mean = gpubp::{loss}_row(&y{last}[row * {outputs}], {expected},"
        f" &d{last}[row * {outputs}], {outputs}, T(scale * T(scaling[gpubp::SCALE])), parameter,"
        " lanes); if (lanes.leads()) loss[row] = mean; lanes.wait()"
    )
    if layers[last].activation != "identity":
        lines.append(
            f"for (gpubp::int64 j = lanes.first(); j < {outputs}; j += lanes.step())"
            f" {{ const gpubp::int64 at = row * {outputs} + j;"
            f" d{last}[at] = {_slope(layers[last], last)}; }} lanes.wait()"
        )
    for index in range(last, 0, -1):
        layer, below = layers[index], layers[index - 1]
        value = "d"
        if below.dropout:
            value = _dropped("d", below, index - 1, seed, stream)
        lines.append(
            f"gpubp::small_backward(&d{index}[row * {layer.outputs}], &p[{starts[index]}],"
            f" &d{index - 1}[row * {layer.inputs}], {layer.inputs}, {layer.outputs}, lanes,"
            f" [&](gpubp::int64 j, T d) {{ const gpubp::int64 at = row * {layer.inputs} + j;"
            f" const T dy = {value};"
            f" return gpubp::{below.activation}_backward(z{index - 1}[at], y{index - 1}[at], dy);"
            " })"
        )
    kind = "int64" if classes else "T"
    arrays = [
        f"raw T {name}{index}"
        for index, layer in enumerate(layers)
        for name in ("zydu" if layer.dropout else "zyd")
    ]
    clock = ", raw int64 clock" if any(layer.dropout for layer in layers) else ""
    return Elementwise(
        "gpubp_small_rows",
        f"raw T x, raw {kind} expected, raw T p, T scale, T parameter, raw float32 scaling{clock}",
        ", ".join([*arrays, "raw T loss"]),
        "; ".join(lines),
    )


def weights_kernel(layers: Sequence[SmallLayer], update: str, rows: int) -> Elementwise:
    """Return the kernel with a thread a parameter: its gradient over the rows, and its update.

    Its arguments: the inputs v and the gradients d of every layer, settings, clock, scaling; then
    the gradients and what `kernel_table.UPDATE` takes.
    """
    lines = ["T scaled = T(0)"]
    for index, (layer, start) in enumerate(zip(layers, _starts(layers), strict=False)):
        end = start + (layer.inputs + 1) * layer.outputs
        lines.append(
            f"if (i >= {start} && i < {end}) scaled = gpubp::small_gradient(&v{index}[0],"
            f" &d{index}[0], i - {start}, {rows}, {layer.inputs}, {layer.outputs})"
        )
    arrays = [f"raw T {name}{index}" for index in range(len(layers)) for name in "vd"]
    return Elementwise(
        "gpubp_small_weights",
        ", ".join([*arrays, "raw float64 settings", "raw int64 clock", "raw float32 scaling"]),
        ", ".join(["T gradient", *update_outputs(update)]),
        "; ".join([*lines, "gradient = scaled", update_operation(update)]),
    )


def _starts(layers: Sequence[SmallLayer]) -> list[int]:
    """Return where each layer's parameters begin."""
    return list(accumulate(((layer.inputs + 1) * layer.outputs for layer in layers), initial=0))


def _slope(layer: SmallLayer, index: int) -> str:
    return f"gpubp::{layer.activation}_backward(z{index}[at], y{index}[at], d{index}[at])"


def _dropped(value: str, layer: SmallLayer, index: int, seed: int, stream: int) -> str:
    return (
        f"gpubp::dropout({value}, {seed}ULL, {stream + index}ULL, clock[gpubp::STEP], at,"
        f" {layer.dropout!r}f)"
    )
