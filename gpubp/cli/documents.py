"""The commands that write a document for people: a report, a model card, lessons."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from gpubp.cli import output as cli_output
from gpubp.cli.card import Measured, model_card
from gpubp.cli.options import (
    BackendName,
    Data,
    Decimal,
    Encoding,
    Language,
    Missing,
    Model,
    NoHeader,
    Part,
    Separator,
)
from gpubp.cli.table_reading import TableOptions, read_for
from gpubp.cli.written_files import check_no_model, check_output
from gpubp.files import write_atomically
from gpubp.inspection.lessons import LESSONS, write_lessons
from gpubp.tables.evaluated_rows import rows_of_part
from gpubp.tables.model import TabularModel
from gpubp.tables.report import TrainingFacts, check_installed, write_report


def report(
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    part: Part = "all",
    sep: Separator = None,
    decimal: Decimal = None,
    missing: Missing = None,
    no_header: NoHeader = False,
    encoding: Encoding = None,
    backend: BackendName = "auto",
) -> None:
    """Write a page about a model, measured on a table that has the target column."""
    options = TableOptions.of(sep, decimal, missing, no_header, encoding)
    check_output(out, [data, model])
    check_installed()
    loaded = TabularModel.load(model, backend)
    table = rows_of_part(loaded.preprocessing, read_for(loaded.preprocessing, data, options), part)
    measured = "" if part == "all" else f"the {part} part"
    facts = TrainingFacts(part=measured, command=shlex.join(["gpubp", *sys.argv[1:]]))
    write_report(out, loaded, table, facts)
    cli_output.note(f"the report is written to {out}")


def learn(
    lesson: Annotated[
        str, typer.Argument(help=f"One of {', '.join(LESSONS)}; by default all.")
    ] = "",
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("learn.html"),
    language: Language = "en",
) -> None:
    """Write a page to learn backpropagation from, on small networks: open it in a browser."""
    write_lessons(out, lesson, language)
    cli_output.note(f"the page is written to {out}")


def card(
    model: Model,
    data: Annotated[
        str | None, typer.Argument(help="A table to measure it on, better none of its training.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this Markdown file.")] = None,
    sep: Separator = None,
    decimal: Decimal = None,
    missing: Missing = None,
    no_header: NoHeader = False,
    encoding: Encoding = None,
    backend: BackendName = "auto",
) -> None:
    """Write a model card in Markdown: what the model is, learnt from and is good for."""
    options = TableOptions.of(sep, decimal, missing, no_header, encoding)
    if out is not None:
        check_output(out, [model, *([data] if data else [])])
        check_no_model(out)
    loaded = TabularModel.load(model, backend)
    measured = None
    if data is not None:
        table = read_for(loaded.preprocessing, data, options)
        measures, warnings = loaded.evaluate(table)
        cli_output.warn(warnings)
        measured = Measured(measures, table.rows, Path(data).name)
    text = model_card(loaded, model, measured)
    if out is None:
        cli_output.write(text)
    else:
        write_atomically(out, text.encode())
        cli_output.note(f"the card of {model} written to {out}")
