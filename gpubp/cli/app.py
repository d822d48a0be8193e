"""The command line, one function a command; the longer ones lie beside this file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gpubp import __version__, exchange
from gpubp.cli import output as cli_output
from gpubp.cli.answers import answer_columns, content_for, written
from gpubp.cli.documents import card, learn, report
from gpubp.cli.explanation import legend
from gpubp.cli.inspect import inspect
from gpubp.cli.options import (
    BackendName,
    Data,
    Decimal,
    Encoding,
    Json,
    Language,
    Missing,
    Model,
    NoHeader,
    Part,
    Separator,
    Strict,
)
from gpubp.cli.plan import plan_command
from gpubp.cli.table_reading import TableOptions, listed, read_for
from gpubp.cli.train import train
from gpubp.cli.tune import tune
from gpubp.cli.written_files import check_no_model, check_output
from gpubp.errors import ConfigurationError, printable
from gpubp.files import write_atomically
from gpubp.inspection.page import check_language
from gpubp.tables.evaluated_rows import rows_of_part, seen_in_training
from gpubp.tables.metrics import finite_only
from gpubp.tables.model import TabularModel

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Dense neural networks trained by backpropagation, on the CPU or an NVIDIA GPU.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"gpubp {__version__}")
        raise typer.Exit


@app.callback()
def command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Dense neural networks trained by backpropagation, on the CPU or an NVIDIA GPU."""


app.command(epilog="Example: gpubp inspect people.csv --target income")(inspect)
app.command(epilog="Example: gpubp train people.csv --target income")(train)
app.command(epilog="Example: gpubp tune people.csv --target income --trials 64")(tune)


@app.command(epilog="Example: gpubp predict people.safetensors new.csv --out predictions.csv")
def predict(
    model: Model,
    data: Data,
    out: Annotated[
        Path | None, typer.Option(help="Write to this file: .csv, .json, .parquet.")
    ] = None,
    keep: Annotated[
        str,
        typer.Option(help="Columns of DATA to write too, such as id,name.", show_default=False),
    ] = "",
    interval: Annotated[
        float | None,
        typer.Option(help="Of numbers: write the ends that this share lies between, such as 0.9."),
    ] = None,
    strict: Strict = False,
    sep: Separator = None,
    decimal: Decimal = None,
    missing: Missing = None,
    no_header: NoHeader = False,
    encoding: Encoding = None,
    backend: BackendName = "auto",
    as_json: Json = False,
) -> None:
    """Predict the target for every row: CSV with probabilities for classes."""
    if out is not None:
        check_output(out, [model, data])
        check_no_model(out)
    options = TableOptions.of(sep, decimal, missing, no_header, encoding)
    loaded = TabularModel.load(model, backend)
    kept = listed(keep)
    table = read_for(loaded.preprocessing, data, options, kept)
    answers = loaded.predict(table, strict)
    cli_output.warn(answers.warnings)
    columns = answer_columns(loaded, answers, table, kept, interval)
    if out is None:
        cli_output.write(written(columns, as_json))
    else:
        write_atomically(out, content_for(out, columns, as_json))
        cli_output.note(f"{len(answers.labels)} predictions written to {out}")


@app.command(epilog="Example: gpubp evaluate people.safetensors people.csv")
def evaluate(
    model: Model,
    data: Data,
    part: Part = "all",
    strict: Strict = False,
    sep: Separator = None,
    decimal: Decimal = None,
    missing: Missing = None,
    no_header: NoHeader = False,
    encoding: Encoding = None,
    backend: BackendName = "auto",
    as_json: Json = False,
) -> None:
    """Measure a model on a table that has the target column."""
    options = TableOptions.of(sep, decimal, missing, no_header, encoding)
    loaded = TabularModel.load(model, backend)
    table = read_for(loaded.preprocessing, data, options)
    seen = seen_in_training(loaded.preprocessing, table) if part == "all" else ""
    table = rows_of_part(loaded.preprocessing, table, part)
    measures, warnings = loaded.evaluate(table, strict)
    cli_output.warn([seen] * bool(seen) + warnings)
    if as_json:
        print(json.dumps(finite_only(measures)))
    else:
        of_part = "" if part == "all" else f" of the {part} part"
        cli_output.measures(measures, f"{model} on {table.rows} rows{of_part} of {data}")


