"""What a `fit` is given, made ready: rows to train on, rows to validate on, checkpoints."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from gpubp.data.batches import Data, take_data
from gpubp.data.chosen_rows import ChosenRows, take_rows
from gpubp.data.feeds import (
    Feed,
    HeldOut,
    Shuffle,
    check_alone,
    feed_of,
    hold_out,
    validation_rows,
)
from gpubp.data.protocol import Dataset
from gpubp.data.row_weights import ClassWeight
from gpubp.data.shards import ALL
from gpubp.errors import ConfigurationError
from gpubp.nn.backprop import LayerStack
from gpubp.training.callbacks import Callback, callback_name
from gpubp.training.checkpoints import Checkpointer, checkpointer
from gpubp.training.group import Group, share_seed
from gpubp.training.metrics import Metric, metric_name
from gpubp.training.settings import TrainingSettings


@dataclass(frozen=True)
class Given:
    """What `Network.fit` was given, whose documentation says what each means."""

    x: Any
    y: Any
    settings: TrainingSettings
    callbacks: list[Callback]
    metrics: list[str | Metric]
    validation: Any
    shuffle: Shuffle
    checkpoint: str | os.PathLike[str] | None
    every: int | None
    resume: bool
    sample_weight: Any
    class_weight: ClassWeight
    group: Group | None
    rows: Any
    validation_rows: Any


class Ready(NamedTuple):
    """The batches, the rows to validate on, if any, and what writes checkpoints, if anything."""

    feed: Feed
    validated: HeldOut | None
    keeper: Checkpointer | None


def make_ready(stack: LayerStack, given: Given, batch_size: int | None) -> Ready:
    """Take the rows in, and the newest checkpoint where training is to go on.

    Raises
    ------
    ConfigurationError, ShapeError, DataError, NonFiniteError, DeviceError
        When an argument cannot be used, or two do not go together.
    CheckpointError, OutputPathError, DistributedError
        As `Network.fit` does.
    """
    processes = None if given.group is None else given.group.communicator
    if processes is not None:
        share_seed(stack, processes)
    if processes is not None and given.settings.accumulate > 1 and given.every is not None:
        raise ConfigurationError(
            f"every is {given.every} with accumulate in distributed training; None is needed, for a"
            " checkpoint at the end of every epoch"
        )
    rows = given.rows
    if rows is not None and not isinstance(given.x, Dataset):
        rows = take_rows(rows, given.x)
    data = _rows_to_train_on(stack, given, rows)
    held = given.validation
    if isinstance(held, int | float):
        if rows is not None or given.validation_rows is not None:
            raise ConfigurationError(
                f"validation={held} and rows are both given; validation_rows is needed"
            )
        data, held = hold_out(stack, data, held)
    loss, share = given.settings.loss, ALL if given.group is None else given.group.shards
    feed = feed_of(stack, data, batch_size, given.shuffle, loss, share, rows)
    validated = _rows_to_validate_on(stack, given, data, held)
    keeper = None
    if given.checkpoint is not None:
        same = _described(stack, given)
        keeper = checkpointer(given.checkpoint, given.every, same, feed, processes, given.resume)
    return Ready(feed, validated, keeper)


def _rows_to_train_on(stack: LayerStack, given: Given, rows: Any) -> Any:
    """Return the data set, or the arrays as the network reads them."""
    if not isinstance(given.x, Dataset):
        loss, weights = given.settings.loss, (given.sample_weight, given.class_weight)
        return take_data(stack, given.x, given.y, loss, "", *weights, rows)
    check_alone(
        y=given.y,
        sample_weight=given.sample_weight,
        class_weight=given.class_weight,
        rows=given.rows,
        validation_rows=given.validation_rows,
    )
    return given.x


def _rows_to_validate_on(
    stack: LayerStack, given: Given, data: Data | Any, held: Any
) -> HeldOut | None:
    """Return some of the data's rows, others, or none."""
    chosen = given.validation_rows
    if chosen is None:
        return None if held is None else validation_rows(stack, held, given.settings.loss)
    if held is not None:
        raise ConfigurationError(
            "validation and validation_rows are both given; one of them is needed"
        )
    plain = replace(data, weights=None)
    return ChosenRows(stack, plain, take_rows(chosen, data.x, "validation_rows"))


def _described(stack: LayerStack, given: Given) -> dict[str, Any]:
    """Return what a checkpoint says of the training, which is to be the same when it goes on."""
    same = stack.spec.to_dict() | given.settings.described()
    same["callbacks"] = [callback_name(one) for one in given.callbacks]
    same |= {"metrics": list(map(metric_name, given.metrics))} if given.metrics else {}
    same |= {} if given.group is None else given.group.described()
    return same
