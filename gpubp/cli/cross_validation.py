"""What `train --cv` does before the training: measures over folds, with their spread."""

from __future__ import annotations

import itertools
from typing import Any

import typer

from gpubp.cli import output as cli_output
from gpubp.errors import ConfigurationError, DivergenceError
from gpubp.tables.folds import Spread, Train
from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import Prepared


def check_folds(count: int | None, apart: bool, time_column: str) -> None:
    """Find out before the table is read whether folds are possible.

    Raises
    ------
    ConfigurationError
        When there are fewer than two, the table is read while training or by several processes,
        which is `apart`, or rows are to be held out by time.
    """
    if count is None:
        return
    if count < 2:
        raise ConfigurationError(f"--cv is {count}; 2 folds or more are needed")
    if apart:
        raise ConfigurationError(
            f"--cv {count} of a table that is read while training, or by several processes; one in"
            " memory is needed"
        )
    if time_column:
        raise ConfigurationError(
            f"--cv {count} deals rows to folds at random and --time-column {time_column} by time;"
            " one of them is needed"
        )


def better_than_few_rows(count: int | None, apart: bool, time_column: str) -> str:
    """Return what there is to go by where test rows are few: the folds, or what asks for them."""
    if count is not None:
        return "the folds"
    return "" if apart or time_column else "--cv 5"


def announced(train: Train, count: int, shown: bool) -> Train:
    """Return the training of a fold that says, where `shown`, first which of so many it is.

    A fold whose loss is not finite ends the command, as a training does of which nothing is saved.
    """
    numbers = itertools.count(1)

    def train_fold(fold: Prepared) -> TabularModel:
        which = f"fold {next(numbers)} of {count}"
        cli_output.note(which, shown)
        try:
            return train(fold)
        except DivergenceError as error:
            cli_output.note(f"error: {which}: {error}; no model is saved")
            raise typer.Exit(1) from error

    return train_fold


def as_dict(spreads: dict[str, Spread]) -> dict[str, Any]:
    """Return measures over folds as JSON holds them."""
    return {name: spread._asdict() for name, spread in spreads.items()}
