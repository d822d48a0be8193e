"""ONNX files: a network with what goes before and after it, in operators of opset 17."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from gpubp.backends.formulas.activations import ACTIVATIONS
from gpubp.backends.layer_protocol import NORM_EPSILON
from gpubp.errors import import_extra
from gpubp.files import write_atomically
from gpubp.interop.exported_model import (
    Components,
    PlainCategories,
    PlainLayer,
    PlainModel,
    PlainNetwork,
    PlainPeriodic,
    plain_model,
)
from gpubp.interop.onnx_columns import add_columns
from gpubp.interop.onnx_graph import Graph

OPSET, ML_OPSET, IR_VERSION = 17, 3, 8


def write_onnx(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model to an ONNX file, which onnxruntime and others compute with.

    Its inputs are ``X``, float32 (rows, inputs); or for a model that `gpubp train` made one column
    each by its name (with an underscore behind it where it is empty or that of an output),
    (rows, 1): float64 with NaN where a value is missing, or strings, empty where
    missing. Its outputs are ``probabilities`` (rows, classes) and ``label`` (rows,) of a
    classifier, else ``outputs`` (rows, outputs).

    Parameters
    ----------
    model : Network, TabularModel, MLPClassifier or MLPRegressor

    Raises
    ------
    ConfigurationError
        When it is no model, or not fitted.
    MissingExtraError, OutputPathError
        When onnx is not installed, or the file cannot be written.
    """
    onnx = import_extra("onnx", "onnx")
    import_extra("onnx.numpy_helper", "onnx")
    write_atomically(path, onnx_model(plain_model(model), onnx).SerializeToString())


