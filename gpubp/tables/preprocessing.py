"""From tables to a network's inputs and targets, fitted on the training part only."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import DataError
from gpubp.tables.coded_column import CodedColumn
from gpubp.tables.columns import Column, fit_column
from gpubp.tables.dealt_rows import DealtRows
from gpubp.tables.encoding import stray_text
from gpubp.tables.intervals import Residuals
from gpubp.tables.numeric_column import NumericColumn
from gpubp.tables.ordered_column import OrderedColumn
from gpubp.tables.preprocessing_format import LEARNING_RATE, described, exported, fields_of
from gpubp.tables.reading import Reading
from gpubp.tables.several_targets import SeveralNumbersTarget
from gpubp.tables.table import Table
from gpubp.tables.targets import Label, Target, fit_target
from gpubp.tables.text_column import TextColumn


class Transformed(NamedTuple):
    """Inputs of a network, shape (rows, features), and what was doubtful in making them."""

    x: NDArray[np.float32]
    warnings: list[str]


@dataclass(frozen=True)
class Preprocessing:
    """How the columns of a table become a network's inputs, and its outputs values of the target.

    Attributes
    ----------
    goal : ClassTarget or NumberTarget
        The target column and its encoding.
    columns : tuple of NumericColumn or CategoricalColumn
        The columns that are used, in the order of the table.
    notes : tuple of str
        What was found while fitting: columns left out, classes without a training row.
    residuals : tuple of Residuals
        How far answers may be off, in the units that a network is trained on: of every target that
        is a number, where rows were held out.
    dealt : DealtRows or None
        Which rows were trained on, where the command trained on a table in memory.
    reading : Reading
        How cells are read that hold numbers or days written in other ways.
    learning_rate : float
        The first of the training, where the command trained.
    """

    goal: Target | SeveralNumbersTarget
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()
    residuals: tuple[Residuals, ...] = ()
    dealt: DealtRows | None = None
    reading: Reading = field(default_factory=Reading)
    learning_rate: float = LEARNING_RATE

    @classmethod
    def fit(
        cls, table: Table, target: str, task: str = "auto", rows: NDArray[Any] | None = None
    ) -> Preprocessing:
        """Fit to the training part of a table.

        Parameters
        ----------
        table
            All rows, so that every class is known; means, scales and vocabularies come from the
            training rows alone.
        target
            Name of the column to predict; the other columns are inputs.
        task
            "classification", "regression", or "auto" to decide from the target.
        rows
            Indices (from 0) or mask of the training rows; all rows by default.

        Raises
        ------
        UnknownNameError
            When the target column does not exist; suggests the nearest.
        ConfigurationError
            When the task is unknown or cannot be.
        DataError
            When there are no rows, no usable columns, or a single class.
        NonFiniteError
            When a value is infinite; names row and column.
        """
        chosen = np.arange(table.rows)[slice(None) if rows is None else rows]
        table.column(target)
        if len(chosen) == 0:
            raise DataError(f"the training part of {table.name!r} has no rows; one is needed")
        goal = fit_target(table, target, task, chosen)
        fitted = cls.fit_columns(table.without(target), goal, chosen)
        return replace(fitted, notes=(*fitted.notes, *_untrained_classes(goal, table, chosen)))

    @classmethod
    def fit_columns(
        cls, table: Table, goal: Target | SeveralNumbersTarget, rows: NDArray[np.int64]
    ) -> Preprocessing:
        """Fit to the training rows of the columns to learn from, the target being known.

        Raises
        ------
        DataError, NonFiniteError
            When no column is usable, or a value is infinite.
        """
        notes = [
            f"column {key!r} is left out: it holds {what}" for key, what in table.left_out.items()
        ]
        columns = []
        for name in table.columns:
            column = fit_column(table, name, rows)
            stray = stray_text(table, name) if table.kinds[name] == "text" else ""
            notes += [stray] if stray else []
            if isinstance(column, str):
                notes.append(f"column {name!r} is left out: {column}")
            else:
                columns.append(column)
            if isinstance(column, TextColumn):
                what = f"text, read as {column.width} numbers hashed from its words"
                notes.append(f"column {name!r} is {what}")
        if not columns:
            why = f" ({notes[0]})" if notes else ""
            raise DataError(
                f"{table.name!r} has no column to learn from besides the target {goal.name!r}{why}"
            )
        return cls(goal, tuple(columns), tuple(notes))

    @property
    def target(self) -> str:
        """Name of the column to predict."""
        return self.goal.name

    @property
    def task(self) -> str:
        """Either "classification" or "regression"."""
        return self.goal.task

    @property
    def classes(self) -> list[Label]:
        """Labels in the order of the network's outputs; empty for regression."""
        return list(self.goal.classes)

    @property
    def features(self) -> list[str]:
        """Names of the network's inputs."""
        return [feature for column in self.columns for feature in column.features]

    @property
    def number_features(self) -> list[int]:
        """Places of the inputs that are columns of numbers or times, without indicators."""
        sizes = [len(column.features) for column in self.columns]
        starts = np.cumsum([0, *sizes])[:-1].tolist()
        pairs = zip(starts, self.columns, strict=True)
        return [
            start for start, column in pairs if isinstance(column, NumericColumn | OrderedColumn)
        ]

    @property
    def categories(self) -> list[int] | None:
        """For every input the number of its codes, 0 for a number; None where none is a code."""
        counts = [
            column.codes if isinstance(column, CodedColumn) else 0
            for column in self.columns
            for _ in column.features
        ]
        return counts if any(counts) else None

    @property
    def outputs(self) -> int:
        """Number of the network's outputs."""
        return self.goal.outputs

    @property
    def text_columns(self) -> list[str]:
        """Columns to read as text, whatever a file holds: ``read_table(path, text=...)``."""
        names = [each.name for each in self.columns if not isinstance(each, NumericColumn)]
        names += [self.target] * any(isinstance(label, str) for label in self.classes)
        return [*names, *self.reading.formats]

    def transform(
        self, table: Table, strict: bool = False, warned_share: float = 0.0
    ) -> Transformed:
        """Return a network's inputs for every row; columns that are not needed are ignored.

        Parameters
        ----------
        table
            Rows to predict or to train on, with the columns of the fit in any order.
        strict
            Raise an error where a warning would say that training had nothing like a value: a
            category it did not keep, or a missing value in a column that was complete.
        warned_share
            What is of a smaller share of the rows is not warned of.

        Raises
        ------
        DataError
            When a column is missing (names the nearest), holds text for numbers, or is warned of
            under `strict`.
        NonFiniteError
            When a value is infinite; names row and column.
        """
        self._check_columns(table)
        table = self.reading.apply(table)
        x = np.empty((table.rows, len(self.features)), np.float32)
        warnings: list[str] = []
        start = 0
        for column in self.columns:
            features, problems, remedies = column.encode(table)
            if strict and problems:
                raise DataError(f"{problems[0].text}; strict allows only what training held")
            x[:, start : start + features.shape[1]] = features
            start += features.shape[1]
            warnings += [
                f"{problem.text}; {remedy}"
                for problem, remedy in zip(problems, remedies, strict=True)
                if problem.share >= warned_share
            ]
        return Transformed(x, warnings)

    def targets(self, table: Table) -> NDArray[Any]:
        """Return class indices int64 (rows,), or standardised float32 (rows, 1) for regression.

        Raises
        ------
        UnknownNameError
            When the table lacks the target column.
        DataError, NonFiniteError
            When a value is missing, of the wrong kind, infinite, or no known class.
        """
        return self.goal.encode(self.reading.apply(table))

    def labels(self, outputs: Any) -> NDArray[Any]:
        """Return labels, or float64 values for regression, from a network's outputs, (rows,).

        Raises
        ------
        ShapeError
            When `outputs` is not (rows, outputs of the network).
        """
        return self.goal.decode(outputs)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data that JSON can hold without loss."""
        return described(self)

    def for_export(self) -> dict[str, Any]:
        """Return what other programs need: not the rows of the training, cell formats in full."""
        return exported(self)

    @classmethod
    def from_dict(cls, data: Any) -> Preprocessing:
        """Return what `to_dict` described.

        Raises
        ------
        ModelFileError
            When a field is absent or cannot be, or the version is newer than this one.
        """
        return cls(**fields_of(data))

    def _check_columns(self, table: Table) -> None:
        """Raise DataError when the table lacks a column; name the nearest it has."""
        present = {*table.columns, *table.left_out}
        lacking = [column.name for column in self.columns if column.name not in present]
        if not lacking:
            return
        folded = {name.casefold(): name for name in sorted(present)}
        near = difflib.get_close_matches(lacking[0].casefold(), folded, n=1)
        hint = f"did you mean its column {folded[near[0]]!r}?" if near else "no name is near"
        others = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        raise DataError(
            f"{table.name!r} lacks the column {lacking[0]!r} that the model needs{others}; {hint}"
        )


def _untrained_classes(goal: Target, table: Table, rows: NDArray[np.int64]) -> list[str]:
    """Return a note on the classes that no training row has, if there are such."""
    if not goal.classes:
        return []
    part = table.take(rows)
    part = part.take(~part.missing(goal.name))
    trained = set(goal.encode(part).ravel().tolist())
    without = [label for index, label in enumerate(goal.classes) if index not in trained]
    if not without:
        return []
    return [f"no training row has the class {', '.join(map(str, without[:10]))}"]
