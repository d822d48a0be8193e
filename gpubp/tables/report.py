"""A model as a page of its own: measures, pictures, and what a person should know before using it.

Jinja2 fills `report.html` and escapes all that came from data; Matplotlib draws the pictures.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
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
from gpubp.tables.preprocessing import keep_rows_with_target
from gpubp.tables.table import Table

MOST_ROWS = 2000  # that columns are shuffled in
REPEATS = 5
DEPENDENCES = 6  # columns, the most important first
MOST_LINES = 5  # classes in a picture of dependence
WRONG_ROWS = 8
WRONG_COLUMNS = 6


@dataclass(frozen=True)
class TrainingFacts:
    """What a training knows that a model file does not hold.

    Attributes
    ----------
    rows : Table or None
        The rows trained on.
    part : str
        What the rows measured are, such as "the test part".
    notes : sequence of str
        What was found in the table.
    settings : mapping
        Of the training.
    command : str
        What does it again.
    simple : mapping or None
        Measures of simple models on the same rows, by name, where they are known; see `baselines`.
    """

    rows: Table | None = None
    part: str = ""
    notes: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    simple: Mapping[str, Mapping[str, float]] | None = None


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
        notes = [*self.preprocessing.notes, *facts.notes, dropped, *self.answers.warnings]
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
        measures = {
            "gpubp": self.model.measured(self.table, self.answers),
            **self._baselines(),
        }
        wrong_heads, wrong = self._wrong()
        fitted = "on rows of its training" if facts.rows is not None else "on other rows of it"
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
            "measures": measures,
            "measure_names": list(measures["gpubp"]),
            "baseline_words": f"The simple models read the same inputs and are fitted {fitted}"
            + ("." if facts.rows is not None else f", in {FOLDS} parts by turns."),
            "sections": list(self._sections()),
            "wrong_heads": wrong_heads,
            "wrong": wrong,
            "health": net.health(self.x, preprocessing.targets(self.table)),
            "settings": self._settings(),
            "command": facts.command,
        }

    def _baselines(self) -> Mapping[str, Mapping[str, float]]:
        if self.facts.simple is not None:
            return self.facts.simple
        rows = self.facts.rows
        training = None
        if rows is not None:
            training = self.preprocessing.transform(rows).x, self._targets(rows)
        return baselines(self.preprocessing, self.x, self.y, training)

    def _sections(self) -> Any:
        """Yield title, words and pictures of every part that has pictures."""
        histories = [net.history for net in self.model.nets if net.history.epochs]
        if histories:
            yield (
                "Loss",
                _kept_epoch([*histories[0].metrics]),
                [_picture(history.plot) for history in histories[:4]],
            )
        if self.is_classes:
            classes = self.preprocessing.classes
            true = np.array(classes, dtype=object)[self.y].tolist()
            places = [classes.index(each) for each in true]
            answered = self.answers.outputs.argmax(axis=1)
            yield (
                "Which classes are confused",
                "Rows of a true class, and what they were taken for.",
                [_picture(lambda axes: _confusion(places, answered, classes, axes))],
            )
            yield (
                "Calibration",
                "On the line, the model is right as often as it says.",
                [_picture(lambda a: plots.plot_calibration(self.y, self.answers.outputs, a))],
            )
        else:
            yield (
                "Predicted against true",
                "On the line, the answer is right.",
                [_picture(lambda axes: plots.plot_predicted(self.y, self.answers.labels, axes))],
            )
        importances = self._importances()
        yield (
            "Which columns matter",
            f"How much worse the score becomes when a column is shuffled, mean and deviation of"
            f" {REPEATS} shuffles of at most {MOST_ROWS:,} rows.",
            [
                _picture(
                    lambda axes: plots.plot_importance(importances, axes),
                    min(len(importances), 30) / 6,
                )
            ],
        )
        first = sorted(importances, key=lambda name: -importances[name][0])[:DEPENDENCES]
        yield (
            "How answers follow a column",
            f"Mean answer of at most {SAMPLE} rows when all have the same value there; the"
            f" {len(first)} columns that matter most.",
            [_picture(partial(self._dependence, name)) for name in first],
        )

    def _importances(self) -> dict[str, tuple[float, float]]:
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

    def _dependence(self, column: str, axes: Any) -> None:
        values, answers = partial_dependence(self.model, self.table, column)
        names = list(map(str, self.preprocessing.classes))
        lines = np.argsort(-np.ptp(answers, axis=0))[:MOST_LINES].tolist()
        if len(names) == 2:
            lines = [1]
        places = range(len(values)) if isinstance(values[0], str) else values
        for line in lines:
            label = plots.literal(names[line]) if self.is_classes else None
            style = "o" if isinstance(values[0], str) else "o-"
            axes.plot(places, answers[:, line], style, markersize=3, label=label)
        if isinstance(values[0], str):
            shown = [plots.literal(value) for value in values]
            axes.set_xticks(range(len(values)), shown, rotation=30, ha="right")
        axes.set_xlabel(plots.literal(column))
        axes.set_ylabel("probability" if self.is_classes else "answer")
        if self.is_classes:
            axes.legend(fontsize="small")

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
        names = [column.name for column in self.preprocessing.columns][:WRONG_COLUMNS]
        rows = [
            [
                str(self.table.row_numbers[row]),
                _cell(self.table.column(target)[row]),
                _cell(labels[row]),
                f"{last[1][row]:.4g}",
                *(_cell(self.table.column(name)[row]) for name in names),
            ]
            for row in order[:WRONG_ROWS]
        ]
        return ["row", "true", "answer", last[0], *names], rows

    def _settings(self) -> dict[str, str]:
        net = self.model.net
        facts = {**self.facts.settings, "output": net.output.name}
        facts |= {"backend": net.backend.name, "dtype": net.dtype.name, "seed": net.seed}
        versions = {"python": platform.python_version()}
        for package in ("gpubp", "numpy", "scikit-learn"):
            with contextlib.suppress(PackageNotFoundError):
                versions[package] = version(package)
        return {key: str(value) for key, value in (facts | versions).items()}


def _confusion(true: Any, found: Any, classes: Sequence[Any], axes: Any) -> None:
    plots.plot_confusion(true, found, range(len(classes)), axes)
    names = [plots.literal(str(each)) for each in classes]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)


def _kept_epoch(metrics: Sequence[str]) -> str:
    """Return what is said below the curves of the losses, where the epoch went by a metric."""
    if metrics:
        return (
            "The epoch marked has the least loss on the rows held out; the weights kept are those"
            f" of the epoch with the best {metrics[0]} there."
        )
    return "The epoch marked is the one whose weights were kept, where rows were held out."


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def _picture(draw: Callable[[Any], Any], height: float = 0) -> Any:
    """Return what is drawn as SVG within the page, its text as text; heights are in inches."""
    matplotlib = import_extra("matplotlib", "report")
    figure = import_extra("matplotlib.figure", "report").Figure(figsize=(5.2, max(3.6, height)))
    settings, file = {"svg.fonttype": "none", "svg.hashsalt": "gpubp"}, io.StringIO()
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # signs that only the browser's font has
        draw(figure.subplots())
        figure.tight_layout()
        figure.savefig(file, format="svg", metadata={"Date": None})
    svg = re.sub(r"^.*?(?=<svg)", "", file.getvalue(), flags=re.S)
    return import_extra("markupsafe", "report").Markup(svg)
