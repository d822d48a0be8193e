"""The command `train`: tables in memory or read meanwhile, one process or several."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from gpubp import distributed
from gpubp.backends import get_backend
from gpubp.backends.precision import PRECISIONS
from gpubp.cli import output as cli_output
from gpubp.cli.cross_validation import announced, as_dict, better_than_few_rows, check_folds
from gpubp.cli.endings import leave_if_stopped, train_until_stopped
from gpubp.cli.options import (
    BackendName,
    Data,
    Decimal,
    Encoding,
    Json,
    Missing,
    NoHeader,
    Overwrite,
    Separator,
)
from gpubp.cli.streaming import check_as_usual, is_streamed, stream_table
from gpubp.cli.table_reading import TableOptions, keep_reading, read_to_train, target_of
from gpubp.cli.training_result import check_page, training_result, write_page
from gpubp.cli.written_files import check_output, check_overwrite
from gpubp.errors import (
    ConfigurationError,
    UnknownNameError,
)
from gpubp.nn.losses import LOSSES
from gpubp.nn.optimizers import OPTIMIZERS
from gpubp.tables.comparison import compare
from gpubp.tables.folds import Spread, cross_validate
from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import Prepared, prepare
from gpubp.tables.recipe import MANY_ROWS, Recipe, preset_help, share_held_out
from gpubp.tables.streamed import StreamedTable


def train(
    data: Data,
    target: Annotated[
        str, typer.Option(help="The column to predict; bundled sets have one.", show_default=False)
    ] = "",
    sep: Separator = None,
    decimal: Decimal = None,
    missing: Missing = None,
    no_header: NoHeader = False,
    encoding: Encoding = None,
    drop: Annotated[str | None, typer.Option(help="Columns to leave out, such as id,name.")] = None,
    types: Annotated[
        str,
        typer.Option(
            help="What columns hold: category or number, such as age=category.",
            show_default=False,
        ),
    ] = "",
    class_weight: Annotated[
        str | None, typer.Option(help="balanced: rare classes count as much as common ones.")
    ] = None,
    preset: Annotated[str, typer.Option(help=preset_help())] = "default",
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds that the training may take.")
    ] = None,
    members: Annotated[int | None, typer.Option(help="Networks that answer together.")] = None,
    hidden: Annotated[
        str | None, typer.Option(help="Neurons of the hidden layers, such as 256,128.")
    ] = None,
    activation: Annotated[
        str | None, typer.Option(help="By default relu for numbers, mish for classes.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help=f"{', '.join(OPTIMIZERS)}; by default adamw.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="First size of a step, which falls to 0.")
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay of adamw.")] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="By default squared_error for numbers, cross_entropy for classes."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training part at most.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Rows a step; by default an eighth, from 32 to 256.")
    ] = None,
    dropout: Annotated[float | None, typer.Option(help="Share of hidden outputs dropped.")] = None,
    bins: Annotated[
        int | None, typer.Option(help="Bins of a column of numbers at most; 0 for none.")
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(
            help="Share of the rows for early stopping; 0 for none; by default that of the preset."
        ),
    ] = None,
    test: Annotated[float, typer.Option(help="Share of the rows held out to test; 0 for none.")] = (
        0.2
    ),
    cv: Annotated[
        int | None, typer.Option("--cv", help="Measure over so many folds of all rows first.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="What chooses the epoch: loss (the default), accuracy, auc, rmse or mae, on the"
            " validation rows."
        ),
    ] = None,
    time_column: Annotated[
        str,
        typer.Option(
            help="Hold the last rows by this column out, as later rows are to be predicted.",
            show_default=False,
        ),
    ] = "",
    patience: Annotated[
        int | None, typer.Option(help="Epochs without a better validation loss before stopping.")
    ] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Train again on all rows but the test part.")
    ] = False,
    task: Annotated[str, typer.Option(help="classification, regression or auto.")] = "auto",
    backend: BackendName = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    precision: Annotated[
        str | None,
        typer.Option(
            help=f"On a GPU: {', '.join(PRECISIONS)}; bfloat16 on some CPUs too; by default as"
            " dtype says."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides split, weights, order, dropout.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="The model file; by default DATA's name.safetensors.")
    ] = None,
    overwrite: Overwrite = False,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A folder for a checkpoint after each epoch.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in the folder.")
    ] = False,
    stream: Annotated[
        bool | None,
        typer.Option(
            help="Read the table while training; by default if it would take half of the memory.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page about the model as well.")
    ] = None,
    deterministic: Annotated[
        bool, typer.Option(help="With `gpubp launch`: the same bits for any -n.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a network on a table and save it."""
    options = TableOptions.of(sep, decimal, missing, no_header, encoding)
    path = out or Path(f"{Path(data).name.split('.')[0].strip('-') or 'model'}.safetensors")
    processes = distributed.communicator() if distributed.is_launched() else None
    root = processes is None or processes.is_root
    distributed.on_root(processes, lambda: check_output(path, [data]), "the model file")
    apart = is_streamed(data, stream) or processes is not None
    check_folds(cv, apart, time_column)
    if report is not None:
        check_page(report, data, path, apart)
    settings = {
        "hidden": None if hidden is None else _hidden_sizes(hidden),
        "activation": activation,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "weight_decay": _weight_decay(weight_decay, optimizer),
        "epochs": epochs,
        "patience": patience,
        "batch_size": batch_size,
        "dropout": dropout,
        "bins": bins,
        "members": members,
        "refit": refit,
        "loss_name": _loss(loss),
        "metric": metric,
    }
    recipe = Recipe.of(preset, 1, "classification", settings)  # tells what is wrong before reading
    where = get_backend(backend)
    prepared: Prepared | StreamedTable
    if class_weight not in (None, "balanced"):
        raise ConfigurationError(f"--class-weight is {class_weight!r}; balanced is needed")
    if is_streamed(data, stream):
        check_as_usual(options, drop, types, time_column)
        if validation is None:
            validation = share_held_out(preset, MANY_ROWS + 1)
        prepared = stream_table(data, target, task, test, validation, seed, processes)
    else:
        table, reading, notes = read_to_train(data, options, drop, types)
        column = target_of(table, data, target)
        several = recipe.members > 1
        if validation is None:
            validation = share_held_out(preset, table.rows)
        prepared = prepare(table, column, task, test, validation, seed, several, time_column)
        prepared = keep_reading(prepared, reading, notes)
    if class_weight and prepared.preprocessing.task == "regression":
        raise ConfigurationError("--class-weight is for classes and the task is regression")
    predicted = prepared.preprocessing.target
    distributed.on_root(
        processes, lambda: check_overwrite(path, predicted, overwrite), "the model file"
    )
    if isinstance(prepared, StreamedTable):  # so many rows need no several networks
        settings["members"] = members or 1

    def untrained(prepared: Prepared | StreamedTable) -> tuple[TabularModel, Recipe]:
        goal, rows = prepared.preprocessing, prepared.rows("train")
        recipe = Recipe.of(preset, rows, goal.task, settings)
        numbers = {"dtype": dtype, "precision": precision, "backend": where}
        return TabularModel.create(prepared, recipe, seed, **numbers), recipe

    def trained(fold: Prepared) -> TabularModel:
        made, recipe = untrained(fold)
        made.train(fold, recipe, time_limit=time_limit, class_weight=class_weight)
        return made

    model, recipe = untrained(prepared)
    shown = sys.stderr.isatty() and not as_json
    if root:
        cli_output.before_training(prepared, model, as_json)
    spreads: dict[str, Spread] = {}
    if cv is not None and isinstance(prepared, Prepared):
        spreads = cross_validate(
            *(prepared, cv, validation, seed, several),
            announced(trained, cv, shown),
            # those that train at a time would share the time of one
            where.lockstep() if time_limit is None else None,
        )
        if not as_json:
            cli_output.folds(spreads, prepared.table.rows, predicted)
    start = time.perf_counter()
    stopped = train_until_stopped(
        *(model, prepared, recipe, shown, checkpoint, resume),
        *(processes or False, deterministic, time_limit),
        class_weight=class_weight,
    )
    seconds = time.perf_counter() - start
    if root:
        model.save(path)
        compared = compare(model, prepared) if isinstance(prepared, Prepared) else None
        better = better_than_few_rows(cv, apart, time_column)
        result = training_result(model, prepared, path, seconds, compared, processes, better)
        result |= {"cv": as_dict(spreads)} if spreads else {}
        tested = prepared.preprocessing.dealt is not None and prepared.rows("test") > 0
        cli_output.after_training(result, data, as_json, tested, options.words)
        if report is not None and isinstance(prepared, Prepared):
            write_page(report, model, prepared, recipe, compared)
    leave_if_stopped(stopped, path, processes)


def _hidden_sizes(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigurationError(
            f"--hidden is {text!r}; whole numbers above 0 are needed, for example 128,64"
        )
    return tuple(int(part) for part in parts)


def _loss(name: str | None) -> str | None:
    if name not in (None, *LOSSES):
        raise UnknownNameError("loss", name, LOSSES)
    return name


def _weight_decay(decay: float | None, optimizer: str | None) -> float | None:
    if decay is not None and optimizer not in (None, "adamw"):
        raise ConfigurationError(f"--weight-decay is for adamw and --optimizer is {optimizer}")
    return decay