@app.command(epilog="Example: gpubp explain people.safetensors people.csv --row 3")
def explain(
    model: Model,
    data: Data,
    row: Annotated[int, typer.Option(help="Which row, counted from 1.")] = 1,
    learning_rate: Annotated[
        float | None, typer.Option(help="Size of the step; by default the first of the training.")
    ] = None,
    lines: Annotated[int, typer.Option(help="Lines a table at most.", min=4)] = 12,
    html: Annotated[
        Path | None, typer.Option(help="Write a page to walk through the step instead.")
    ] = None,
    language: Language = "en",
    sep: Separator = None,
    decimal: Decimal = None,
    missing: Missing = None,
    no_header: NoHeader = False,
    encoding: Encoding = None,
    backend: BackendName = "auto",
    as_json: Json = False,
) -> None:
    """Show one step of backpropagation on one row, number by number."""
    check_language(language)
    options = TableOptions.of(sep, decimal, missing, no_header, encoding)
    if html is not None:
        check_output(html, [data, model], "--html")
    loaded = TabularModel.load(model, backend)
    table = read_for(loaded.preprocessing, data, options)
    rate = loaded.preprocessing.learning_rate if learning_rate is None else learning_rate
    explained = loaded.explain(table, row, rate)
    trace = explained.trace
    if html is not None:
        trace.to_html(html, loaded.page_names(model.name, explained), language)
        cli_output.note(f"the page is written to {html}")
        return
    if as_json:
        print(trace.to_json())
        return
    print(printable(str(explained)))
    if len(loaded.nets) > 1:
        print(f"the first of {len(loaded.nets)} networks, which answer by their mean")
    print("\n".join(map(printable, legend(loaded, table, row, trace, lines))), end="\n\n")
    print(trace.table(max_rows=lines))


app.command(epilog="Example: gpubp report people.safetensors people.csv")(report)
app.command(epilog="Example: gpubp card people.safetensors new.csv --out README.md")(card)
app.command(epilog="Example: gpubp learn xor --out xor.html")(learn)


@app.command(epilog="Example: gpubp export people.safetensors people.onnx")
def export(
    model: Model,
    out: Annotated[
        Path,
        typer.Argument(
            help="The file to write: .onnx, or .py, which needs NumPy alone.", show_default=False
        ),
    ],
) -> None:
    """Write a model with its preprocessing for other programs: ONNX, or a Python file."""
    writers = {".onnx": exchange.write_onnx, ".py": exchange.write_numpy_predictor}
    if out.suffix not in writers:
        raise ConfigurationError(f"{out} ends in {out.suffix!r}; .onnx or .py is needed")
    check_output(out, [model], "FILE")
    check_no_model(out)
    writers[out.suffix](TabularModel.load(model, "cpu"), out)
    cli_output.note(f"{model} written to {out}")


app.command("plan", epilog="Example: gpubp plan --parameters 1e8 --gpus 1024")(plan_command)


@app.command(epilog="Example: gpubp doctor --json")
def doctor(as_json: Json = False) -> None:
    """Say what was found here: backends, devices, versions, BLAS, and what would be faster."""
    from gpubp.cli.doctor import examine

    facts = examine()
    if as_json:
        print(json.dumps(facts))
    else:
        cli_output.facts(facts)


@app.command(
    epilog="Example: gpubp launch -n 4 train folder/ --target y",
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
    },
)
def launch(
    context: typer.Context,
    processes: Annotated[int, typer.Option("-n", help="How many processes.", show_default=False)],
    timeout: Annotated[
        float | None,
        typer.Option(help="Seconds to wait for a process before all end; by default 300."),
    ] = None,
) -> None:
    """Run `train`, or a Python script, in several processes that train together (MPI)."""
    from gpubp.distributed.launching import launch

    raise typer.Exit(launch(context.args, processes, timeout))
