"""A network together with the preprocessing of the table it was trained on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Backend
from gpubp.distributed import Communicator
from gpubp.distributed.startup import asked_for
from gpubp.errors import ConfigurationError, DataError, ModelFileError
from gpubp.inspection.page import PageNames
from gpubp.network import Network
from gpubp.nn.layers.first import names_behind
from gpubp.saving import save_networks
from gpubp.tables.explained_row import ExplainedRow
from gpubp.tables.members import has_learnt, take_faster_backend, train_members
from gpubp.tables.metrics import classification_metrics, regression_metrics
from gpubp.tables.prepared import Prepared, bring_near_zero, embedded_bins, forget
from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.recipe import Recipe
from gpubp.tables.streamed import StreamedTable
from gpubp.tables.table import Table, cell_text
from gpubp.tables.target_rows import keep_rows_with_target
from gpubp.tables.targets import NumberTarget
from gpubp.tables.training import TableTraining
from gpubp.training.callbacks import Callback
from gpubp.training.history import History


@dataclass(frozen=True)
class Predictions:
    """Answers for the rows of a table, and the warnings that came with them."""

    outputs: NDArray[Any]
    labels: NDArray[Any]
    warnings: list[str]


class TabularModel:
    """Networks and their preprocessing: raw tables in, labels or values out.

    Attributes
    ----------
    nets : list of Network
        They answer together, by the mean of their outputs; mostly there is one.
    preprocessing : Preprocessing
        How columns become inputs, and outputs values of the target.
    """

    def __init__(self, nets: Sequence[Network] | Network, preprocessing: Preprocessing) -> None:
        self.nets = [nets] if isinstance(nets, Network) else list(nets)
        self.preprocessing = preprocessing

    @property
    def net(self) -> Network:
        """The first network."""
        return self.nets[0]

    @classmethod
    def create(
        cls, prepared: Prepared | StreamedTable, recipe: Recipe, seed: int = 0, **settings: Any
    ) -> TabularModel:
        """Make untrained networks; settings are those of `Network` besides sizes and output.

        Raises
        ------
        ConfigurationError
            When the recipe's metric does not suit the table.
        """
        preprocessing = replace(prepared.preprocessing, learning_rate=recipe.learning_rate)
        classes, held = len(preprocessing.classes), prepared.rows("validation")
        recipe.check_metric(preprocessing.task, classes, held)
        sizes = [len(preprocessing.features), *recipe.hidden, preprocessing.outputs]
        output = "softmax" if preprocessing.task == "classification" else "identity"
        settings |= {"activation": recipe.activation, "dropout": recipe.dropout}
        settings |= {
            "categories": preprocessing.categories,
            "category_width": recipe.category_width,
        }
        settings |= {"input_factors": recipe.input_factors, "mixing": recipe.mixing}
        nets = []
        for member in range(recipe.members):
            bins, width = embedded_bins(prepared, recipe, member)
            drawn = (seed + member) % 2**32
            net = Network(sizes, output=output, bins=bins, embedding=width, seed=drawn, **settings)
            bring_near_zero(net)
            forget(net, prepared.unused(member))
            nets.append(net)
        if nets[0].backend.alternative is not None:
            take_faster_backend(nets, prepared, recipe)
        return cls(nets, preprocessing)

    def train(
        self,
        prepared: Prepared | StreamedTable,
        recipe: Recipe,
        progress: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        distributed: bool | Communicator = False,
        deterministic: bool = False,
        time_limit: float | None = None,
        callbacks: Sequence[Callback] = (),
        **settings: Any,
    ) -> History:
        """Train every network on its training rows; with validation rows, stop early on its loss.

        From the rows that each network held out a regression learns how far its numbers may be off.
        See `Network.fit` for `checkpoint` and what follows it; further settings go there. The
        networks of a table in memory are dealt to the processes, if there are at least as many and
        `deterministic` is not asked for; else all processes train each network together.

        Raises
        ------
        DivergenceError
            When the loss of every network is not finite; one network of several is left out.
        """
        processes, deal = asked_for(distributed), None
        training = TableTraining(self.nets, prepared, recipe, checkpoint, callbacks, settings)
        if processes is not None and not deterministic:
            deal = training.deal(processes)
        together = training.together = processes if deal is None else None
        shown = progress and (deal is None or deal.processes.is_root)
        fit = partial(
            training.fit,
            progress=shown,
            resume=resume,
            deterministic=deterministic and together is not None,
        )
        one_reader = isinstance(prepared, StreamedTable)
        side_by_side = together is None and not shown and not one_reader
        try:
            self.nets = train_members(self.nets, fit, time_limit, side_by_side, deal=deal)
        except KeyboardInterrupt:
            self.nets = [net for net in self.nets if has_learnt(net)] or self.nets[:1]
            raise
        finally:
            self.preprocessing = replace(self.preprocessing, residuals=training.residuals())
        return self.net.history

    def outputs(self, x: Any) -> NDArray[Any]:
        """Return the mean of the networks' outputs, (rows, outputs)."""
        total = self.nets[0].predict(x)
        for net in self.nets[1:]:
            total += net.predict(x)
        return np.asarray(total / len(self.nets)) if len(self.nets) > 1 else np.asarray(total)

    def spread(self, x: Any) -> NDArray[np.float64]:
        """Return the standard deviation of the outputs among the networks, (rows, outputs)."""
        each = np.stack([net.predict(x) for net in self.nets])
        return np.asarray(each.std(axis=0, dtype=np.float64))

    def quantiles(self, outputs: NDArray[Any], level: float) -> NDArray[np.float64]:
        """Return the number that a share `level` of the targets lies below, (rows,) or (rows, k).

        Parameters
        ----------
        outputs : array, (rows, outputs)
            What the networks answer; see `outputs`.

        Raises
        ------
        ConfigurationError
            When the level is out of its range, the target has classes, or no rows were held out in
            training.
        """
        if self.preprocessing.task != "regression":
            raise ConfigurationError(
                f"{self.preprocessing.target!r} has classes and intervals are of numbers; a"
                " regression is needed"
            )
        if not self.preprocessing.residuals:
            raise ConfigurationError(
                "there are no held-out rows to learn intervals from; a regression trained with"
                " validation rows is needed"
            )
        answered = np.array(outputs, np.float64)
        for place, residuals in enumerate(self.preprocessing.residuals):
            answered[:, place] += residuals.at(answered[:, place], level)
        return self.preprocessing.goal.decode(answered)

    def test(self, prepared: Prepared | StreamedTable) -> dict[str, float]:
        """Measure the answers for the test part; of a streamed table they are kept in memory."""
        if not isinstance(prepared, StreamedTable):
            return self.evaluate(prepared.table.take(prepared.split.test))[0]
        dataset = prepared.dataset("test")
        blocks = (dataset.read(block) for block, rows in enumerate(dataset.sizes) if rows)
        pairs = [(rows.y, self.outputs(rows.x)) for rows in blocks]
        expected, outputs = map(np.concatenate, zip(*pairs, strict=True))
        goal = self.preprocessing.goal
        if self.preprocessing.task == "regression":
            return regression_metrics(goal.decode(expected), goal.decode(outputs))
        return classification_metrics(expected, outputs, range(self.preprocessing.outputs))

    def predict(self, table: Table, strict: bool = False) -> Predictions:
        """Answer for every row of a raw table.

        Raises
        ------
        DataError
            When columns are missing or hold what they must not; with `strict` for categories
            that training did not see.
        """
        transformed = self.preprocessing.transform(table, strict)
        outputs = self.outputs(transformed.x)
        return Predictions(outputs, self.preprocessing.labels(outputs), transformed.warnings)

    def evaluate(self, table: Table, strict: bool = False) -> tuple[dict[str, float], list[str]]:
        """Measure the answers against the table's target column; return measures and warnings.

        Raises
        ------
        DataError
            As for `predict`, and when the target column is missing.
        """
        target = self.preprocessing.target
        table, dropped = keep_rows_with_target(table, target)
        answers = self.predict(table, strict)
        return self.measured(table, answers), [dropped] * bool(dropped) + answers.warnings

    def measured(self, table: Table, answers: Predictions) -> dict[str, float]:
        """Return measures of answers that were given for a table, all rows of which have a target.

        Raises
        ------
        DataError
            When the target column is missing.
        """
        if self.preprocessing.task == "regression":
            return regression_metrics(table.column(self.preprocessing.target), answers.labels)
        classes = self.preprocessing.targets(table)
        return classification_metrics(classes, answers.outputs, range(self.preprocessing.outputs))

    def explain(self, table: Table, row: int, learning_rate: float) -> ExplainedRow:
        """Trace one step on a row, counted from 1.

        Raises
        ------
        DataError
            When there is no such row.
        """
        if not 1 <= row <= table.rows:
            raise DataError(f"row is {row}; a row from 1 to {table.rows} is needed")
        one = table.take(np.array([row - 1]))
        target = self.preprocessing.target
        x = self.preprocessing.transform(one).x
        if target in one.columns and not one.missing(target).any():
            y, is_own = self.preprocessing.targets(one), False
            expected = cell_text(one.column(target)[0], one.kinds[target])
        else:
            outputs = self.outputs(x)
            y = outputs if self.preprocessing.task == "regression" else outputs.argmax(axis=1)
            kind = getattr(self.preprocessing.goal, "kind", "text")
            expected, is_own = cell_text(self.preprocessing.labels(outputs)[0], kind), True
        trace = self.net.trace(x, y, learning_rate)
        return ExplainedRow(trace, row, target, expected, is_own)

    def page_names(self, title: str = "", explained: ExplainedRow | None = None) -> PageNames:
        """Return what the page of a step calls inputs, outputs, target and row."""
        inputs = names_behind(self.net.layers, self.preprocessing.features)
        outputs = list(map(str, self.preprocessing.classes))
        if self.preprocessing.outputs == 1:
            outputs = [self.preprocessing.target]
        goal, units = self.preprocessing.goal, None
        if isinstance(goal, NumberTarget):
            units = goal.standardisation.scale, goal.standardisation.mean
        names = PageNames(inputs, outputs, goal.name, title, len(self.nets), units)
        if explained is None:
            return names
        return replace(
            names, row=explained.row, expected=explained.expected, is_own=explained.is_own
        )

    def report(self, path: str | os.PathLike[str], table: Table) -> None:
        """Write a page about the model, measured on a table with the target; see docs/explain.md.

        Raises
        ------
        OutputPathError, MissingExtraError
            When it cannot be written, or Jinja2 or Matplotlib is not installed.
        """
        from gpubp.tables.report import write_report

        write_report(path, self, table)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a model file; see `Network.save`."""
        save_networks(self.nets, path, self.preprocessing.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: str | Backend = "auto") -> TabularModel:
        """Read a model file that was trained on a table.

        Raises
        ------
        ModelFileError
            When it cannot be read, or holds a network without preprocessing.
        """
        return cls.of(Network.load_all(path, backend), path)

    @classmethod
    def of(cls, nets: Sequence[Network], path: str | os.PathLike[str]) -> TabularModel:
        """Return the model of networks that were read from a file; see `load`."""
        if nets[0].preprocessing is None:
            raise ModelFileError(
                f"{path} holds a network without the preprocessing of a table; one that"
                " `gpubp train` saved is needed"
            )
        model = cls(nets, Preprocessing.from_dict(nets[0].preprocessing))
        sizes = (len(model.preprocessing.features), model.preprocessing.outputs)
        for net in nets:
            if (net.sizes[0], net.sizes[-1]) != sizes:
                raise ModelFileError(
                    f"{path}: preprocessing of {sizes[0]} features and {sizes[1]} outputs does not"
                    f" fit a network of {list(net.sizes)}"
                )
        return model
