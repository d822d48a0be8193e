"""The command `train`: tables in memory or read meanwhile, one process or several."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from gpubp import distributed
from gpubp.backends import get_backend
from gpubp.backends.precision import PRECISIONS
from gpubp.cli import output as cli_output
from gpubp.cli.endings import leave_if_stopped, train_until_stopped
from gpubp.cli.options import (
    BackendName,
    Data,
    Decimal,
    Json,
    Missing,
    NoHeader,
    Overwrite,
    Separator,
)
from gpubp.cli.streaming import check_as_usual, is_streamed, stream_table
from gpubp.cli.table_reading import TableOptions, keep_reading, read_to_train
from gpubp.cli.written_files import check_output, check_overwrite
from gpubp.errors import (
    ConfigurationError,
    UnknownNameError,
)
from gpubp.nn.losses import LOSSES
from gpubp.nn.optimizers import OPTIMIZERS
from gpubp.tables.comparison import compare
from gpubp.tables.model import TabularModel, finite_only
from gpubp.tables.prepared import Prepared, prepare
from gpubp.tables.recipe import Recipe, preset_help
from gpubp.tables.report import TrainingFacts, check_report, write_report
from gpubp.tables.streamed import StreamedTable
from gpubp.tables.table import BUNDLED, Table


def train(
    data: Data,
    target: Annotated[
        str, typer.Option(help="The column to predict; bundled sets have one.", show_default=False)
    ] = "",
    sep: Separator = None,
    decimal: Decimal = None,
    missing: Missing = None,
    no_header: NoHeader = False,
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
        typer.Option(help="Share of the rows for early stopping; 0 for none; by default 0.2."),
    ] = None,
    test: Annotated[float, typer.Option(help="Share of the rows held out to test; 0 for none.")] = (
        0.2
    ),
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
        typer.Option(help=f"On a GPU: {', '.join(PRECISIONS)}; by default as dtype says."),
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
    options = TableOptions.of(sep, decimal, missing, no_header)
    path = out or Path(f"{Path(data).name.split('.')[0].strip('-') or 'model'}.safetensors")
    processes = distributed.communicator() if distributed.is_launched() else None
    root = processes is None or processes.is_root
    distributed.on_root(processes, lambda: check_output(path, [data]), "the model file")
    if report is not None:
        check_output(report, [data])
        _check_report(report, is_streamed(data, stream) or processes is not None)
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
    }
    recipe = Recipe.of(preset, 1, "classification", settings)  # tells what is wrong before reading
    validation = recipe.validation if validation is None else validation
    where = get_backend(backend)
    prepared: Prepared | StreamedTable
    if class_weight not in (None, "balanced"):
        raise ConfigurationError(f"--class-weight is {class_weight!r}; balanced is needed")
    if is_streamed(data, stream):
        check_as_usual(options, drop, types)
        prepared = stream_table(data, target, task, test, validation, seed, processes)
    else:
        table, reading, notes = read_to_train(data, options, drop, types)
        column = target_of(table, data, target)
        several = recipe.members > 1
        prepared = prepare(table, column, task, test, validation, seed, several)
        prepared = keep_reading(prepared, reading, notes)
    if class_weight and prepared.preprocessing.task == "regression":
        raise ConfigurationError("--class-weight is for classes and the task is regression")
    predicted = prepared.preprocessing.target
    distributed.on_root(
        processes, lambda: check_overwrite(path, predicted, overwrite), "the model file"
    )
    if isinstance(prepared, StreamedTable):  # so many rows need no several networks
        settings["members"] = members or 1
    recipe = Recipe.of(preset, prepared.rows("train"), prepared.preprocessing.task, settings)
    model = TabularModel.create(
        prepared,
        recipe,
        dtype=dtype,
        precision=precision,
        seed=seed,
        backend=where,
    )
    model.preprocessing = replace(model.preprocessing, learning_rate=recipe.learning_rate)
    if root:
        cli_output.before_training(prepared, model, as_json)
    start = time.perf_counter()
    shown = sys.stderr.isatty() and not as_json
    stopped = train_until_stopped(
        *(model, prepared, recipe, shown, checkpoint, resume),
        *(processes or False, deterministic, time_limit),
        class_weight=class_weight,
    )
    seconds = time.perf_counter() - start
    if root:
        model.save(path)
        result = training_report(model, prepared, path, seconds, processes)
        tested = prepared.preprocessing.dealt is not None and prepared.rows("test") > 0
        cli_output.after_training(result, data, as_json, tested, options.words)
        if report is not None and isinstance(prepared, Prepared):
            _write_report(report, model, prepared, recipe)
    leave_if_stopped(stopped, path, processes)


def training_report(
    model: TabularModel,
    prepared: Prepared | StreamedTable,
    path: Path,
    seconds: float,
    processes: distributed.Communicator | None,
) -> dict[str, Any]:
    """Return what a training did, as ``--json`` prints it."""
    net, epochs = model.net, max(each.history.epochs for each in model.nets)
    report: dict[str, Any] = {
        "out": str(path),
        "task": model.preprocessing.task,
        "target": model.preprocessing.target,
        "members": len(model.nets),
        **{f"{part}_rows": prepared.rows(part) for part in ("train", "validation", "test")},
        "epochs": epochs,
        "stopped": net.history.stopped,
        "backend": net.backend.name,
        "seconds": round(seconds, 3),
    }
    if processes is not None:
        rate = prepared.rows("train") * epochs / seconds
        report |= {
            "ranks": processes.size,
            "rows_per_second": round(rate),
            "rows_per_second_a_rank": round(rate / processes.size),
            "communication_share": round(processes.seconds / seconds, 4),
        }
    if prepared.rows("test"):
        if isinstance(prepared, Prepared):
            compared = compare(model, prepared)
            report |= compared.to_dict() | {"cautions": compared.cautions(prepared.rows("test"))}
        else:
            report |= finite_only(model.test(prepared))
    return report


def _check_report(path: Path, apart: bool) -> None:
    """Refuse before the training a report that could not be made or written."""
    if apart:
        raise ConfigurationError(
            f"--report {path} of a table that is read while training, or by several processes;"
            " one in memory is needed, or `gpubp report` afterwards"
        )
    check_report(path)


def _write_report(path: Path, model: TabularModel, prepared: Prepared, recipe: Recipe) -> None:
    """Write a report on the test part; without one, on the validation or the training part."""
    part = next(name for name in ("test", "validation", "train") if prepared.rows(name))
    facts = TrainingFacts(
        rows=prepared.table.take(prepared.split.train),
        part=f"the {part} part",
        notes=prepared.notes,
        settings=asdict(recipe),
        command=shlex.join(["gpubp", *sys.argv[1:]]),
    )
    write_report(path, model, prepared.table.take(getattr(prepared.split, part)), facts)
    cli_output.note(f"the report is written to {path}")


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


def target_of(table: Table, data: str, target: str) -> str:
    """Return the column to predict; a bundled set has one."""
    if target or data in BUNDLED:
        return target or BUNDLED[data]
    columns = ", ".join(list(table.columns)[:20])
    raise ConfigurationError(f"--target is missing; one of the columns is needed: {columns}")
