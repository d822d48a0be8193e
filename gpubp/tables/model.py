"""A network together with the preprocessing of the table it was trained on."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Backend
from gpubp.distributed import Communicator
from gpubp.errors import DataError, ModelFileError
from gpubp.inspection.trace import Trace
from gpubp.network import Network
from gpubp.nn.optimizers import Optimizer
from gpubp.tables.metrics import classification_metrics, regression_metrics
from gpubp.tables.preprocessing import Preprocessing, keep_rows_with_target
from gpubp.tables.splits import Split, train_validation_test_split
from gpubp.tables.streamed import StreamedTable
from gpubp.tables.table import Table
from gpubp.tables.targets import decide_task
from gpubp.training.callbacks import History
from gpubp.training.stopping import EarlyStopping


@dataclass(frozen=True)
class Prepared:
    """A table made ready for training: features, targets, and the parts the rows were dealt to."""

    table: Table
    preprocessing: Preprocessing
    split: Split
    x: NDArray[np.float32]
    y: NDArray[Any]
    notes: tuple[str, ...]

    def rows(self, part: str) -> int:
        """Return the number of rows of a part: "train", "validation" or "test"."""
        return len(getattr(self.split, part))

    @property
    def unused(self) -> NDArray[np.int64]:
        """Inputs that are zero in every training row: the slots of unknown categories."""
        return np.flatnonzero(~self.x[self.split.train].any(axis=0))


def prepare(
    table: Table, target: str, task: str, test: float, validation: float, seed: int
) -> Prepared:
    """Deal the rows to three parts and fit the preprocessing on the training part.

    Raises
    ------
    GpubpError
        When the table, the target or the shares cannot be used; see the modules it calls.
    """
    table, dropped = keep_rows_with_target(table, target)
    task = decide_task(table, target, task)
    labels = table.column(target) if task == "classification" else None
    split = train_validation_test_split(table.rows, test, validation, seed, labels)
    preprocessing = Preprocessing.fit(table, target, task, rows=split.train)
    transformed = preprocessing.transform(table)
    notes = tuple(note for note in (dropped, *preprocessing.notes, *transformed.warnings) if note)
    y = preprocessing.targets(table)
    return Prepared(table, preprocessing, split, transformed.x, y, notes)


@dataclass(frozen=True)
class Predictions:
    """Answers for the rows of a table, and the warnings that came with them."""

    outputs: NDArray[Any]
    labels: NDArray[Any]
    warnings: list[str]


class TabularModel:
    """A network and its preprocessing: raw tables in, labels or values out."""

    def __init__(self, net: Network, preprocessing: Preprocessing) -> None:
        self.net = net
        self.preprocessing = preprocessing

    @classmethod
    def create(
        cls, prepared: Prepared | StreamedTable, hidden: list[int], **settings: Any
    ) -> TabularModel:
        """Make an untrained model; settings are those of `Network` besides sizes and output."""
        preprocessing = prepared.preprocessing
        sizes = [len(preprocessing.features), *hidden, preprocessing.outputs]
        output = "softmax" if preprocessing.task == "classification" else "identity"
        net = Network(sizes, output=output, **settings)
        # what was never used would keep its random first weights; with zeros it adds nothing to a
        # prediction
        with net.backend.on_device():
            net.layers[0].weight[net.backend.asarray(prepared.unused)] = 0
        return cls(net, preprocessing)

    def train(
        self,
        prepared: Prepared | StreamedTable,
        optimizer: Optimizer,
        epochs: int,
        batch_size: int | None,
        patience: int,
        progress: bool,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        distributed: bool | Communicator = False,
        deterministic: bool = False,
    ) -> History:
        """Train on the training part; with a validation part, stop early on its loss.

        See `Network.fit` for `checkpoint` and what follows it.
        """
        validated = prepared.rows("validation") > 0
        arguments: tuple[Any, ...]
        validation: Any
        if isinstance(prepared, StreamedTable):
            arguments = (prepared.dataset("train"),)
            validation = prepared.dataset("validation") if validated else None
        else:
            x, y, split = prepared.x, prepared.y, prepared.split
            arguments = (x[split.train], y[split.train])
            validation = (x[split.validation], y[split.validation]) if validated else None
        return self.net.fit(
            *arguments,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=min(32, prepared.rows("train")) if batch_size is None else batch_size,
            validation=validation,
            callbacks=[EarlyStopping(patience)] if validated else [],
            progress=progress,
            checkpoint=checkpoint,
            resume=resume,
            distributed=distributed,
            deterministic=deterministic and distributed is not False,
        )

    def test(self, prepared: Prepared | StreamedTable) -> dict[str, float]:
        """Measure the answers for the test part; of a streamed table they are kept in memory."""
        if not isinstance(prepared, StreamedTable):
            return self.evaluate(prepared.table.take(prepared.split.test))[0]
        dataset = prepared.dataset("test")
        blocks = (dataset.read(block) for block, rows in enumerate(dataset.sizes) if rows)
        pairs = [(rows.y, self.net.predict(rows.x)) for rows in blocks]
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
        outputs = self.net.predict(transformed.x)
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
        warnings = [dropped] * bool(dropped) + answers.warnings
        if self.preprocessing.task == "regression":
            return regression_metrics(table.column(target), answers.labels), warnings
        classes = self.preprocessing.targets(table)
        known = range(self.preprocessing.outputs)
        return classification_metrics(classes, answers.outputs, known), warnings

    def explain(self, table: Table, row: int, learning_rate: float) -> tuple[Trace, str]:
        """Trace one step on a row, counted from 1; return the trace and what was expected.

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
            y = self.preprocessing.targets(one)
            note = f"expected {target} of row {row}: {one.column(target)[0]}"
        else:
            outputs = self.net.predict(x)
            y = outputs if self.preprocessing.task == "regression" else outputs.argmax(axis=1)
            label = self.preprocessing.labels(outputs)[0]
            note = f"row {row} has no {target}; the model's own answer is expected: {label}"
        return self.net.trace(x, y, learning_rate), note

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a model file; see `Network.save`."""
        self.net.save(path, self.preprocessing.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: str | Backend = "auto") -> TabularModel:
        """Read a model file that was trained on a table.

        Raises
        ------
        ModelFileError
            When it cannot be read, or holds a network without preprocessing.
        """
        net = Network.load(path, backend)
        if net.preprocessing is None:
            raise ModelFileError(
                f"{path} holds a network without the preprocessing of a table; one that"
                " `gpubp train` saved is needed"
            )
        model = cls(net, Preprocessing.from_dict(net.preprocessing))
        sizes = (len(model.preprocessing.features), model.preprocessing.outputs)
        if (net.sizes[0], net.sizes[-1]) != sizes:
            raise ModelFileError(
                f"{path}: preprocessing of {sizes[0]} features and {sizes[1]} outputs does not"
                f" fit a network of {list(net.sizes)}"
            )
        return model


def finite_only(measures: dict[str, float]) -> dict[str, float | None]:
    """Return measures as JSON can hold them: null for what is not finite."""
    return {name: value if math.isfinite(value) else None for name, value in measures.items()}
