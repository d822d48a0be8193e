"""A Python file that predicts with nothing but NumPy: the model inside, no gpubp needed."""

from __future__ import annotations

import base64
import io
import json
import os
from importlib import resources
from itertools import chain
from typing import Any

import numpy as np

from gpubp.backends.formulas.activations import ACTIVATIONS
from gpubp.errors import ConfigurationError
from gpubp.files import write_atomically
from gpubp.interop.exported_model import plain_model

TEMPLATE = "predictor_template.py"
PLACE = 'MODEL = ""'  # in the template; filled in
LINE = 100


def write_numpy_predictor(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a Python file with a function `predict`, which needs NumPy alone.

    ``python FILE data.csv`` prints a prediction for every row.

    Parameters
    ----------
    model : Network, TabularModel, MLPClassifier or MLPRegressor

    Raises
    ------
    ConfigurationError
        When it is no model, or not fitted.
    OutputPathError
        When the file cannot be written.
    """
    plain = plain_model(model)
    for column in (plain.preprocessing or {}).get("columns", ()):
        if column["type"] == "text":
            raise ConfigurationError(
                f"column {column['name']!r} is free text, whose hashed words no such file can hold;"
                " a model without that column is needed"
            )
    described = {
        "activations": [
            [ACTIVATIONS[layer.activation].onnx for layer in member.layers]
            for member in plain.members
        ],
        "input_scale": plain.input_scale,
        "labels": plain.labels,
        "preprocessing": plain.preprocessing,
    }
    text = json.dumps(described).encode()
    arrays: dict[str, Any] = {"description": np.frombuffer(text, np.uint8)}
    for number, member in enumerate(plain.members):
        for what, embedding in (("codes", member.categories), ("waves", member.periodic)):
            if embedding is not None:
                arrays |= {
                    f"{what} {name} {number}": each for name, each in vars(embedding).items()
                }
    layers = chain.from_iterable(member.layers for member in plain.members)
    for index, layer in enumerate(layers):
        arrays[f"weight {index}"], arrays[f"bias {index}"] = layer.weight, layer.bias
        if layer.components is not None:
            for name in ("column", "low", "length", "floor", "ceiling"):
                arrays[f"{name} {index}"] = getattr(layer.components, name)
        if layer.residual:
            arrays[f"residual {index}"] = np.ones(1)
        for name in ("gamma", "mix"):
            if getattr(layer, name) is not None:
                arrays[f"{name} {index}"] = getattr(layer, name)
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    code = base64.b64encode(content.getvalue()).decode()
    lines = "\n".join(code[start : start + LINE] for start in range(0, len(code), LINE))
    template = resources.files("gpubp.interop").joinpath(TEMPLATE).read_text(encoding="utf-8")
    before, found, after = template.partition(PLACE)
    assert found, "the template has a place for the model"
    whole = f'{before}MODEL = """\n{lines}\n"""{after}'
    write_atomically(path, whole.encode())
