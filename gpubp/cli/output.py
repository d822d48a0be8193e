"""What the command prints for people: results on standard output, notes on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from gpubp.cli.planning import Row
from gpubp.errors import printable
from gpubp.tables.folds import Spread
from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import Prepared
from gpubp.tables.streamed import StreamedTable
from gpubp.text import number_text

UNTOLD = ("mean_squared_error",)  # its root is told


def note(text: str, wanted: bool = True) -> None:
    """Print one line on standard error, if it is wanted."""
    if wanted:
        print(f"gpubp: {printable(text)}", file=sys.stderr)


def warn(warnings: Iterable[str]) -> None:
    """Print each warning on a line of its own on standard error."""
    for warning in warnings:
        note(f"warning: {warning}")


def before_training(prepared: Prepared | StreamedTable, model: TabularModel, as_json: bool) -> None:
    """Say what is about to be trained, on what, where and why there."""
    for text in (*prepared.notes, *model.net.backend.notes):
        note(text)
    if as_json:
        return
    net = model.net
    sizes, count = " -> ".join(map(str, net.sizes)), len(model.nets)
    what = "network" if count == 1 else f"{count} networks"
    print(printable(f"{model.preprocessing.task} of {model.preprocessing.target}: {what} {sizes}"))
    print(
        f"rows: {prepared.rows('train')} to train, {prepared.rows('validation')} for early"
        f" stopping, {prepared.rows('test')} to test"
    )
    why = "no GPU works here: gpubp doctor says why"
    reason = why if net.backend.reason.startswith("no GPU") else net.backend.reason
    print(f"backend: {net.backend.name} ({reason})", flush=True)


def after_training(
    report: dict[str, Any], data: str, as_json: bool, tested: bool, reading: str
) -> None:
    """Print the result of a training and what to try next.

    The test part can be measured again where the model is `tested` on rows that it knows;
    `reading` are options that the table needs.
    """
    if as_json:
        print(json.dumps(report), flush=True)
        return
    stopped = f", {report['stopped']}" if report["stopped"] else ""
    print(f"{report['epochs']} epochs in {report['seconds']:.1f} s{stopped}")
    if "ranks" in report:
        print(
            f"{report['ranks']} ranks: {report['rows_per_second']:,} rows/s in all,"
            f" {report['rows_per_second_a_rank']:,} a rank;"
            f" {report['communication_share']:.1%} of the time waiting for each other"
        )
    main = "accuracy" if report["task"] == "classification" else "r2"
    if report.get(main) is not None:
        interval = report.get("interval")
        spread = f" (95 %: {interval[0]:.3g} to {interval[1]:.3g})" if interval else ""
        print(f"test {main}: {report[main]:.4f} on {report['test_rows']} held-out rows{spread}")
    if "baselines" in report:
        _comparison(report)
    print(f"model saved: {report['out']}")
    if Path(data).is_dir():
        data = str(next(iter(sorted(Path(data).rglob("*.parquet")))))
    data += reading
    print("\ntry next:")
    part = " --part test" if tested else ""
    print(printable(f"  gpubp evaluate {report['out']} {data}{part}"))
    print(printable(f"  gpubp predict {report['out']} {data}"))
    print(printable(f"  gpubp explain {report['out']} {data} --row 1"), flush=True)


def folds(spreads: dict[str, Spread], rows: int, target: str) -> None:
    """Print measures over folds of so many rows; errors of numbers are in units of the target."""
    count = max(len(spread.folds) for spread in spreads.values())
    print(f"{rows} rows in {count} folds, each measured by networks trained on the others:")
    grid = Grid(box=None, pad_edge=False)
    head = f"(errors in units of {printable(target):.20})" if "r2" in spreads else ""
    grid.add_column(Text(head), no_wrap=True)
    for name in ("mean", "deviation", "least", "most"):
        grid.add_column(name, justify="right")
    for name, spread in spreads.items():
        if name in UNTOLD:
            continue
        values = (spread.mean, spread.deviation, min(spread.folds), max(spread.folds))
        grid.add_row(name, *(f"{value:.4g}" for value in values))
    Console(highlight=False, markup=False).print(grid)
    sys.stdout.flush()


def _comparison(report: dict[str, Any]) -> None:
    """Print the measures of the test part, beside models that need no network."""
    simplest = [*report["baselines"].values()][-1]
    columns = {"network": report, **report["baselines"]}
    grid = Grid(box=None, pad_edge=False)
    numbers, target = report["task"] == "regression", printable(report["target"])
    head = f"(errors in units of {target:.20})" if numbers else ""
    grid.add_column(Text(head), no_wrap=True)
    for name in columns:
        grid.add_column(name, justify="right")
    for name in [each for each in simplest if each not in UNTOLD]:
        values = [each.get(name) for each in columns.values()]
        grid.add_row(name, *("-" if value is None else number_text(value) for value in values))
    console = Console(highlight=False, markup=False)
    console.print(grid)
    if report["classes"]:
        grid = Grid(box=None, pad_edge=False)
        grid.add_column("class", overflow="ellipsis", no_wrap=True)
        for head in ("rows", "precision", "recall", "f1"):
            grid.add_column(head, justify="right")
        for each in report["classes"]:
            scores = [f"{each[name]:.3f}" for name in ("precision", "recall", "f1")]
            grid.add_row(Text(printable(str(each["label"]))), str(each["rows"]), *scores)
        console.print(grid)
    for caution in report["cautions"]:
        print(f"caution: {caution}")


def measures(values: dict[str, float], title: str) -> None:
    """Print measures as a table."""
    print(printable(title))
    grid = Grid.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(justify="right")
    for name, value in values.items():
        grid.add_row(name, f"{value:.6g}")
    Console(highlight=False).print(grid)


def plan(rows: Iterable[Row]) -> None:
    """Print the times of a step on several numbers of devices as a table."""
    grid = Grid(box=None, pad_edge=False)
    heads = ("devices", "compute ms", "sum ms", "exposed ms", "by", "step ms", "speedup", "used")
    for head in heads:
        grid.add_column(head, justify="left" if head == "by" else "right", no_wrap=True)
    for row in rows:
        times = [f"{1e3 * each:.4g}" for each in (row.compute, row.allreduce, row.exposed)]
        last = [f"{1e3 * row.step:.4g}", f"{row.speedup:.4g}", f"{row.efficiency:.0%}"]
        grid.add_row(str(row.devices), *times, row.algorithm, *last)
    Console(highlight=False).print(grid)


def write(text: str) -> None:
    """Print a result as it is, on a terminal without what that would obey."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)


