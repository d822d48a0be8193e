"""The command line: train, predict, evaluate, explain, export, launch, doctor."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from gpubp import __version__, cli_output, distributed, exchange
from gpubp.backends import get_backend
from gpubp.errors import ConfigurationError, DivergenceError, UnknownNameError
from gpubp.files import check_writable, write_atomically
from gpubp.optimizers import OPTIMIZERS, Optimizer
from gpubp.precision import PRECISIONS
from gpubp.tables import BUNDLED, Table, read_table
from gpubp.tabular import Prepared, TabularModel, finite_only, prepare

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Dense neural networks trained by backpropagation, on the CPU or an NVIDIA GPU.",
)

_DATA = "A CSV or Parquet file, or one of: " + ", ".join(BUNDLED) + "."
Data = Annotated[str, typer.Argument(help=_DATA, show_default=False)]
Model = Annotated[Path, typer.Argument(help="A model file.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON alone, for scripts.")]
BackendName = Annotated[str, typer.Option("--backend", help="cpu, gpu, gpu:1 or auto.")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse categories not seen in training.")]


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


@app.command()
def train(
    data: Data,
    target: Annotated[
        str, typer.Option(help="The column to predict; bundled sets have one.", show_default=False)
    ] = "",
    hidden: Annotated[str, typer.Option(help="Neurons of the hidden layers.")] = "256,128",
    activation: Annotated[str, typer.Option(help="Activation of the hidden layers.")] = "relu",
    optimizer: Annotated[str, typer.Option(help=", ".join(OPTIMIZERS) + ".")] = "adamw",
    learning_rate: Annotated[
        float | None, typer.Option(help="Size of a step; by default the optimizer's own.")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Weight decay of adamw; by default 0.5.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training part at most.")] = 100,
    batch_size: Annotated[
        int | None, typer.Option(help="Rows a step; 32, or fewer where there are fewer.")
    ] = None,
    dropout: Annotated[float, typer.Option(help="Share of hidden outputs dropped.")] = 0.2,
    validation: Annotated[
        float, typer.Option(help="Share of the rows for early stopping; 0 for none.")
    ] = 0.2,
    test: Annotated[float, typer.Option(help="Share of the rows held out to test; 0 for none.")] = (
        0.2
    ),
    patience: Annotated[
        int, typer.Option(help="Epochs without a better validation loss before stopping.")
    ] = 15,
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
    checkpoint: Annotated[
        Path | None, typer.Option(help="A folder for a checkpoint after each epoch.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in the folder.")
    ] = False,
    deterministic: Annotated[
        bool, typer.Option(help="With `gpubp launch`: the same bits for any -n.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a network on a table and save it."""
    path = out or Path(f"{Path(data).name.split('.')[0] or 'model'}.safetensors")
    talk = distributed.communicator() if distributed.is_launched() else None
    root = talk is None or talk.is_root
    distributed.on_root(talk, lambda: check_writable(path), "the model file")
    sizes = _hidden_sizes(hidden)
    chosen = _optimizer(optimizer, learning_rate, weight_decay)
    where = get_backend(backend)
    table = read_table(data)
    prepared = prepare(table, _target(table, data, target), task, test, validation, seed)
    model = TabularModel.create(
        prepared,
        sizes,
        activation=activation,
        dropout=dropout,
        dtype=dtype,
        precision=precision,
        seed=seed,
        backend=where,
    )
    if root:
        cli_output.before_training(prepared, model, as_json)
    start, stopped = time.perf_counter(), None
    try:
        shown = sys.stderr.isatty() and not as_json
        model.train(
            *(prepared, chosen, epochs, batch_size, patience, shown, checkpoint, resume),
            *(talk or False, deterministic),
        )
    except (KeyboardInterrupt, DivergenceError) as error:
        stopped = error
    seconds = time.perf_counter() - start
    if root:
        model.save(path)
        report = training_report(model, prepared, path, seconds, talk)
        cli_output.after_training(report, data, as_json)
    if isinstance(stopped, KeyboardInterrupt):
        cli_output.note(f"interrupted: the best model so far is saved in {path}", root)
        _leave(talk, 130)
    if stopped is not None:
        cli_output.note(f"error: {stopped}; they are saved in {path}", root)
        _leave(talk, 1)


def training_report(
    model: TabularModel,
    prepared: Prepared,
    path: Path,
    seconds: float,
    talk: distributed.Communicator | None,
) -> dict[str, Any]:
    """Return what a training did, as ``--json`` prints it."""
    net, epochs = model.net, model.net.history.epochs
    report: dict[str, Any] = {
        "out": str(path),
        "task": model.preprocessing.task,
        "train_rows": len(prepared.split.train),
        "validation_rows": len(prepared.split.validation),
        "test_rows": len(prepared.split.test),
        "epochs": epochs,
        "stopped": net.history.stopped,
        "backend": net.backend.name,
        "seconds": round(seconds, 3),
    }
    if talk is not None:
        rate = len(prepared.split.train) * epochs / seconds
        report |= {
            "ranks": talk.size,
            "rows_per_second": round(rate),
            "rows_per_second_a_rank": round(rate / talk.size),
            "communication_share": round(talk.seconds / seconds, 4),
        }
    if len(prepared.split.test):
        measures, _ = model.evaluate(prepared.table.take(prepared.split.test))
        report |= finite_only(measures)
    return report


def _leave(talk: distributed.Communicator | None, code: int) -> None:
    """Exit with a code when all processes are done: the first to leave so ends the others."""
    if talk is not None:
        talk.barrier("the end")
    raise typer.Exit(code)


@app.command()
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
        check_writable(out)
    loaded = TabularModel.load(model, backend)
    table = read_table(data, text=loaded.preprocessing.text_columns)
    answers = loaded.predict(table, strict)
    cli_output.warn(answers.warnings)
    text = cli_output.predictions(answers, loaded.preprocessing, as_json)
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomically(out, text.encode())
        cli_output.note(f"{len(answers.labels)} predictions written to {out}")


@app.command()
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


@app.command()
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
    print(expected)
    print(trace.table(max_rows=lines))


@app.command()
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
    check_writable(out)
    writers[out.suffix](TabularModel.load(model, "cpu"), out)
    cli_output.note(f"{model} written to {out}")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what was found here: backends, devices, versions, BLAS, and what would be faster."""
    from gpubp.doctor import examine

    facts = examine()
    if as_json:
        print(json.dumps(facts))
    else:
        cli_output.facts(facts)


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
    }
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


def _hidden_sizes(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigurationError(
            f"--hidden is {text!r}; whole numbers above 0 are needed, for example 128,64"
        )
    return [int(part) for part in parts]


def _optimizer(name: str, learning_rate: float | None, weight_decay: float | None) -> Optimizer:
    if name not in OPTIMIZERS:
        raise UnknownNameError("optimizer", name, OPTIMIZERS)
    settings = {} if learning_rate is None else {"learning_rate": learning_rate}
    if name == "adamw":
        # small tables need more decay than the library's default, which is PyTorch's
        settings["weight_decay"] = 0.5 if weight_decay is None else weight_decay
    elif weight_decay is not None:
        raise ConfigurationError(f"--weight-decay is for adamw and --optimizer is {name}")
    return OPTIMIZERS[name](**settings)


def _target(table: Table, data: str, target: str) -> str:
    if target or data in BUNDLED:
        return target or BUNDLED[data]
    columns = ", ".join(list(table.columns)[:20])
    raise ConfigurationError(f"--target is missing; one of the columns is needed: {columns}")
