"""A model as a page of its own: measures, pictures, and what a person should know before using it.

Jinja2 fills `report.html` and escapes all that came from data; Matplotlib draws the pictures.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gpubp.plots as plots
from gpubp.errors import ConfigurationError, import_extra
from gpubp.files import check_writable, write_atomically
from gpubp.tables.baselines import FOLDS, baselines
from gpubp.tables.dependence import SAMPLE, partial_dependence
from gpubp.tables.evaluated_rows import seen_in_training
from gpubp.tables.report_pictures import draw_confusion, draw_dependence, picture
from gpubp.tables.table import Table, cell_text
from gpubp.tables.target_rows import keep_rows_with_target
from gpubp.text import number_text

MOST_ROWS = 2000  # that columns are shuffled in
REPEATS = 5
MOST_COLUMNS = 6  # told of one by one, the most important first
WRONG_ROWS = 8


@dataclass(frozen=True)
class TrainingFacts:
    """What a training knows that a model file does not hold.

    Attributes
    ----------
    rows : Table or None
        The rows trained on.
    measures : mapping
        By model, the network first, where the rows were measured before.
    part : str
        What the rows measured are, such as "the test part".
    notes : sequence of str
        What was found in the table.
    settings : mapping
        Of the training.
    command : str
        What does it again.
    """

    rows: Table | None = None
    measures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    part: str = ""
    notes: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""


def check_installed() -> None:
    """Find out before any work whether a report can be made.

    Raises
    ------
    MissingExtraError
        When Jinja2 or Matplotlib is not installed.
    """
    for module in ("jinja2", "matplotlib"):
        import_extra(module, "report")


def write_report(
    path: str | os.PathLike[str], model: Any, table: Table, facts: TrainingFacts | None = None
) -> None:
    """Measure a model on a table with the target and write a page about it.

    Parameters
    ----------
    model : TabularModel
    table : Table
        Rows it was not trained on.
    facts : TrainingFacts or None
        What is known of its training.

    Raises
    ------
    DataError, ConfigurationError
        When the table lacks a column, or the model has several targets.
    OutputPathError, MissingExtraError
        When it cannot be written, or Jinja2 or Matplotlib is not installed.
    """
    check_writable(path)
    check_installed()
    environment = import_extra("jinja2", "report").Environment(autoescape=True)
    template = environment.from_string(
        Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    )
    text = template.render(_Measured(model, table, facts or TrainingFacts()).contents())
    write_atomically(path, text.encode())


class _Measured:
    """A model's answers for the rows of a table, and all that the page says of them."""

    def __init__(self, model: Any, table: Table, facts: TrainingFacts) -> None:
        self.model, self.preprocessing, self.facts = model, model.preprocessing, facts
        if self.preprocessing.task == "regression" and self.preprocessing.outputs > 1:
            raise ConfigurationError("a report on several targets; a model of one is needed")
        self.table, dropped = keep_rows_with_target(table, self.preprocessing.target)
        self.is_classes = self.preprocessing.task == "classification"
        self.x = self.preprocessing.transform(self.table).x
        self.answers = model.predict(self.table)
        seen = "" if facts.part else seen_in_training(self.preprocessing, self.table)
        notes = [seen, *self.preprocessing.notes, *facts.notes, dropped, *self.answers.warnings]
        self.notes = list(dict.fromkeys(filter(None, notes)))
        self.y = self._targets(self.table)

    def _targets(self, table: Table) -> NDArray[Any]:
        """Return class places, or numbers in the units of the column, (rows,)."""
        if self.is_classes:
            return np.asarray(self.preprocessing.targets(table))
        return np.asarray(table.column(self.preprocessing.target), np.float64)

    def contents(self) -> dict[str, Any]:
        """Return what the page is filled with."""
        net, preprocessing, facts = self.model.net, self.preprocessing, self.facts
        measures = facts.measures or self._measures()
        wrong_heads, wrong = self._wrong()
        return {
            "target": preprocessing.target,
            "task": preprocessing.task,
            "members": len(self.model.nets),
            "sizes": " → ".join(map(str, net.sizes)),
            "rows": f"{self.table.rows:,}",
            "name": self.table.name,
            "part": f", {facts.part}" if facts.part else "",
            "training_rows": f"{facts.rows.rows:,}" if facts.rows is not None else "",
            "columns": len(preprocessing.columns),
            "inputs": len(preprocessing.features),
            "notes": self.notes,
            "measures": {
                model: {name: number_text(value) for name, value in each.items()}
                for model, each in measures.items()
            },
            "measure_names": list(next(iter(measures.values()))),
            "baseline_words": self._baseline_words(),
            "sections": list(self._sections()),
            "wrong_heads": wrong_heads,
            "wrong": wrong,
            "health": net.health(self.x, preprocessing.targets(self.table)),
            "number": partial(number_text, digits=3),
            "settings": self._settings(),
            "command": facts.command,
        }

    def _measures(self) -> dict[str, dict[str, float]]:
        """Return the measures of the network and of simple models fitted on parts of the rows."""
        simple = baselines(self.preprocessing, self.x, self.y, None)
        network = self.model.measured(self.table, self.answers)
        return {"network": network, **dict(reversed(simple.items()))}

    def _baseline_words(self) -> str:
        fitted = (
            "rows that the network had, of training and validation part."
            if self.facts.measures
            else f"other rows of the same table, in {FOLDS} parts by turns."
        )
        return f"The simple models read the same inputs and are fitted on {fitted}" + (
            "" if self.is_classes else f" Errors are in units of {self.preprocessing.target}."
        )

    def _sections(self) -> Any:
        """Yield title, words and pictures of every part that has pictures."""
        histories = [net.history for net in self.model.nets if net.history.epochs]
        if histories:
            yield (
                "Loss",
                _kept_epoch([*histories[0].metrics]),
                [picture(history.plot) for history in histories[:4]],
            )
        if self.is_classes:
            labels, answered = self.preprocessing.classes, self.answers.outputs.argmax(axis=1)
            yield (
                "Which classes are confused",
                "Rows of a true class, and what they were taken for.",
                [picture(lambda axes: draw_confusion(self.y, answered, labels, axes))],
            )
            yield (
                "Calibration",
                "On the line, the model is right as often as it says.",
                [picture(lambda a: plots.plot_calibration(self.y, self.answers.outputs, a))],
            )
        else:
            yield (
                "Predicted against true",
                "On the line, the answer is right.",
                [picture(lambda axes: plots.plot_predicted(self.y, self.answers.labels, axes))],
            )
        importances, first = self.importances, self.most_important
        yield (
            "Which columns matter",
            f"How much worse the score becomes when a column is shuffled, mean and deviation of"
            f" {REPEATS} shuffles of at most {MOST_ROWS:,} rows.",
            [
                picture(
                    lambda axes: plots.plot_importance(importances, axes),
                    min(len(importances), 30) / 5,
                )
            ],
        )
        dependences = {name: partial_dependence(self.model, self.table, name) for name in first}
        kinds, classes = self.table.kinds, list(map(str, self.preprocessing.classes))
        yield (
            "How answers follow a column",
            f"Mean answer of at most {SAMPLE} rows when all have the same value there; the"
            f" {len(first)} columns that matter most, on one scale: a flat line matters little.",
            [
                picture(partial(draw_dependence, name, kinds[name], dependences, classes))
                for name in first
            ],
        )

    @cached_property
    def importances(self) -> dict[str, tuple[float, float]]:
        """How much worse the score is without each column, mean and deviation."""
        from gpubp.tables.classifier import TabularClassifier
        from gpubp.tables.importances import importances
        from gpubp.tables.regressor import TabularRegressor

        kind = TabularClassifier if self.is_classes else TabularRegressor
        estimator = kind.of(self.model)
        rows = self.table.take(np.arange(0, self.table.rows, -(-self.table.rows // MOST_ROWS)))
        labels = self._targets(rows)
        if self.is_classes:
            labels = np.asarray(estimator.classes_)[labels]
        return importances(estimator, rows.without(self.preprocessing.target), labels, REPEATS)

    @cached_property
    def most_important(self) -> list[str]:
        """The columns that matter most, the first of them first."""
        return sorted(self.importances, key=lambda name: -self.importances[name][0])[:MOST_COLUMNS]

    def _wrong(self) -> tuple[list[str], list[list[str]]]:
        """Return the heads and rows of a table of the worst answers."""
        labels, target = self.answers.labels, self.preprocessing.target
        if self.is_classes:
            given = self.answers.outputs[np.arange(len(self.y)), self.y]
            order = np.argsort(given, kind="stable")
            last = ("probability of the true class", given)
        else:
            given = np.asarray(labels) - self.y
            order = np.argsort(-np.abs(given), kind="stable")
            last = ("answer - true", given)
        kinds = {name: self.table.kinds[name] for name in (target, *self.most_important)}
        rows = [
            [
                str(self.table.row_numbers[row]),
                cell_text(self.table.column(target)[row], kinds[target]),
                cell_text(labels[row], kinds[target]),
                number_text(last[1][row]),
                *(
                    cell_text(self.table.column(name)[row], kinds[name])
                    for name in self.most_important
                ),
            ]
            for row in order[:WRONG_ROWS]
        ]
        return ["row", "true", "answer", last[0], *self.most_important], rows

    def _settings(self) -> dict[str, str]:
        net = self.model.net
        facts = {**self.facts.settings, "output": net.output.name}
        facts |= {"backend": net.backend.name, "dtype": net.dtype.name, "seed": net.seed}
        versions = {"python": platform.python_version()}
        for package in ("gpubp", "numpy", "scikit-learn"):
            with contextlib.suppress(PackageNotFoundError):
                versions[package] = version(package)
        return {key: str(value) for key, value in (facts | versions).items()}


def _kept_epoch(metrics: Sequence[str]) -> str:
    """Return what is said below the curves of the losses, where the epoch went by a metric."""
    if metrics:
        return (
            "The epoch marked has the least loss on the rows held out; the weights kept are those"
            f" of the epoch with the best {metrics[0]} there."
        )
    return "The epoch marked is the one whose weights were kept, where rows were held out."
