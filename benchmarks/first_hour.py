"""The first hour of a person with a table: eight tables, broken in many ways, and what is said.

python benchmarks/first_hour.py [--only WORD]

Each table is trained on by the command, as a stranger would, with the fast preset and two epochs.
What the command says is printed for a person to read: was it understood, was it said, does it help?
"""

from __future__ import annotations

import argparse
import csv
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

Rows = list[list[str]]
ROWS = 120
RANDOM = np.random.default_rng(0)


def people() -> tuple[Rows, str]:
    """Names, numbers and a class."""
    age, hours = RANDOM.integers(18, 80, ROWS), RANDOM.normal(38, 9, ROWS)
    town = RANDOM.choice(["Shiraz", "Oslo", "Lima"], ROWS)
    rich = np.where(age + hours > 85, "yes", "no")
    rows = [[*map(str, each)] for each in zip(age, hours.round(2), town, rich, strict=True)]
    return [["age", "hours", "town", "rich"], *rows], "rich"


def houses() -> tuple[Rows, str]:
    """Numbers and a price with a long tail."""
    size, year = RANDOM.lognormal(4.5, 0.4, ROWS), RANDOM.integers(1900, 2020, ROWS)
    price = np.exp(RANDOM.normal(0, 1.2, ROWS)) * size * 40
    rows = [[f"{a:.1f}", str(b), f"{c:.2f}"] for a, b, c in zip(size, year, price, strict=True)]
    return [["size", "year", "price"], *rows], "price"


def grades() -> tuple[Rows, str]:
    """Whole numbers as a target."""
    a, b = RANDOM.normal(size=(2, ROWS))
    grade = np.clip(np.round(4 + a + b), 1, 6).astype(int)
    return [
        ["a", "b", "grade"],
        *([f"{x:.3f}", f"{y:.3f}", str(z)] for x, y, z in zip(a, b, grade, strict=True)),
    ], "grade"


def sales() -> tuple[Rows, str]:
    """Days in order and a number."""
    days = np.datetime64("2024-01-01") + np.arange(ROWS)
    sold = 100 + 30 * np.sin(np.arange(ROWS) / 7) + RANDOM.normal(0, 5, ROWS)
    return [
        ["day", "sold"],
        *([str(d), f"{s:.1f}"] for d, s in zip(days, sold, strict=True)),
    ], "sold"


def reviews() -> tuple[Rows, str]:
    """Free text and a class."""
    good, bad = (["fine", "warm", "quick", "kind"], ["cold", "late", "rude", "slow"])
    rows = []
    for number in range(ROWS):
        words = RANDOM.choice(good if number % 2 else bad, 6)
        rows.append([f"it was {' and '.join(words)}, {number} times", "yn"[number % 2]])
    return [["review", "again"], *rows], "again"


def frauds() -> tuple[Rows, str]:
    """Numbers and a rare class."""
    amount, hour = RANDOM.lognormal(3, 1, 3 * ROWS), RANDOM.integers(0, 24, 3 * ROWS)
    found = np.where(amount * (hour < 6) > np.quantile(amount * (hour < 6), 0.95), "True", "False")
    rows = [[f"{a:.2f}", str(b), c] for a, b, c in zip(amount, hour, found, strict=True)]
    return [["amount", "hour", "fraud"], *rows], "fraud"


def towns() -> tuple[Rows, str]:
    """Very many names, most of them of one row, and a number."""
    names = [f"town {number}" for number in RANDOM.zipf(1.3, 20 * ROWS) % 1000]
    rent = [300 + 40 * (len(name) % 5) + RANDOM.normal(0, 10) for name in names]
    return [["town", "rent"], *([a, f"{b:.2f}"] for a, b in zip(names, rent, strict=True))], "rent"


def switches() -> tuple[Rows, str]:
    """Yes and no, whole numbers, and a number to be predicted."""
    on, level = RANDOM.integers(0, 2, ROWS), RANDOM.integers(1, 4, ROWS)
    power = 10.0 * on * level + RANDOM.normal(0, 1, ROWS)
    names = np.array(["low", "middle", "high"])[level - 1]
    rows = [[str(bool(a)), b, f"{c:.3f}"] for a, b, c in zip(on, names, power, strict=True)]
    return [["on", "level", "power"], *rows], "power"


def edited(change: Callable[[int, list[str]], list[str]]) -> Callable[[Rows], Rows]:
    """Return what changes every row but the header."""
    return lambda rows: [rows[0], *(change(n, row) for n, row in enumerate(rows[1:]))]


def column(place: int, change: Callable[[int, str], str]) -> Callable[[Rows], Rows]:
    """Return what changes one column."""
    return edited(lambda n, row: [change(n, v) if k == place else v for k, v in enumerate(row)])