def onnx_model(plain: PlainModel, onnx: Any) -> Any:
    """Return an `onnx.ModelProto`."""
    graph, kinds, make = Graph(onnx), onnx.TensorProto, onnx.helper
    if plain.preprocessing is None:
        inputs = [make.make_tensor_value_info("X", kinds.FLOAT, ["rows", plain.inputs])]
        x = "X"
    else:
        inputs, x = add_columns(graph, plain.preprocessing["columns"])
    if plain.input_scale != 1:
        x = graph.node("Mul", [x, graph.constant(np.float32(plain.input_scale))])
    answers = [_add_network(graph, member, x) for member in plain.members]
    outputs = _add_answers(graph, plain, graph.node("Mean", answers) if answers[1:] else answers[0])
    body = make.make_graph(graph.nodes, "gpubp", inputs, outputs, graph.constants)
    opsets = [make.make_opsetid("", OPSET), make.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = make.make_model(
        body, opset_imports=opsets, producer_name="gpubp", ir_version=IR_VERSION
    )
    onnx.checker.check_model(model)
    return model


def _add_network(graph: Graph, network: PlainNetwork, x: str) -> str:
    if network.categories is not None:
        x = _add_categories(graph, network.categories, x)
    if network.periodic is not None:
        x = _add_periodic(graph, network.periodic, x)
    for layer in network.layers:
        x = _add_layer(graph, layer, x)
    return x


def _add_layer(graph: Graph, layer: PlainLayer, x: str) -> str:
    if layer.components is not None:
        x = _add_components(graph, layer.components, x)
    weight, bias = graph.constant(layer.weight), graph.constant(layer.bias)
    if layer.gamma is None:
        z = graph.node("Gemm", [x, weight, bias])
    else:
        sums = graph.node("MatMul", [x, weight])
        gamma = graph.constant(layer.gamma)
        z = graph.node("LayerNormalization", [sums, gamma, bias], axis=1, epsilon=NORM_EPSILON)
    made: list[str] = []
    for operator, inputs, attributes in ACTIVATIONS[layer.activation].onnx:
        names = [_input(graph, each, z, made) for each in inputs]
        made.append(graph.node(operator, names, **attributes))
    y = made[-1] if made else z
    if layer.mix is not None:
        curved = graph.node("Mul", [graph.node("Sub", [y, z]), graph.constant(layer.mix)])
        y = graph.node("Add", [z, curved])
    return graph.node("Add", [y, x]) if layer.residual else y


def _add_categories(graph: Graph, plain: PlainCategories, x: str) -> str:
    """Add the rows of the table that codes select, its last for no code, and the numbers."""
    code = graph.node("Gather", [x, graph.constant(plain.columns)], axis=1)
    whole = graph.node("Equal", [graph.node("Floor", [code]), code])
    above = graph.node("GreaterOrEqual", [code, graph.number(0.0)])
    below = graph.node("Less", [code, graph.constant(plain.counts.astype(np.float32))])
    known = graph.node("And", [graph.node("And", [above, below]), whole])
    held = graph.node("Where", [known, code, graph.number(0.0)])
    row = graph.node("Cast", [held], to=graph.onnx.TensorProto.INT64)
    row = graph.node("Add", [row, graph.constant(plain.starts)])
    row = graph.node("Where", [known, row, graph.constant(np.int64(len(plain.table) - 1))])
    rows = graph.node("Gather", [graph.constant(plain.table), row])
    shape = graph.constant(np.array([-1, len(plain.columns) * plain.table.shape[1]], np.int64))
    embedded = graph.node("Reshape", [rows, shape])
    numbers = graph.node("Gather", [x, graph.constant(plain.others)], axis=1)
    return graph.node("Concat", [embedded, numbers], axis=1)


def _add_periodic(graph: Graph, plain: PlainPeriodic, x: str) -> str:
    """Add the columns that pass, and what is made of the waves of the others."""
    count, waves, _ = plain.maps.shape
    numbers = graph.node("Gather", [x, graph.constant(plain.columns[:, None])], axis=1)
    turned = graph.node("Mul", [numbers, graph.constant(plain.turns)])
    angle = graph.node("Add", [turned, graph.constant(plain.phase)])
    wave = graph.node("Cos", [angle])
    if waves > plain.turns.shape[1]:
        wave = graph.node("Concat", [wave, graph.node("Sin", [angle])], axis=2)
    mapped = graph.node("Einsum", [wave, graph.constant(plain.maps)], equation="rfh,fhj->rfj")
    made = graph.node("Add", [mapped, graph.constant(plain.bias)])
    if plain.beside:
        made = graph.node("Concat", [numbers, made], axis=2)
    else:
        made = graph.node("Relu", [made])
    width = plain.maps.shape[2] + int(plain.beside)
    shape = graph.constant(np.array([-1, count * width], np.int64))
    embedded = graph.node("Reshape", [made, shape])
    passing = graph.node("Gather", [x, graph.constant(plain.others)], axis=1)
    return graph.node("Concat", [passing, embedded], axis=1)


def _add_components(graph: Graph, components: Components, x: str) -> str:
    """Add clip((x[column] - low) / length, floor, ceiling)."""
    chosen = graph.node("Gather", [x, graph.constant(components.column)], axis=1)
    above = graph.node("Sub", [chosen, graph.constant(components.low)])
    share = graph.node("Div", [above, graph.constant(components.length)])
    held = graph.node("Max", [share, graph.constant(components.floor)])
    return graph.node("Min", [held, graph.constant(components.ceiling)])


def _input(graph: Graph, given: str | float, x: str, made: list[str]) -> str:
    """Name an input of a node: the argument, the output of a node before, or a constant."""
    if given == "x":
        return x
    return made[given] if isinstance(given, int) else graph.number(float(given))


def _add_answers(graph: Graph, plain: PlainModel, y: str) -> list[Any]:
    """Add what follows the last layer; return the descriptions of the outputs."""
    kinds, describe = graph.onnx.TensorProto, graph.onnx.helper.make_tensor_value_info
    columns = plain.outputs
    if plain.labels is None:
        kind, last = kinds.FLOAT, y
        if plain.preprocessing is not None:
            kind = kinds.DOUBLE  # the target's own units may need its digits
            wide = graph.node("Cast", [y], to=kind)
            scale, mean = (np.float64(plain.preprocessing[name]) for name in ("scale", "mean"))
            scaled = graph.node("Mul", [wide, graph.constant(scale)])
            last = graph.node("Add", [scaled, graph.constant(mean)])
        graph.node("Identity", [last], out="outputs")
        return [describe("outputs", kind, ["rows", columns])]
    if columns == 1:  # the probability of the second of two labels
        other = graph.node("Sub", [graph.number(1.0), y])
        y, columns = graph.node("Concat", [other, y], axis=1), 2
    graph.node("Identity", [y], out="probabilities")
    place = graph.node("ArgMax", [y], axis=1, keepdims=0)
    labels = [*plain.labels, *plain.labels][:columns]  # a single label was all there was
    whole = all(type(label) is int for label in labels)
    texts = labels if whole else [str(label) for label in labels]
    listed = np.array(texts, np.int64 if whole else object)
    graph.node("Gather", [graph.constant(listed), place], out="label")
    return [
        describe("probabilities", kinds.FLOAT, ["rows", columns]),
        describe("label", kinds.INT64 if whole else kinds.STRING, ["rows"]),
    ]
