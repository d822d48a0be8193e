"""What reports of measurements are made of: medians, ratios, Markdown tables."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import gpubp

Rounds = dict[str, list[float]]  # a peer's name -> its seconds in each round


def ratio(rounds: Rounds, other: str, own: str) -> float | None:
    """Return the median over the rounds of other / own; None where one is missing."""
    if other not in rounds or own not in rounds:
        return None
    return statistics.median(a / b for a, b in zip(rounds[other], rounds[own], strict=True))


def median(rounds: Rounds, name: str) -> float | None:
    """Return a peer's median seconds."""
    return statistics.median(rounds[name]) if name in rounds else None


def fastest(rounds: Rounds, names: Sequence[str]) -> str:
    """Return the peer with the least median; "" where there is none."""
    found = [name for name in names if name in rounds]
    return min(found, key=lambda name: statistics.median(rounds[name])) if found else ""


def circumstances(*others: str) -> str:
    """Return what every report begins with: the command, the day, the machine and versions."""
    versions = [f"Python {platform.python_version()}", f"NumPy {np.__version__}", *others]
    return (
        f"    {Path(sys.executable).name} {' '.join(sys.argv)}\n\n"
        f"{datetime.date.today()}, {platform.platform()}, {os.cpu_count()} cores,"
        f" {', '.join(versions)}, gpubp {gpubp.__version__}"
        f" ({gpubp.get_backend('cpu').device})\n"
    )


def processor() -> str:
    """Name the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    return f"{fields.get('model name')} (family {fields.get('cpu family')})"


def number(value: float | None) -> str:
    """Return a number with two digits after the point."""
    return "" if value is None else f"{value:.2f}"


def row(cells: list[str]) -> str:
    """Return a line of a table."""
    return "| " + " | ".join(cells) + " |"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table."""
    return "\n".join(map(row, [head, ["---"] * len(head), *rows]))
