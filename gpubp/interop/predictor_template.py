"""A neural network made by gpubp; this file needs NumPy and nothing else.

python THIS_FILE data.csv        # prints a prediction for every row

from THIS_FILE import predict
predict(x)                       # x (rows, inputs), or {column: values} for a table's model
"""

from __future__ import annotations

import base64
import csv
import datetime
import io
import json
import math
import os
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

MODEL = ""

# Cells of a CSV file that hold no value
MISSING = {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"}
MISSING |= {"1.#QNAN", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
SPACES = str.maketrans("\u00a0\u202f\u2009", "   ")
OF_THE_DAY = re.compile(r"\d\d:\d\d(:\d\d)?")
TIME = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d(:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d(:?\d\d)?)?)?")


def _erf(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[float])(x)


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _elu(x: Any, alpha: float) -> Any:
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0))


def _softmax(x: Any, axis: int) -> Any:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


# Operators of ONNX, of which the activation functions are made
OPERATORS: dict[str, Callable[..., Any]] = {
    "Abs": np.abs,
    "Add": np.add,
    "Div": np.divide,
    "Elu": _elu,
    "Erf": _erf,
    "Exp": np.exp,
    "HardSigmoid": lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
    "LeakyRelu": lambda x, alpha: np.maximum(x, alpha * x),
    "Log": np.log,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Pow": np.power,
    "Reciprocal": np.reciprocal,
    "Relu": lambda x: np.maximum(x, 0),
    "Selu": lambda x, alpha, gamma: gamma * _elu(x, alpha),
    "Sigmoid": _sigmoid,
    "Softmax": _softmax,
    "Softplus": _softplus,
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Tanh": np.tanh,
}


def activate(x: Any, nodes: list[Any]) -> Any:
    """Return a function of x; an input of a node is x, a node before it by number, or a number."""
    made: list[Any] = []
    for operator, inputs, attributes in nodes:
        values = [
            x if each == "x" else made[each] if isinstance(each, int) else each for each in inputs
        ]
        made.append(OPERATORS[operator](*values, **attributes))
    return made[-1] if made else x


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
            numbers = [_number(value, column["kind"]) for value in values]
            if any(map(math.isinf, numbers)):
                raise ValueError(f"the column {column['name']!r} holds a number that is infinite")
            parts += _numeric(np.array(numbers, float), column)
        elif column["type"] == "ordered":
            ranks = {name: float(rank) for rank, name in enumerate(column["order"])}
            numbers = [math.nan if _is_missing(v) else ranks.get(str(v), math.nan) for v in values]
            parts += _numeric(np.array(numbers), column["ranks"])
        else:
            texts = ["" if _is_missing(value) else str(value) for value in values]
            words = [*column["vocabulary"], *[""] * column["missing"]]
            places = {word: place for place, word in enumerate(words)}
            if column["type"] == "coded":
                parts.append(np.array([[places.get(text, -1.0)] for text in texts]))
                continue
            slots = np.zeros((len(texts), len(words) + 1))
            taken = [places.get(text, len(words)) for text in texts]
            slots[np.arange(len(texts)), taken] = 1
            parts.append(slots)
    return np.concatenate(parts, axis=1).astype(np.float32)


def read_cells(values: Any, reading: dict[str, Any], name: str) -> list[Any]:
    """Return the values of a column; cells of text are read as those of the training."""
    form = reading["formats"].get(name)
    numbers = [float(mark) for mark in reading["missing"] if NUMBER.fullmatch(mark)]
    read: list[Any] = []
    for value in values:
        is_text = isinstance(value, str)
        if value in numbers or (is_text and value.strip() in reading["missing"]):
            read.append(None)
        else:
            read.append(_formatted(value, form) if form and is_text and value else value)
    return read


def _formatted(cell: str, form: dict[str, Any]) -> Any:
    """Return the number or the time that a cell writes; None where it is missing."""
    text = cell.translate(SPACES).strip()
    if cell.strip() in form["missing"]:
        return None
    for time in form.get("times", ()):
        try:
            return datetime.datetime.strptime(text, time)
        except ValueError:
            continue
    match = re.fullmatch(form["pattern"], text) if "pattern" in form else None
    if match is None:
        raise ValueError(f"{cell!r} is not written like the cells of the training")
    digits = match["number"]
    digits = digits.replace(form["thousands"], "") if form["thousands"] else digits
    number = float(digits.replace(form["decimal"], "."))
    return -number if "-" in (match["before"], match["behind"]) else number


def _numeric(numbers: Any, column: dict[str, Any]) -> list[Any]:
    """Return what numbers become: standardised, whether missing, places in cycles of time."""
    missing = np.isnan(numbers)
    scaled = (np.where(missing, column["mean"], numbers) - column["mean"]) / column["scale"]
    if column.get("bound"):
        scaled = scaled / np.sqrt(1 + (scaled / column["bound"]) ** 2)
    parts = [scaled[:, None]]
    if column["indicator"]:
        parts.append(missing[:, None].astype(float))
    for seconds in column.get("cycles", {}).values():
        angle = np.where(missing, 0, numbers) * (2 * np.pi / seconds)
        waves = np.column_stack([np.sin(angle), np.cos(angle)])
        parts.append(np.where(missing[:, None], 0, waves))
    return parts


def embed_categories(x: Any, arrays: dict[str, Any], member: int) -> Any:
    """Return the rows of the table that codes select, its last for no code, and the numbers."""
    table, starts, counts, columns, others = (
        arrays[f"codes {part} {member}"]
        for part in ("table", "starts", "counts", "columns", "others")
    )
    code = x[:, columns]
    known = (code >= 0) & (code < counts) & (code == np.floor(code))
    row = np.where(known, starts + np.where(known, code, 0).astype(np.int64), len(table) - 1)
    return np.concatenate([table[row].reshape(len(x), -1), x[:, others]], axis=1)


