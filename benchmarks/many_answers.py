"""What several networks and a search are worth: log losses of members, `gpubp tune`.

    python benchmarks/many_answers.py --tables FOLDER [--first-seed 10] [--members] [--tune adult]

FOLDER holds adult.train.csv, adult.test.csv and housing.train.csv. Eight networks are trained at
once, on digits (bundled with scikit-learn) and on adult; the log loss of their mean stands beside
those of the eight. `gpubp tune` searches for so many seconds and trains the best setting that it
found; `gpubp train` with the defaults is given as many seconds as both took together.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markdown import circumstances, table

import gpubp

MEMBERS = 8
TUNED = {  # target; measure, the less the better
    "housing": ("median_house_value", "root_mean_squared_error"),
    "adult": ("income", "log_loss"),
}
Answers = tuple[Any, list[Any]]  # classes of rows that were not trained on; each member's answers


def log_loss(probabilities: Any, classes: Any) -> float:
    """Return the mean of minus the logarithm of what was given to the right class."""
    right = probabilities[np.arange(len(classes)), classes]
    return float(-np.log(np.maximum(right, 1e-15)).mean())


def digits(folder: Path, seed: int) -> Answers:
    """Train 64-64-10 on four fifths of the digits."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(x))
    test, train = order[: len(x) // 5], order[len(x) // 5 :]
    nets = gpubp.Networks([64, 64, 10], MEMBERS, seed=MEMBERS * seed, output="softmax")
    nets.fit(x[train], y[train], epochs=30, batch_size=32)
    return y[test], list(nets.predict(x[test], each=True))


def adult(folder: Path, seed: int) -> Answers:
    """Train the preset "fast", with eight networks, on the training file."""
    import pandas as pd

    train, test = (pd.read_csv(folder / f"adult.{part}.csv") for part in ("train", "test"))
    model = gpubp.TabularClassifier(preset="fast", members=MEMBERS, random_state=seed)
    model.fit(train.drop(columns="income"), train["income"])
    classes = np.searchsorted(model.classes_, test.pop("income"))
    answers = []
    nets = model.model_.nets
    for net in nets:
        model.model_.nets = [net]
        answers.append(model.predict_proba(test))
    return classes, answers


TRAININGS: dict[str, Callable[[Path, int], Answers]] = {"digits": digits, "adult": adult}


def members_table(folder: Path, seeds: range, names: Sequence[str]) -> str:
    """Return the log losses of members and of their mean."""
    rows = []
    for name in names:
        for seed in seeds:
            classes, answers = TRAININGS[name](folder, seed)
            each = [log_loss(one, classes) for one in answers]
            values = [statistics.mean(each), min(each), log_loss(np.mean(answers, axis=0), classes)]
            rows.append([name, str(seed), *(f"{value:.4f}" for value in values)])
    return table(["data", "seed", "mean of the eight", "best of the eight", "their mean"], rows)


def run(words: Sequence[Any], folder: Path) -> tuple[dict[str, Any], float]:
    """Run a command of gpubp; return its report and its seconds."""
    command = [sys.executable, "-m", "gpubp", *map(str, words), "--json"]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report, time.perf_counter() - start


def tune_table(folder: Path, seeds: range, limit: float, names: Sequence[str]) -> str:
    """Return what was found in so many seconds beside the defaults."""
    rows = []
    for name in names:
        target, measure = TUNED[name]
        for seed in seeds:
            common = [folder / f"{name}.train.csv", "--target", target, "--seed", seed]
            common += ["--test", 0.2]
            with tempfile.TemporaryDirectory() as scratch:
                tuned, seconds = run(["tune", *common, "--time-limit", limit], Path(scratch))
                usual, taken = run(["train", *common, "--time-limit", seconds], Path(scratch))
            settings = ", ".join(f"{key} {value}" for key, value in tuned["settings"].items())
            rows.append(
                [
                    *(name, str(seed), measure.replace("_", " ")),
                    *(f"{tuned[measure]:.5g}", f"{usual[measure]:.5g}"),
                    *(f"{seconds:.0f}", f"{taken:.0f}", str(tuned["trials"]), settings),
                ]
            )
    head = ["table", "seed", "on the test rows", "tuned", "default", "seconds", "of the default"]
    return table([*head, "trials", "settings"], rows)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tables", type=lambda text: Path(text).absolute(), required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--time-limit", type=float, default=60, help="seconds of each search")
    parser.add_argument("--members", nargs="*", default=[*TRAININGS], choices=[*TRAININGS])
    parser.add_argument("--tune", nargs="*", default=["housing"], choices=[*TUNED])
    given = parser.parse_args()
    load = "" if not hasattr(os, "getloadavg") else f"load {os.getloadavg()[0]:.1f}"
    print("# What several networks and a search are worth\n")
    print(circumstances(load))
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    if given.members:
        print(f"## Log loss of {MEMBERS} networks on rows that they were not trained on\n")
        print(members_table(given.tables, seeds, given.members), flush=True)
    if given.tune:
        print(f"\n## `gpubp tune --time-limit {given.time_limit:g}` beside the defaults\n")
        print(tune_table(given.tables, seeds, given.time_limit, given.tune))


if __name__ == "__main__":
    main()