def text(rows: Rows, separator: str = ",") -> str:
    """Return rows as CSV."""
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="\n").writerows(rows)
    return out.getvalue()


def sevenths(mark: str) -> Callable[[int, str], str]:
    """Return what puts a mark in every seventh row."""
    return lambda n, value: mark if n % 7 == 3 else value


def money(n: int, value: str) -> str:
    """Write a number as an amount of money."""
    return f"${float(value):,.2f}"


# name: (table, what is done to its rows, what is done to its text)
Break = tuple[Callable[[], tuple[Rows, str]], Callable[[Rows], Rows], Callable[[Rows], bytes]]


def plain(rows: Rows) -> bytes:
    """Return rows as a usual CSV file."""
    return text(rows).encode()


def kept(rows: Rows) -> Rows:
    """Change nothing."""
    return rows


BREAKS: dict[str, Break] = {
    "as it is": (people, kept, plain),
    "semicolons": (people, kept, lambda rows: text(rows, ";").encode()),
    "tabs": (people, kept, lambda rows: text(rows, "\t").encode()),
    "pipes": (people, kept, lambda rows: text(rows, "|").encode()),
    "decimal commas": (
        houses,
        edited(lambda n, row: [v.replace(".", ",") for v in row]),
        lambda rows: text(rows, ";").encode(),
    ),
    "byte order mark": (people, kept, lambda rows: b"\xef\xbb\xbf" + text(rows).encode()),
    "UTF-16": (people, kept, lambda rows: text(rows).encode("utf-16")),
    "Latin 1": (people, column(2, sevenths("Malmö")), lambda rows: text(rows).encode("latin-1")),
    "no header": (people, lambda rows: rows[1:], plain),
    "double names": (people, lambda rows: [["age", "age", "town", "rich"], *rows[1:]], plain),
    "an empty name": (people, lambda rows: [["", *rows[0][1:]], *rows[1:]], plain),
    "question marks": (people, column(1, sevenths("?")), plain),
    "dashes": (people, column(1, sevenths("-")), plain),
    "n/a": (people, column(1, sevenths("n/a")), plain),
    "-999": (people, column(1, sevenths("-999")), plain),
    "empty cells": (people, column(1, sevenths("")), plain),
    "targets missing": (people, column(3, sevenths("")), plain),
    "money": (houses, column(2, money), plain),
    "percent": (houses, column(0, lambda n, v: f"{v}%"), plain),
    "days as 11.11.2007": (sales, column(0, lambda n, v: ".".join(reversed(v.split("-")))), plain),
    "days in order": (sales, kept, plain),
    "a long tail": (houses, kept, plain),
    "grades": (grades, kept, plain),
    "free text": (reviews, kept, plain),
    "a rare class": (frauds, kept, plain),
    "a thousand names": (towns, kept, plain),
    "yes and no": (switches, kept, plain),
    "a score that decides": (
        frauds,
        lambda rows: [
            [*row, "score" if not n else str((n % 7) + 9 * (row[2] == "True"))]
            for n, row in enumerate(rows)
        ],
        plain,
    ),
    "an id": (
        people,
        lambda rows: [["id", *rows[0]], *([str(n), *row] for n, row in enumerate(rows[1:]))],
        plain,
    ),
    "a copy of the target": (people, lambda rows: [[*row, row[-1] + "2"] for row in rows], plain),
    "copied rows": (people, lambda rows: rows + rows[1:40], plain),
    "a class of one row": (people, column(3, lambda n, v: "maybe" if n == 5 else v), plain),
    "a ragged row": (people, edited(lambda n, row: row[:-1] if n == 50 else row), plain),
    "a stray word": (people, column(1, lambda n, v: "unknown" if n == 60 else v), plain),
    "very many names": (people, column(2, lambda n, v: f"{v} {n}"), plain),
    "one class": (people, column(3, lambda n, v: "yes"), plain),
    "an empty file": (people, lambda rows: [], plain),
}


def main() -> None:
    """Train on each broken table and print what was said."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="only breaks whose name holds this")
    only = parser.parse_args().only
    for name, (make, change, write) in BREAKS.items():
        if only not in name:
            continue
        rows, target = make()
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "t.csv").write_bytes(write(change(rows)))
            words = ["train", "t.csv", "--target", target, "--preset", "fast", "--epochs", "2"]
            done = subprocess.run(
                [sys.executable, "-m", "gpubp", *words],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
        said = done.stderr.strip().splitlines()
        lines = done.stdout.splitlines()
        tested = [line for line in lines if line.startswith(("test ", "caution"))]
        print(f"\n{name}: exit {done.returncode}")
        for line in [*said, *tested]:
            print(f"    {line}")


if __name__ == "__main__":
    main()
