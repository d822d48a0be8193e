"""The preprocessing of a table's columns, in ONNX operators."""

from __future__ import annotations

from typing import Any

import numpy as np


def add_columns(graph: Any, columns: list[dict[str, Any]]) -> tuple[list[Any], str]:
    """Add an input for every column and what makes features of it.

    Parameters
    ----------
    graph : gpubp.interop.onnx_file.Graph
    columns : list of dict
        As `gpubp.tables.columns` describes them.

    Returns
    -------
    (inputs, name)
        Descriptions of the inputs, and the name of all features, float32 (rows, features).
    """
    kinds, describe = graph.onnx.TensorProto, graph.onnx.helper.make_tensor_value_info
    inputs, parts = [], []
    for column in columns:
        numeric = column["type"] == "numeric"
        kind = kinds.DOUBLE if numeric else kinds.STRING
        inputs.append(describe(column["name"], kind, ["rows", 1]))
        parts += (_numeric if numeric else _categorical)(graph, column)
    return inputs, graph.node("Concat", parts, axis=1)


def _numeric(graph: Any, column: dict[str, Any]) -> list[str]:
    """Standardise in float64; a missing value, NaN, becomes the mean."""
    mean, scale = (graph.constant(np.float64(column[name])) for name in ("mean", "scale"))
    centered = graph.node("Sub", [column["name"], mean])
    wide = graph.node("Div", [centered, scale])
    value = graph.node("Cast", [wide], to=graph.onnx.TensorProto.FLOAT)
    missing = graph.node("IsNaN", [value])
    parts = [graph.node("Where", [missing, graph.constant(np.float32(0)), value])]
    if column["indicator"]:
        parts.append(graph.node("Cast", [missing], to=graph.onnx.TensorProto.FLOAT))
    return parts


def _categorical(graph: Any, column: dict[str, Any]) -> list[str]:
    """Write 1 for the row's own category, or for an unknown one; a missing value is ""."""
    words = [*column["vocabulary"], *[""] * column["missing"]]
    encoded = graph.node(
        "OneHotEncoder", [column["name"]], domain="ai.onnx.ml", cats_strings=words, zeros=1
    )
    shape = graph.constant(np.array([-1, len(words)], np.int64))
    known = graph.node("Reshape", [encoded, shape])
    found = graph.node("ReduceSum", [known, graph.constant(np.array([1], np.int64))], keepdims=1)
    unknown = graph.node("Sub", [graph.constant(np.float32(1)), found])
    return [known, unknown]
