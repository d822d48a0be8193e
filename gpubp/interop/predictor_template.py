"""A neural network made by gpubp; this file needs NumPy and nothing else.

python THIS_FILE data.csv        # prints a prediction for every row

from THIS_FILE import predict
predict(x)                       # x (rows, inputs), or {column: values} for a table's model
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

MODEL = ""


def _erf(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[float])(x)


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _expm1(x: Any) -> Any:
    return np.expm1(np.minimum(x, 0))


def _softmax(x: Any) -> Any:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda x: x,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "exp": np.exp,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.maximum(x, 0.01 * x),
    "elu": lambda x: np.maximum(x, 0) + _expm1(x),
    "selu": lambda x: 1.0507009873554805 * (np.maximum(x, 0) + 1.6732632423543772 * _expm1(x)),
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "silu": lambda x: x * _sigmoid(x),
    "gelu": lambda x: x * 0.5 * (1 + _erf(x * 0.5**0.5)),
    "gelu_tanh": lambda x: x * _sigmoid(1.5957691216057308 * (x + 0.044715 * x**3)),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "softmax": _softmax,
}


def load() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the model's description and its arrays."""
    with np.load(io.BytesIO(base64.b64decode(MODEL)), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(arrays.pop("description").tobytes()), arrays


def features(columns: dict[str, Any], described: list[dict[str, Any]]) -> Any:
    """Return the network's inputs, (rows, features), from the columns of a table."""
    parts = []
    for column in described:
        if column["name"] not in columns:
            raise ValueError(f"the column {column['name']!r} is needed")
        values = columns[column["name"]]
        if column["type"] == "numeric":
            numbers = np.array([_number(value) for value in values])
            missing = np.isnan(numbers)
            scaled = (np.where(missing, column["mean"], numbers) - column["mean"]) / column["scale"]
            parts.append(scaled[:, None])
            if column["indicator"]:
                parts.append(missing[:, None].astype(float))
        else:
            texts = ["" if _is_missing(value) else str(value) for value in values]
            words = [*column["vocabulary"], *[""] * column["missing"]]
            places = {word: place for place, word in enumerate(words)}
            slots = np.zeros((len(texts), len(words) + 1))
            taken = [places.get(text, len(words)) for text in texts]
            slots[np.arange(len(texts)), taken] = 1
            parts.append(slots)
    return np.concatenate(parts, axis=1).astype(np.float32)


def outputs(x: Any) -> Any:
    """Return the network's outputs, (rows, outputs), for its inputs (rows, inputs)."""
    described, arrays = load()
    y = np.asarray(x, np.float32) * np.float32(described["input_scale"])
    for index, name in enumerate(described["activations"]):
        y = y @ arrays[f"weight {index}"]
        if f"gamma {index}" in arrays:
            y = y - y.mean(axis=1, keepdims=True)
            y = y / np.sqrt((y * y).mean(axis=1, keepdims=True) + 1e-5)
            y = y * arrays[f"gamma {index}"]
        with np.errstate(over="ignore"):
            y = ACTIVATIONS[name](y + arrays[f"bias {index}"]).astype(np.float32)
    return y


def predict(x: Any) -> Any:
    """Return labels (rows,) of a classifier, else outputs (rows, outputs).

    Parameters
    ----------
    x : array (rows, inputs), or for a model of a table a dict of its columns' values
    """
    described, _ = load()
    table = described["preprocessing"]
    if table is not None and isinstance(x, dict):
        x = features(x, table["columns"])
    y = outputs(x)
    if described["labels"] is not None:
        place = y.argmax(axis=1) if y.shape[1] > 1 else (y[:, 0] > 0.5).astype(int)
        return np.array(described["labels"])[np.minimum(place, len(described["labels"]) - 1)]
    return y * table["scale"] + table["mean"] if table is not None else y


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> float:
    if _is_missing(value):
        return math.nan
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return float(value.lower() == "true")
    return float(value)


def main() -> int:
    """Print a prediction for every row of a CSV file."""
    if len(sys.argv) != 2:
        print(f"usage: {sys.argv[0]} data.csv", file=sys.stderr)
        return 2
    try:
        with open(sys.argv[1], newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        described, _ = load()
        if described["preprocessing"] is not None:
            columns = dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))
            answers = predict(columns)
        else:
            answers = predict(np.array(rows, np.float32))
    except (OSError, ValueError, IndexError) as error:
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)
        return 2
    for answer in answers:
        print(*np.atleast_1d(answer), sep=",")
    return 0


if __name__ == "__main__":
    sys.exit(main())
