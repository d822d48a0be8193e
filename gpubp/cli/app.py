"""The command line: train, predict, evaluate, explain, export, card, launch, plan, doctor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gpubp import __version__, exchange
from gpubp.cli import output as cli_output
from gpubp.cli.card import Measured, model_card
from gpubp.cli.options import BackendName, Data, Json, Model, Strict
from gpubp.cli.plan import plan_command
from gpubp.cli.train import train
from gpubp.cli.written_files import check_no_model, check_output
from gpubp.errors import ConfigurationError, printable
from gpubp.files import write_atomically
from gpubp.tables.model import TabularModel, finite_only
from gpubp.tables.table import read_table

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


app.command(epilog="Example: gpubp train people.csv --target income")(train)
app.command("plan", epilog="Example: gpubp plan --parameters 1e8 --gpus 1024")(plan_command)


@app.command(epilog="Example: gpubp predict people.safetensors new.csv --out predictions.csv")
def predict(
    model: Model,
    data: Data,
    out: Annotated[Path | None, typer.Option(help="Write to this CSV file.")] = None,
    strict: Strict = False,
    backend: BackendName = "auto",
    as_json: Json = False,
) -> None:
    """Predict the target for every row: CSV with probabilities for classes."""
    if out is not None:
        check_output(out, [model, data])
        check_no_model(out)
    loaded = TabularModel.load(model, backend)
    table = read_table(data, text=loaded.preprocessing.text_columns)
    answers = loaded.predict(table, strict)
    cli_output.warn(answers.warnings)
    text = cli_output.predictions(answers, loaded.preprocessing, as_json)
    if out is None:
        cli_output.write(text)
    else:
        write_atomically(out, text.encode())
        cli_output.note(f"{len(answers.labels)} predictions written to {out}")


@app.command(epilog="Example: gpubp evaluate people.safetensors people.csv")
def evaluate(
    model: Model,
    data: Data,
    strict: Strict = False,
    backend: BackendName = "auto",
    as_json: Json = False,
) -> None:
    """Measure a model on a table that has the target column."""
    loaded = TabularModel.load(model, backend)
    table = read_table(data, text=loaded.preprocessing.text_columns)
    measures, warnings = loaded.evaluate(table, strict)
    cli_output.warn(warnings)
    if as_json:
        print(json.dumps(finite_only(measures)))
    else:
        cli_output.measures(measures, f"{model} on {table.rows} rows of {data}")


@app.command(epilog="Example: gpubp explain people.safetensors people.csv --row 3")
def explain(
    model: Model,
    data: Data,
    row: Annotated[int, typer.Option(help="Which row, counted from 1.")] = 1,
    learning_rate: Annotated[float, typer.Option(help="Size of the step.")] = 0.5,
    lines: Annotated[int, typer.Option(help="Lines a table at most.", min=4)] = 12,
    backend: BackendName = "auto",
    as_json: Json = False,
) -> None:
    """Show one step of backpropagation on one row, number by number."""
    loaded = TabularModel.load(model, backend)
    table = read_table(data, text=loaded.preprocessing.text_columns)
    trace, expected = loaded.explain(table, row, learning_rate)
    if as_json:
        print(trace.to_json())
        return
    print(printable(expected))
    print(trace.table(max_rows=lines))


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


@app.command(epilog="Example: gpubp card people.safetensors new.csv --out README.md")
def card(
    model: Model,
    data: Annotated[
        str | None, typer.Argument(help="A table to measure it on, better none of its training.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this Markdown file.")] = None,
    backend: BackendName = "auto",
) -> None:
    """Write a model card in Markdown: what the model is, learnt from and is good for."""
    if out is not None:
        check_output(out, [model, *([data] if data else [])])
        check_no_model(out)
    loaded = TabularModel.load(model, backend)
    measured = None
    if data is not None:
        table = read_table(data, text=loaded.preprocessing.text_columns)
        measures, warnings = loaded.evaluate(table)
        cli_output.warn(warnings)
        measured = Measured(measures, table.rows, Path(data).name)
    text = model_card(loaded, model, measured)
    if out is None:
        cli_output.write(text)
    else:
        write_atomically(out, text.encode())
        cli_output.note(f"the card of {model} written to {out}")


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
