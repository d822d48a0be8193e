"""The target column: its values as a network is trained on them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.data.statistics import ColumnStatistics
from gpubp.errors import DataError, ShapeError, brief
from gpubp.tables.encoding import as_texts
from gpubp.tables.json_fields import is_text, read_field
from gpubp.tables.standardisation import Standardisation, as_numbers
from gpubp.tables.table import Table
from gpubp.tables.task import check_task, decide_task, task_of

Label = str | int | float | bool


@dataclass(frozen=True)
class ClassTarget:
    """A target column of class labels.

    Attributes
    ----------
    name : str
        Name of the column.
    classes : tuple of str, int, float or bool
        The labels, sorted; the network's outputs stand for them in this order.
    """

    name: str
    classes: tuple[Label, ...]

    task = "classification"

    @property
    def outputs(self) -> int:
        """Number of outputs of the network."""
        return len(self.classes)

    def encode(self, table: Table) -> NDArray[np.int64]:
        """Return the index in `classes` of every row's label, shape (rows,).

        Raises
        ------
        DataError
            When a label is missing or not known; names the row.
        """
        texts = isinstance(self.classes[0], str)
        values = as_texts(table, self.name) if texts else as_numbers(table, self.name)
        check_no_missing(table, self.name)
        index = {label: position for position, label in enumerate(self.classes)}
        places = np.fromiter((index.get(value, -1) for value in values), np.int64, len(values))
        if (places < 0).any():
            row = int(np.argmax(places < 0))
            value = values[row] if texts else f"{values[row]:g}"
            known = ", ".join(map(str, self.classes[:10])) + ", ..." * (len(self.classes) > 10)
            raise DataError(
                f"target {self.name!r}, row {table.row_numbers[row]}: class {value!s:.60} is"
                f" not one the model knows ({known})"
            )
        return places

    def decode(self, outputs: Any) -> NDArray[Any]:
        """Return the label of the largest output of each row, shape (rows,)."""
        largest = output_matrix(outputs, self.outputs).argmax(axis=1)
        return np.asarray(np.array(self.classes)[largest])

    def to_dict(self) -> dict[str, Any]:
        """Return the labels as plain data; JSON keeps their kind."""
        return {"task": self.task, "target": self.name, "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, data: Any) -> ClassTarget:
        """Return what `to_dict` described; raises ModelFileError if malformed."""
        labels = read_field(data, "classes", _are_classes, "two or more different labels")
        return cls(read_field(data, "target", is_text, "a string"), tuple(labels))


@dataclass(frozen=True)
class NumberTarget:
    """A target column of numbers, standardised for training.

    Attributes
    ----------
    name : str
        Name of the column.
    standardisation : Standardisation
        Mean and scale of the training part.
    kind : str
        What the column held in training: "number", "bool" or "time".
    """

    name: str
    standardisation: Standardisation
    kind: str = "number"

    task = "regression"
    outputs = 1
    classes: tuple[Label, ...] = ()

    def encode(self, table: Table) -> NDArray[np.float32]:
        """Return the standardised values, shape (rows, 1).

        Raises
        ------
        DataError, NonFiniteError
            When a value is missing, text, infinite or out of range; names the row.
        """
        values = as_numbers(table, self.name, self.kind)
        check_no_missing(table, self.name)
        return self.standardisation.apply(values, table, self.name)[:, None]

    def decode(self, outputs: Any) -> NDArray[np.float64]:
        """Return a network's outputs in the units of the column, shape (rows,)."""
        numbers = output_matrix(outputs, 1)[:, 0].astype(np.float64)
        return numbers * self.standardisation.scale + self.standardisation.mean

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted numbers as plain data."""
        numbers = self.standardisation.to_dict()
        return {"task": self.task, "target": self.name, "kind": self.kind, **numbers}

    @classmethod
    def from_dict(cls, data: Any) -> NumberTarget:
        """Return what `to_dict` described; raises ModelFileError if malformed."""
        return cls(
            read_field(data, "target", is_text, "a string"),
            Standardisation.from_dict(data),
            read_field(data, "kind", ("number", "bool", "time").__contains__, "number, bool, time"),
        )


Target = ClassTarget | NumberTarget
TARGET_TYPES: dict[str, type[ClassTarget] | type[NumberTarget]] = {
    "classification": ClassTarget,
    "regression": NumberTarget,
}


def target_from_counts(
    name: str,
    kind: str,
    task: str,
    labels: Counter[Any] | None,
    trained: set[Any],
    statistics: ColumnStatistics,
) -> Target:
    """Return what `fit_target` does, from what one pass found.

    Parameters
    ----------
    labels : Counter or None
        How often each value comes in any row; None for too many to count.
    trained : set
        Those of the training rows.
    statistics : ColumnStatistics
        Of the numbers in the training rows.

    Raises
    ------
    ConfigurationError, DataError
        As `fit_target`; and when there are too many classes.
    """
    check_task(task)
    distinct = (
        None if labels is None else np.array(sorted(labels), object if kind == "text" else float)
    )
    rows = 0 if labels is None else sum(labels.values())
    if distinct is not None and not len(distinct):
        raise DataError(f"target column {name!r} has no value in any row")
    if task_of(name, kind, task, distinct, rows) == "regression":
        return NumberTarget(name, Standardisation.from_statistics(statistics), kind)
    if distinct is None:
        raise DataError(f"target column {name!r} has more classes than can be counted")
    if len(trained - {None}) < 2:
        raise DataError(
            f"target column {name!r} has one class only in the training rows; two or more are"
            " needed"
        )
    return ClassTarget(name, _labels(distinct, kind))


def fit_target(table: Table, name: str, task: str, rows: NDArray[np.int64]) -> Target:
    """Return the target's encoding: labels of the whole table, or scale of the training rows.

    Raises
    ------
    ConfigurationError
        When the task does not suit the column.
    DataError
        When the training rows hold no value, or a single class.
    """
    decided = decide_task(table, name, task)
    if table.missing(name)[rows].all():
        raise DataError(f"target column {name!r} has no value in the {len(rows)} training rows")
    present = table.column(name)[~table.missing(name)]
    chosen = table.column(name)[rows][~table.missing(name)[rows]]
    if decided == "regression":
        return NumberTarget(name, Standardisation.fit(chosen), table.kinds[name])
    classes = _labels(present, table.kinds[name])
    if len(set(chosen)) < 2:
        only = _labels(chosen, table.kinds[name])[0]
        raise DataError(
            f"target column {name!r} has one class only in the training rows, {brief(only)}; two or"
            " more are needed"
        )
    return ClassTarget(name, classes)


def check_no_missing(table: Table, target: str) -> None:
    """Raise DataError naming the first row whose target is missing."""
    missing = table.missing(target)
    if missing.any():
        row = table.row_numbers[np.argmax(missing)]
        raise DataError(f"target column {target!r}, row {row}: the value is missing")


def _labels(values: NDArray[Any], kind: str) -> tuple[Label, ...]:
    """Return the different values, sorted, as plain Python data of their own kind."""
    distinct = sorted(set(values.tolist()))
    if kind == "bool":
        return tuple(bool(value) for value in distinct)
    if kind != "text" and all(value.is_integer() for value in distinct):
        return tuple(int(value) for value in distinct)
    return tuple(distinct)


def _are_classes(value: Any) -> bool:
    """Return whether a value is a list of labels, at least two, different and of one kind."""
    if not isinstance(value, list) or len(value) < 2 or len({type(item) for item in value}) > 1:
        return False
    known = isinstance(value[0], str | int | float)
    return known and len(set(value)) == len(value) and not any(map(_is_infinite, value))


def _is_infinite(label: Label) -> bool:
    return isinstance(label, float) and not math.isfinite(label)


def output_matrix(outputs: Any, columns: int) -> NDArray[Any]:
    """Return a network's outputs as a NumPy matrix (rows, columns)."""
    array = np.asarray(outputs.get() if hasattr(outputs, "get") else outputs)
    if array.ndim != 2 or array.shape[1] != columns:
        raise ShapeError(f"outputs have shape {array.shape}; (rows, {columns}) is needed")
    return array
