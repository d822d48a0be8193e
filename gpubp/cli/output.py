"""What the command prints for people: results on standard output, notes on standard error."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from gpubp.cli.planning import Row
from gpubp.errors import printable
from gpubp.tables.model import Predictions, TabularModel
from gpubp.tables.prepared import Prepared
from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.streamed import StreamedTable


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
    for text in prepared.notes:
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


def after_training(report: dict[str, Any], data: str, as_json: bool) -> None:
    """Print the result of a training and what to try next."""
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
        print(f"test {main}: {report[main]:.4f} on {report['test_rows']} held-out rows")
    print(f"model saved: {report['out']}")
    if Path(data).is_dir():
        data = str(next(iter(sorted(Path(data).rglob("*.parquet")))))
    print("\ntry next:")
    for words in ("evaluate", "predict"):
        print(printable(f"  gpubp {words} {report['out']} {data}"))
    print(printable(f"  gpubp explain {report['out']} {data} --row 1"), flush=True)


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


def predictions(answers: Predictions, preprocessing: Preprocessing, as_json: bool) -> str:
    """Return predictions as CSV or JSON: the label, and the probability of each class."""
    names = [f"probability_{label}" for label in preprocessing.classes]
    labels = answers.labels.tolist()
    shares = answers.outputs.tolist() if names else [[] for _ in labels]
    if as_json:
        rows = [
            {"prediction": label, **dict(zip(names, share, strict=True))}
            for label, share in zip(labels, shares, strict=True)
        ]
        return json.dumps(rows) + "\n"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["prediction", *names])
    for label, share in zip(labels, shares, strict=True):
        writer.writerow([label, *(f"{value:.6g}" for value in share)])
    return text.getvalue()


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
    for name, version in found["versions"].items():
        grid.add_row(name, version)
    console = Console(highlight=False, markup=False)
    console.print(grid)
    console.print("\nwhat would make it faster:" if found["advice"] else "\nnothing to improve")
    for line in found["advice"]:
        console.print(f"- {line}", soft_wrap=True)
