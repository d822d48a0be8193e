"""`gpubp inspect`: what is in a table and what a training would make of it."""

from __future__ import annotations

import numpy as np
import typer
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from gpubp.cli import output as cli_output
from gpubp.cli.options import Data, Decimal, Encoding, Missing, NoHeader, Separator
from gpubp.cli.table_reading import TableOptions, read_to_train, target_of
from gpubp.errors import printable
from gpubp.tables.cautions import cautions
from gpubp.tables.coded_column import CodedColumn
from gpubp.tables.columns import Column
from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.table import Table
from gpubp.tables.target_rows import keep_rows_with_target
from gpubp.tables.task import decide_task


def inspect(
    data: Data,
    target: str = typer.Option("", help="The column to predict."),
    task: str = typer.Option("auto", help="classification, regression or auto."),
    sep: Separator = None,
    decimal: Decimal = None,
    missing: Missing = None,
    no_header: NoHeader = False,
    encoding: Encoding = None,
) -> None:
    """Say what a table holds and what would be made of it, without training."""
    options = TableOptions.of(sep, decimal, missing, no_header, encoding)
    table, _, notes = read_to_train(data, options)
    column = target_of(table, data, target)
    known, dropped = keep_rows_with_target(table, column)
    decided = decide_task(known, column, task)
    preprocessing = Preprocessing.fit(known, column, decided)
    made = {each.name: each for each in preprocessing.columns}
    print(printable(f"{decided} of {column}: {known.rows} rows, {len(known.columns)} columns"))
    grid = Grid(box=None, pad_edge=False)
    for head in ("column", "holds", "missing", "values", "becomes"):
        grid.add_column(head, overflow="fold")
    for name in known.columns:
        becomes = "the target" if name == column else _becomes(made.get(name))
        cells = (name, known.kinds[name], *_values(known, name), becomes)
        grid.add_row(*(Text(printable(cell)) for cell in cells))
    Console(highlight=False).print(grid)
    lines = [*notes, *[dropped] * bool(dropped), *preprocessing.notes]
    for line in [*lines, *cautions(known, column, decided)]:
        cli_output.note(line)


def _becomes(column: Column | None) -> str:
    if column is None:
        return "nothing"
    if isinstance(column, CodedColumn):
        return "trained numbers a name"
    count = len(column.features)
    return f"{count} input{'s' if count > 1 else ''}"


def _values(table: Table, name: str) -> tuple[str, str]:
    """Return how many values are missing, and what the others are."""
    absent = table.missing(name)
    present = table.column(name)[~absent]
    lacking = str(int(absent.sum())) if absent.any() else ""
    different = len(set(present.tolist()))
    if present.dtype == object or not len(present):
        shown = ", ".join(sorted(set(present.tolist()))[:3])
        return lacking, f"{different} different: {shown:.40}"
    if table.kinds[name] == "time":
        first, last = (
            str(np.datetime64(int(each), "s")) for each in (present.min(), present.max())
        )
        return lacking, f"{first} to {last}"
    return lacking, f"{present.min():.5g} to {present.max():.5g}, {different} different"
