"""A trace as tables of text, no wider than 80 columns.

It is read in the form of `gpubp.inspection.trace.Trace.to_dict`: nested lists under the names of
the fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Numbers = dict[str, Any]


def trace_table(trace: Numbers, max_rows: int, row: int) -> str:
    """Return the tables of one row of the batch; see `gpubp.inspection.trace.Trace.table`."""
    count = len(trace["expected"])
    lines = [
        f"One step of gradient descent: loss {trace['loss_name']}, learning rate"
        f" {trace['learning_rate']:g}"
    ]
    if count > 1:
        lines.append(f"Gradients are means over {count} rows; neurons are shown for row {row}.")
    lines.append("")
    *hidden, output = trace["layers"]
    while hidden and "kind" in hidden[0]:
        first = hidden.pop(0)
        lines += _layer(first, first["kind"], row, max_rows, {})
    for number, layer in enumerate(hidden, start=1):
        lines += _layer(layer, f"hidden layer {number}", row, max_rows, {})
    expected = {"expected": trace["expected"][row]}
    lines += _layer(output, "output layer", row, max_rows, expected)
    lines.append(f"loss before the step {trace['loss']:.9g}, after it {trace['loss_after']:.9g}")
    return "\n".join(lines)


def _layer(
    layer: Numbers, name: str, row: int, max_rows: int, expected: dict[str, list[float]]
) -> list[str]:
    inputs, outputs = len(layer["inputs"][row]), len(layer["output"][row])
    title = f"{name}: {inputs} inputs, {outputs} neurons, {layer['activation']}"
    columns = {
        "neuron": list(range(outputs)),
        "weighted sum": layer["weighted_sum"][row],
        "output": layer["output"][row],
        **expected,
        "slope": layer["slope"][row],
        "error": layer["error"][row],
    }
    neurons = list(zip(*columns.values(), strict=True))
    return [
        title,
        "-" * len(title),
        *_table(list(columns), neurons, max_rows, "neurons"),
        "",
        *_table(
            ["weight", "input", "gradient", "before", "after"],
            _table_rows(layer) if "kind" in layer else _weights(layer, row),
            max_rows,
            "weights",
        ),
        "",
    ]


def _weights(layer: Numbers, row: int) -> list[list[Any]]:
    """List the weights neuron by neuron, each neuron's bias and mixing factor last."""
    lines: list[list[Any]] = []
    matrices = [layer[name] for name in ("weight_gradient", "weight_before", "weight_after")]
    vectors = {
        name: [layer[f"{name}_{when}"] for when in ("gradient", "before", "after")]
        for name in ("bias", "mix")
        if f"{name}_before" in layer
    }
    for j in range(len(layer["bias_before"])):
        lines += [
            [f"{i} -> {j}", x, *(matrix[i][j] for matrix in matrices)]
            for i, x in enumerate(layer["inputs"][row])
        ]
        for name, of in vectors.items():
            lines.append([f"{name} {j}", "", *(vector[j] for vector in of)])
    return lines


def _table_rows(layer: Numbers) -> list[list[Any]]:
    """List the parameters of a layer that is not dense: matrices row by row, a vector as one."""
    lines: list[list[Any]] = []
    names = [name.removesuffix("_before") for name in layer if name.endswith("_before")]
    for name in names:
        arrays = [layer[f"{name}_{when}"] for when in ("gradient", "before", "after")]
        for i, rows in enumerate(np.stack([np.atleast_2d(array) for array in arrays], axis=1)):
            columns = enumerate(rows.T.tolist())
            lines += [[f"{name} {i} -> {j}", "", *values] for j, values in columns]
    return lines


def _table(
    headings: Sequence[str], rows: Sequence[Sequence[Any]], max_rows: int, what: str
) -> list[str]:
    """Lay out rows in right-aligned columns, the middle left out where there are too many."""
    last = max_rows // 4
    first = len(rows) if len(rows) <= max_rows else max_rows - last
    shown = [*rows[:first], *rows[max(first, len(rows) - last) :]]
    cells = [[_cell(value) for value in row] for row in shown]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    lines = [_line(row, widths) for row in [headings, *cells]]
    if len(shown) < len(rows):
        lines.insert(1 + first, f"... {len(rows) - len(shown)} more {what} ...")
    return lines


def _cell(value: Any) -> str:
    return str(value) if isinstance(value, str | int) else f"{value + 0.0:.9g}"  # no -0


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
