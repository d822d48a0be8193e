"""Presets: how the networks for a table are made and trained, as plain settings.

What a setting is worth was measured on parts of training tables, one at a time: see
`benchmarks/results/tables.md`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from gpubp.checks import check_fraction, checked_list, checked_name, checked_whole
from gpubp.errors import ConfigurationError, UnknownNameError
from gpubp.nn.bins import MOST_BINS
from gpubp.nn.losses import Loss, cross_entropy
from gpubp.nn.optimizer import Optimizer
from gpubp.nn.optimizers import OPTIMIZERS
from gpubp.nn.schedule import LearningRate, as_schedule
from gpubp.nn.schedules import CosineDecay, CosineWaves
from gpubp.training.side_by_side import MOST_MEMBERS
from gpubp.training.stopping import EarlyStopping

LOSS = "loss"
EPOCH_METRICS = {  # what may choose the epoch, by task
    "classification": (LOSS, "accuracy", "auc"),
    "regression": (LOSS, "rmse", "mae"),
}
MOST_STEPS = 20_000  # of a training: huge tables get fewer epochs
MOST_EMBEDDED = 2048  # numbers that all embedded columns of a table become together


@dataclass(frozen=True)
class Recipe:
    """How the networks for a table are made and trained.

    Attributes
    ----------
    hidden : tuple of int
        Neurons of the hidden layers.
    activation : str
        Activation of the hidden layers.
    dropout : float
        Share of the hidden outputs dropped in training.
    bins : int
        Bins of a column of numbers at most, see `gpubp.tree_bins`; 0 for none.
    leaf : int
        Training rows in a bin at least.
    embedding : int
        Numbers that a column with bins becomes.
    category_width : int
        Numbers that a column of very many names becomes.
    optimizer : str
        Name of the optimizer.
    learning_rate : float
        Its first learning rate; it falls to 0 with half a cosine.
    weight_decay : float
        Decay of the weights, for adamw.
    epochs, patience : int
        Passes over the training rows, and how many may go by without a better loss on the
        validation rows.
    batch_size : int
        Rows a step.
    members : int
        Networks that answer together, by their mean; each holds other rows out for validation.
    schedule : {"cosine", "constant", "waves"}
        How the learning rate goes: to 0 with half a cosine, not at all, or in four cosine waves.
    average : float
        Share of the steps of a training that a running mean of the parameters goes back over; of
        the parameters and the mean those are kept that are better on the validation rows. 0 for
        none.
    label_smoothing : float
        Share of every class that is spread over all, see `gpubp.losses.cross_entropy`.
    input_factors, mixing : bool
        See `gpubp.Network`.
    refit : bool
        Whether each network, once its best epoch is known, is trained again from the beginning on
        all rows, for so many epochs.
    loss_name : str
        One of `gpubp.losses`, or "auto" for that of the task.
    metric : str
        What chooses the epoch, measured on the validation rows: one of `EPOCH_METRICS`.
    """

    hidden: tuple[int, ...] = (256, 256, 256)
    activation: str = "relu"
    dropout: float = 0.0
    bins: int = 128
    leaf: int = 16
    embedding: int = 16
    category_width: int = 8
    optimizer: str = "adamw"
    learning_rate: float = 0.001
    weight_decay: float = 0.1
    epochs: int = 32
    patience: int = 8
    batch_size: int = 256
    members: int = 1
    schedule: str = "cosine"
    average: float = 1 / 32
    label_smoothing: float = 0.0
    input_factors: bool = False
    mixing: bool = False
    refit: bool = False
    loss_name: str = "auto"
    metric: str = LOSS

    def __post_init__(self) -> None:
        names = [name for of_task in EPOCH_METRICS.values() for name in of_task]
        checked_name("metric", self.metric, sorted(set(names)))
        checked_name("optimizer", self.optimizer, OPTIMIZERS)
        checked_name("schedule", self.schedule, SCHEDULES)
        object.__setattr__(self, "hidden", checked_list("hidden", self.hidden))
        for name in ("epochs", "patience", "batch_size", "leaf", "embedding", "category_width"):
            checked_whole(name, getattr(self, name))
        checked_whole("members", self.members, most=MOST_MEMBERS)
        checked_whole("bins", self.bins, least=0, most=MOST_BINS)
        check_fraction(label_smoothing=self.label_smoothing, average=self.average)
        as_schedule(self.learning_rate)

    @classmethod
    def of(cls, preset: str, rows: int, task: str, settings: Mapping[str, Any]) -> Recipe:
        """Return the recipe of a preset for a table, some of its settings replaced.

        Parameters
        ----------
        preset : str
            One of `PRESETS`.
        rows : int
            Rows to train on.
        task : str
            Either "classification" or "regression".
        settings : mapping
            Settings by name; None leaves one as the preset has it.

        Raises
        ------
        UnknownNameError
            When there is no such preset or setting.
        """
        chosen = dict(PRESETS[checked_name("preset", preset, PRESETS)])
        fewest, _ = chosen.pop("fewest_steps"), chosen.pop("validation")
        epochs = chosen["epochs"][task == "classification"]
        rate = chosen["learning_rate"][task == "classification"]
        size = min(batch_size(rows, task), rows)
        steps = epochs * math.ceil(rows / size)
        epochs = max(1, round(epochs * min(max(steps, fewest), MOST_STEPS) / steps))
        of_rows = {
            "members": chosen["members"][rows > MANY_ROWS],
            "epochs": epochs,
            "patience": max(1, round(PATIENCE * epochs)),
            "batch_size": size,
            "learning_rate": rate if rows > FEW_ROWS else FEW_ROWS_RATE,
        }
        return cls(**(chosen | TASKS[task] | of_rows)).with_settings(settings)

    def fit_settings(self, rows: int, task: str, validated: bool) -> dict[str, Any]:
        """Return the settings of `gpubp.Network.fit` that decide what a step does.

        Parameters
        ----------
        rows : int
            Rows to train on.
        validated : bool
            Whether there are validation rows, without which no running mean is kept.
        """
        back = self.average * self._steps(rows)
        return {
            "optimizer": self.make_optimizer(rows),
            "loss": self.loss(task),
            "average": 1 - 1 / back if validated and back > 1 else None,
        }

    def _steps(self, rows: int) -> int:
        return self.epochs * -(-rows // self.batch_size)

    def make_optimizer(self, rows: int) -> Optimizer:
        """Return the optimizer for a training on so many rows."""
        rate = SCHEDULES[self.schedule](self.learning_rate, self._steps(rows))
        settings: dict[str, Any] = {"learning_rate": rate}
        if self.optimizer == "adamw":
            settings["weight_decay"] = self.weight_decay
        return OPTIMIZERS[self.optimizer](**settings)

    def loss(self, task: str) -> str | Loss:
        """Return the loss of a training."""
        if self.loss_name != "auto":
            return self.loss_name
        if task == "regression" or not self.label_smoothing:
            return "auto"
        return cross_entropy(self.label_smoothing)

    def stopping(self) -> EarlyStopping:
        """Return what ends a training and puts back the weights of its best epoch."""
        return EarlyStopping(self.patience, metric=None if self.metric == LOSS else self.metric)

    def check_metric(self, task: str, classes: int, validation: int) -> None:
        """Find out before a training whether its metric can be measured.

        Parameters
        ----------
        classes, validation : int
            How many classes the target has, and how many validation rows there are.

        Raises
        ------
        ConfigurationError
            When the metric is of the other task, of two classes and there are more, or there are no
            validation rows.
        """
        known = EPOCH_METRICS[task]
        if self.metric not in known:
            raise ConfigurationError(
                f"metric is {self.metric!r} and the task is {task}; {', '.join(known)} is needed"
            )
        if self.metric == "auc" and classes != 2:
            raise ConfigurationError(
                f"metric is 'auc', which is of two classes, and the target has {classes}; loss or"
                " accuracy is needed"
            )
        if self.metric != LOSS and not validation:
            raise ConfigurationError(
                f"metric is {self.metric!r} and there are no validation rows to measure it on; a"
                " validation share above 0 is needed"
            )

    def with_settings(self, settings: Mapping[str, Any]) -> Recipe:
        """Return the recipe with some settings replaced; None leaves one as it is."""
        given = {name: value for name, value in settings.items() if value is not None}
        unknown = given.keys() - {field.name for field in fields(self)}
        if unknown:
            raise UnknownNameError("setting", min(unknown), [each.name for each in fields(self)])
        return replace(self, **given)


SCHEDULES: dict[str, Callable[[float, int], LearningRate]] = {
    "cosine": CosineDecay,
    "constant": lambda rate, steps: rate,
    "waves": CosineWaves,
}
# What differs from the defaults of `Recipe`. Members, and the share held out for validation: of
# tables with few rows, and with many; epochs: for numbers, and for classes; small tables get as
# many more as make the fewest steps; learning rate: the first one, for numbers, and for classes, of
# tables with more than few rows.
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {
        "members": (1, 1),
        "epochs": (16, 12),
        "learning_rate": (0.004, 0.004),
        "fewest_steps": 600,
        "validation": (0.2, 0.2),
        "hidden": (128, 128),
        "bins": 64,
        "embedding": 8,
    },
    "default": {
        "members": (4, 2),
        "epochs": (32, 24),
        "learning_rate": (0.002, 0.004),
        "fewest_steps": 1000,
        "validation": (0.2, 0.2),
    },
    "best": {
        "members": (12, 8),
        "epochs": (48, 36),
        "learning_rate": (0.002, 0.004),
        "fewest_steps": 1000,
        "validation": (0.2, 0.1),
    },
}
MANY_ROWS = 10_000
FEW_ROWS, FEW_ROWS_RATE = 2_000, 0.001  # the first learning rate of tables of so few rows
PATIENCE = 1 / 4  # of the epochs
TASKS: dict[str, dict[str, Any]] = {
    "regression": {"activation": "relu", "dropout": 0.0, "leaf": 5},
    "classification": {"activation": "mish", "dropout": 0.2, "leaf": 16},
}
SMALLEST_BATCH = {"regression": 32, "classification": 16}


def share_held_out(preset: str, rows: int) -> float:
    """Return the share of a table's rows that each network of a preset holds out."""
    share: float = PRESETS[preset]["validation"][rows > MANY_ROWS]
    return share


def batch_size(rows: int, task: str) -> int:
    """Return the rows of a step.

    A thirty-second of all, but 16 or more for classes, 32 or more for numbers, and no more than
    256; more from 50,000 rows on.
    """
    size = SMALLEST_BATCH[task]
    while size < 256 and 64 * size <= rows:
        size *= 2
    while rows > 50_000 and size < 2048:
        size, rows = 2 * size, rows // 4
    return size


def preset_help() -> str:
    """Return what the presets are, in one line."""
    parts = []
    for name in PRESETS:
        networks = PRESETS[name]["members"][0]
        parts.append(f"{name} ({networks} network{'s' * (networks > 1)})")
    return f"{', '.join(parts)}."
