"""A trace as tables of text, no wider than 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpubp.trace import LayerTrace, Trace


def trace_table(trace: Trace, max_rows: int, row: int) -> str:
    """Return the tables of one row of the batch; see `gpubp.trace.Trace.table`."""
    count = len(trace.expected)
    lines = [
        f"One step of gradient descent: loss {trace.loss_name}, learning rate"
        f" {trace.learning_rate:g}"
    ]
    if count > 1:
        lines.append(f"Gradients are means over {count} rows; neurons are shown for row {row}.")
    lines.append("")
    last = len(trace.layers) - 1
    for index, layer in enumerate(trace.layers):
        lines += _layer(layer, index, index == last, trace, max_rows, row)
    lines.append(f"loss before the step {trace.loss:.9g}, after it {trace.loss_after:.9g}")
    return "\n".join(lines)


def _layer(
    layer: LayerTrace, index: int, last: bool, trace: Trace, max_rows: int, row: int
) -> list[str]:
    inputs, outputs = layer.weight_before.shape
    name = "output layer" if last else f"hidden layer {index + 1}"
    title = f"{name}: {inputs} inputs, {outputs} neurons, {layer.activation}"
    neurons = [
        [j, *(array[row, j] for array in _neuron_columns(layer, last, trace))]
        for j in range(outputs)
    ]
    headings = ["neuron", "weighted sum", "output", "slope", "error"]
    if last:
        headings.insert(3, "expected")
    return [
        title,
        "-" * len(title),
        *_table(headings, neurons, max_rows, "neurons"),
        "",
        *_table(
            ["weight", "input", "gradient", "before", "after"],
            _weights(layer, row),
            max_rows,
            "weights",
        ),
        "",
    ]


def _neuron_columns(layer: LayerTrace, last: bool, trace: Trace) -> list[Any]:
    columns = [layer.weighted_sum, layer.output, layer.slope, layer.error]
    if last:
        columns.insert(2, trace.expected)
    return columns


def _weights(layer: LayerTrace, row: int) -> list[list[Any]]:
    """List the weights neuron by neuron, each neuron's bias last."""
    inputs, outputs = layer.weight_before.shape
    lines: list[list[Any]] = []
    for j in range(outputs):
        lines += [
            [
                f"{i} -> {j}",
                layer.inputs[row, i],
                layer.weight_gradient[i, j],
                layer.weight_before[i, j],
                layer.weight_after[i, j],
            ]
            for i in range(inputs)
        ]
        lines.append(
            [
                f"bias {j}",
                "",
                layer.bias_gradient[j],
                layer.bias_before[j],
                layer.bias_after[j],
            ]
        )
    return lines


def _table(
    headings: Sequence[str], rows: Sequence[Sequence[Any]], max_rows: int, what: str
) -> list[str]:
    """Lay out rows in right-aligned columns, the middle left out where there are too many."""
    shown = list(rows)
    if len(rows) > max_rows:
        shown = list(rows[: max_rows - max_rows // 4]) + list(rows[len(rows) - max_rows // 4 :])
    cells = [[_cell(value) for value in row] for row in shown]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    lines = [_line(headings, widths)] + [_line(row, widths) for row in cells]
    if len(rows) > max_rows:
        gap = f"... {len(rows) - len(shown)} more {what} ..."
        lines.insert(1 + max_rows - max_rows // 4, gap)
    return lines


def _cell(value: Any) -> str:
    return str(value) if isinstance(value, str | int) else f"{value:.9g}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
