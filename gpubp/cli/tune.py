"""The command `tune`: settings tried on a table, and the best of them trained and saved."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from gpubp.backends import get_backend
from gpubp.checks import check_seconds
from gpubp.cli import output as cli_output
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
from gpubp.cli.table_reading import TableOptions, keep_reading, read_to_train, target_of
from gpubp.cli.training_result import training_result
from gpubp.cli.written_files import check_output, check_overwrite
from gpubp.errors import ConfigurationError
from gpubp.tables.comparison import compare
from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import prepare
from gpubp.tables.recipe import Recipe, preset_help
from gpubp.tables.tuning import tune as tune_table
from gpubp.tables.tuning import tuned
from gpubp.training.trials import SearchResult, Trial


def tune(
    data: Data,
    target: Annotated[
        str, typer.Option(help="The column to predict; bundled sets have one.", show_default=False)
    ] = "",
    sep: Separator = None,
    decimal: Decimal = None,
    missing: Missing = None,
    no_header: NoHeader = False,
    encoding: Encoding = None,
    trials: Annotated[int, typer.Option(help="Settings to try.", min=1)] = 64,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds for the trials; the best is then trained.")
    ] = None,
    preset: Annotated[str, typer.Option(help=preset_help())] = "default",
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training part at most.", min=1)
    ] = None,
    validation: Annotated[float, typer.Option(help="Share of the rows to measure on.")] = 0.2,
    test: Annotated[float, typer.Option(help="Share of the rows held out to test; 0 for none.")] = (
        0.2
    ),
    task: Annotated[str, typer.Option(help="classification, regression or auto.")] = "auto",
    backend: BackendName = "auto",
    seed: Annotated[int, typer.Option(help="Decides settings, split, weights, order.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="The model file; by default DATA's name.safetensors.")
    ] = None,
    overwrite: Overwrite = False,
    file: Annotated[
        Path | None,
        typer.Option(
            help="Where trials are kept as they end, by default DATA's name.trials.jsonl; the same"
            " command goes on from there."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Try settings on a table, train the best and save it."""
    options = TableOptions.of(sep, decimal, missing, no_header, encoding)
    stem = Path(data).name.split(".")[0] or "model"
    path, kept = out or Path(f"{stem}.safetensors"), file or Path(f"{stem}.trials.jsonl")
    check_output(path, [data])
    check_output(kept, [data], "--file")
    if path.resolve() == kept.resolve():
        raise ConfigurationError(f"--out and --file are both {path}; two files are needed")
    check_seconds("--time-limit", time_limit)
    where = get_backend(backend)
    table, reading, notes = read_to_train(data, options)
    settings = {"epochs": epochs}
    several = Recipe.of(preset, table.rows, "classification", settings).members > 1
    prepared = prepare(table, target_of(table, data, target), task, test, validation, seed, several)
    prepared = keep_reading(prepared, reading, notes)
    check_overwrite(path, prepared.preprocessing.target, overwrite)
    recipe = Recipe.of(preset, prepared.rows("train"), prepared.preprocessing.task, settings)
    show = Progress(trials, wanted=not as_json)
    result = tune_table(
        *(prepared, recipe, where),
        trials=trials,
        time_limit=time_limit,
        seed=seed,
        file=kept,
        ended=show,
    )
    if not as_json:
        print_trials(result)
    if result.stopped == "interrupted":
        cli_output.note(f"interrupted: {len(result.trials)} trials are kept in {kept}")
        raise typer.Exit(130)
    best = tuned(recipe, result.best.settings)
    start = time.perf_counter()
    model = TabularModel.create(prepared, best, seed, backend=where)
    stopped = train_until_stopped(model, prepared, best)
    model.save(path)
    seconds = time.perf_counter() - start
    result_of_best = training_result(model, prepared, path, seconds, compare(model, prepared))
    extra = {"trials": len(result.trials), "settings": result.best.settings, "kept": str(kept)}
    tested = prepared.rows("test") > 0
    cli_output.after_training(result_of_best | extra, data, as_json, tested, options.words)
    leave_if_stopped(stopped, path)


class Progress:
    """Says on standard error how each trial ended."""

    def __init__(self, trials: int, wanted: bool) -> None:
        self._best, self._done, self._trials = float("-inf"), 0, trials
        self._wanted = wanted and sys.stderr.isatty()

    def __call__(self, trial: Trial) -> None:
        """Be told of a trial."""
        self._done, self._best = self._done + 1, max(self._best, trial.score)
        cli_output.note(
            f"trial {self._done}: loss {-trial.score:.4f} after {trial.epochs} epochs at most, best"
            f" {-self._best:.4f}",
            self._wanted,
        )


def print_trials(result: SearchResult, lines: int = 5) -> None:
    """Print the best trials, those that were trained longest first."""
    ordered = sorted(result.trials, key=lambda trial: (-trial.epochs, -trial.score))
    print(
        f"{len(result.trials)} trials{f', {result.stopped}' if result.stopped else ''}; the best:"
    )
    for trial in ordered[:lines]:
        print(f"  loss {-trial.score:.4f}, {trial.epochs} epochs: {_in_words(trial)}")


def _in_words(trial: Trial) -> str:
    values = {
        name: f"{value:.3g}" if isinstance(value, float) else value
        for name, value in trial.settings.items()
    }
    return ", ".join(f"{name} {value}" for name, value in values.items())