def embed_periodic(x: Any, arrays: dict[str, Any], member: int) -> Any:
    """Return the columns that pass, and what is made of the waves of the others."""
    turns, phase, maps, bias, columns, others, beside = (
        arrays[f"waves {part} {member}"]
        for part in ("turns", "phase", "maps", "bias", "columns", "others", "beside")
    )
    numbers = x[:, columns, None]
    angle = numbers * turns + phase
    waves = np.concatenate([np.cos(angle), np.sin(angle)], axis=2)[:, :, : maps.shape[1]]
    made = np.einsum("rfh,fhj->rfj", waves, maps) + bias
    made = np.concatenate([numbers, made], axis=2) if beside else np.maximum(made, 0)
    return np.concatenate([x[:, others], made.reshape(len(x), -1)], axis=1)


def outputs(x: Any) -> Any:
    """Return the mean of the networks' outputs, (rows, outputs), for inputs (rows, inputs)."""
    described, arrays = load()
    x = np.asarray(x, np.float32) * np.float32(described["input_scale"])
    answers, first = [], 0
    for number, layers in enumerate(described["activations"]):
        y = embed_categories(x, arrays, number) if f"codes table {number}" in arrays else x
        y = embed_periodic(y, arrays, number) if f"waves maps {number}" in arrays else y
        answers.append(_network(y, layers, arrays, first))
        first += len(layers)
    return np.mean(answers, axis=0) if len(answers) > 1 else answers[0]


def _network(y: Any, layers: list[Any], arrays: dict[str, Any], first: int) -> Any:
    for index, nodes in enumerate(layers, first):
        if f"column {index}" in arrays:
            column, low, length, floor, ceiling = (
                arrays[f"{part} {index}"]
                for part in ("column", "low", "length", "floor", "ceiling")
            )
            y = np.clip((y[:, column] - low) / length, floor, ceiling)
        x = y
        y = y @ arrays[f"weight {index}"]
        if f"gamma {index}" in arrays:
            y = y - y.mean(axis=1, keepdims=True)
            y = y / np.sqrt((y * y).mean(axis=1, keepdims=True) + 1e-5)
            y = y * arrays[f"gamma {index}"]
        with np.errstate(over="ignore"):
            z = y + arrays[f"bias {index}"]
            y = activate(z, nodes).astype(np.float32)
        if f"mix {index}" in arrays:
            y = z + arrays[f"mix {index}"] * (y - z)
        y = y + x if f"residual {index}" in arrays else y
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
        if "reading" in table:
            x = {name: read_cells(values, table["reading"], name) for name, values in x.items()}
        x = features(x, table["columns"])
    y = outputs(x)
    if described["labels"] is not None:
        place = y.argmax(axis=1) if y.shape[1] > 1 else (y[:, 0] > 0.5).astype(int)
        return np.array(described["labels"])[np.minimum(place, len(described["labels"]) - 1)]
    if table is None:
        return y
    return y.astype(float) * table["scale"] + table["mean"]  # whose digits float32 may not hold


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _number(value: Any, kind: str) -> float:
    """Return a cell of a column as gpubp reads it: of numbers, booleans or times."""
    if _is_missing(value):
        return math.nan
    if isinstance(value, np.datetime64 | datetime.date):
        return float(np.datetime64(value).astype("datetime64[us]").astype(np.int64)) / 1e6
    if not isinstance(value, str):
        return float(value)
    if value in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return float(value.lower() == "true")
    seconds = _seconds(value.strip(), kind)
    if seconds is None and (kind == "time" or "_" in value):
        raise ValueError(f"{value!r} is no {kind}")
    return float(value) if seconds is None else seconds


def _seconds(text: str, kind: str) -> float | None:
    """Return the seconds of a time since 1970, or of a time of the day; None for no time."""
    if kind == "time" and TIME.fullmatch(text):
        read = datetime.datetime.fromisoformat(text)
        zone = read.tzinfo or datetime.UTC
        since = read.replace(tzinfo=zone) - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        return (since // datetime.timedelta(microseconds=1)) / 1e6
    if kind == "number" and OF_THE_DAY.fullmatch(text):
        time = datetime.time.fromisoformat(text)
        return 3600.0 * time.hour + 60 * time.minute + time.second
    return None


def read_rows(path: str) -> list[list[str]]:
    """Return the cells of a CSV file in UTF-8, or else Windows-1252."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252")
    header = text.partition("\n")[0]
    mark = next((each for each in ",;\t|" if each in header), ",")
    return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark) if row]


def main() -> int:
    """Print a prediction for every row of a CSV file."""
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(f"usage: {sys.argv[0]} data.csv\n\n{__doc__}".rstrip())
        return 0
    if len(sys.argv) != 2:
        print(f"usage: {sys.argv[0]} data.csv", file=sys.stderr)
        return 2
    try:
        rows = read_rows(sys.argv[1])
        described, _ = load()
        if described["preprocessing"] is not None:
            cells = [[None if cell in MISSING else cell for cell in row] for row in rows[1:]]
            columns = dict(zip(rows[0], zip(*cells, strict=True), strict=True))
            answers = predict(columns)
        else:
            answers = predict(np.array(rows, np.float32))
    except (OSError, ValueError, IndexError) as error:
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)
        return 2
    try:
        for answer in answers:
            print(*np.atleast_1d(answer), sep=",")
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough: python THIS_FILE data.csv | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