def facts(found: dict[str, Any]) -> None:
    """Print what doctor found as a table, and its advice."""
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, reason in found["backends"].items():
        grid.add_row(f"backend {name}", reason or "works")
    grid.add_row("auto takes", f"{found['auto']} ({found['device']})")
    grid.add_row("because", found["auto_reason"])
    grid.add_row("python", f"{found['python']} on {found['platform']}")
    grid.add_row("processor", f"{found['processor']}, {found['cores']} cores")
    kernels, reason = found["compiled_kernels"], found["compiled_kernels_reason"]
    grid.add_row("compiled kernels", kernels or f"none, {reason}")
    for library in found["blas"] or []:
        grid.add_row(
            "BLAS",
            f"{library['library']} {library['version']}, {library['kernels']} kernels,"
            f" {library['threads']} threads",
        )
    rates = found["products"].items()
    shown = [f"{rate:.0f} GFLOP/s{' with ' if name else ''}{name}" for name, rate in rates]
    grid.add_row("products", ", ".join(shown))
    bfloat16 = f"{found['bfloat16']:.0f} GFLOP/s" if found["bfloat16"] else found["bfloat16_reason"]
    grid.add_row("in bfloat16", bfloat16)
    for name, version in found["versions"].items():
        grid.add_row(name, version)
    console = Console(highlight=False, markup=False)
    console.print(grid)
    console.print("\nwhat would make it faster:" if found["advice"] else "\nnothing to improve")
    for line in found["advice"]:
        console.print(f"- {line}", soft_wrap=True)
