"""From the columns of a table to a network's inputs, in operators of ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.errors import ConfigurationError
from gpubp.interop.onnx_graph import Graph


def add_columns(graph: Graph, columns: list[dict[str, Any]]) -> tuple[list[Any], str]:
    """Add an input for every column and what makes features of it.

    Parameters
    ----------
    graph : Graph
    columns : list of dict
        As `gpubp.tables.columns` describes them.

    Returns
    -------
    (inputs, name)
        Descriptions of the inputs, and the name of all features, float32 (rows, features).
    """
    kinds, describe = graph.onnx.TensorProto, graph.onnx.helper.make_tensor_value_info
    inputs, parts = [], []
    names = [graph.name(column["name"]) for column in columns]  # before those of any node
    for column, name in zip(columns, names, strict=True):
        if column["type"] not in _COLUMNS:
            raise ConfigurationError(
                f"column {column['name']!r} is free text, whose hashed words no ONNX file can hold;"
                " a model without that column is needed"
            )
        kind = kinds.DOUBLE if column["type"] == "numeric" else kinds.STRING
        inputs.append(describe(name, kind, ["rows", 1]))
        parts += _COLUMNS[column["type"]](graph, column, name)
    return inputs, graph.node("Concat", parts, axis=1)


def _add_numeric(graph: Graph, column: dict[str, Any], values: str) -> list[str]:
    """Standardise in float64; a missing value, NaN, becomes the mean."""
    mean, scale = (graph.constant(np.float64(column[name])) for name in ("mean", "scale"))
    centered = graph.node("Sub", [values, mean])
    wide = graph.node("Div", [centered, scale])
    if column.get("bound"):
        share = graph.node("Div", [wide, graph.constant(np.float64(column["bound"]))])
        square = graph.node("Mul", [share, share])
        more = graph.node("Add", [square, graph.constant(np.float64(1))])
        wide = graph.node("Div", [wide, graph.node("Sqrt", [more])])
    value = graph.node("Cast", [wide], to=graph.onnx.TensorProto.FLOAT)
    missing = graph.node("IsNaN", [value])
    parts = [graph.node("Where", [missing, graph.number(0), value])]
    if column["indicator"]:
        parts.append(graph.node("Cast", [missing], to=graph.onnx.TensorProto.FLOAT))
    for seconds in column.get("cycles", {}).values():
        turns = graph.constant(np.float64(2 * np.pi / seconds))
        angle = graph.node("Mul", [values, turns])
        for wave in ("Sin", "Cos"):
            narrow = graph.node(
                "Cast", [graph.node(wave, [angle])], to=graph.onnx.TensorProto.FLOAT
            )
            parts.append(graph.node("Where", [missing, graph.number(0), narrow]))
    return parts


def _add_categorical(graph: Graph, column: dict[str, Any], values: str) -> list[str]:
    """Write 1 for the row's own category, or for an unknown one; a missing value is ""."""
    words = [*column["vocabulary"], *[""] * column["missing"]]
    encoded = graph.node(
        "OneHotEncoder", [values], domain="ai.onnx.ml", cats_strings=words, zeros=1
    )
    shape = graph.constant(np.array([-1, len(words)], np.int64))
    known = graph.node("Reshape", [encoded, shape])
    total = graph.node("ReduceSum", [known, graph.constant(np.array([1], np.int64))], keepdims=1)
    unknown = graph.node("Sub", [graph.number(1), total])
    return [known, unknown]


def _add_ordered(graph: Graph, column: dict[str, Any], values: str) -> list[str]:
    """Take the number of each name in the order, NaN for another, and standardise it."""
    names = column["order"]
    encoded = graph.node(
        "OneHotEncoder", [values], domain="ai.onnx.ml", cats_strings=names, zeros=1
    )
    shape = graph.constant(np.array([-1, len(names)], np.int64))
    slots = graph.node("Reshape", [encoded, shape])
    rank = graph.node(
        "MatMul", [slots, graph.constant(np.arange(len(names), dtype=np.float32)[:, None])]
    )
    total = graph.node("ReduceSum", [slots, graph.constant(np.array([1], np.int64))], keepdims=1)
    known = graph.node("Greater", [total, graph.number(0)])
    ranks = graph.node("Where", [known, rank, graph.constant(np.float32(np.nan))])
    wide = graph.node("Cast", [ranks], to=graph.onnx.TensorProto.DOUBLE)
    return _add_numeric(graph, column["ranks"], wide)


def _add_coded(graph: Graph, column: dict[str, Any], values: str) -> list[str]:
    """Write the code of the row's name, -1 for an unknown one; a missing value is ""."""
    words = [*column["vocabulary"], *[""] * column["missing"]]
    codes = graph.node(
        "LabelEncoder",
        [values],
        domain="ai.onnx.ml",
        keys_strings=words,
        values_floats=[float(code) for code in range(len(words))],
        default_float=-1.0,
    )
    return [codes]


_COLUMNS = {
    "numeric": _add_numeric,
    "categorical": _add_categorical,
    "coded": _add_coded,
    "ordered": _add_ordered,
}
