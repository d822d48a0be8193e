"""Measure MLPClassifier beside scikit-learn's on MNIST: defaults, in turn, in one process.

    python benchmarks/estimators.py --mnist FOLDER

FOLDER holds the four files of MNIST. Inputs are the bytes divided by 255, as float64 (what dividing
gives) and as float32.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
import sklearn.neural_network
from cases import mnist
from markdown import circumstances, number, table

import gpubp


@dataclass
class Fitted:
    """One fit: its wall time, the epochs it took, what it scored."""

    seconds: float
    epochs: int
    accuracy: float
    dtype: str


def fit(library: Any, data: tuple[Any, ...], seed: int, most: int) -> Fitted:
    """Fit one library's classifier and score it on the test rows."""
    x, y, test_x, test_y = data
    model = library.MLPClassifier(hidden_layer_sizes=(100,), random_state=seed, max_iter=most)
    start = time.perf_counter()
    model.fit(x, y)
    seconds = time.perf_counter() - start
    return Fitted(seconds, model.n_iter_, model.score(test_x, test_y), model.coefs_[0].dtype.name)


def rows(data: tuple[Any, ...], most: int, rounds: int) -> list[list[str]]:
    """Fit both in turn and return a line of the table for each, with medians over the rounds."""
    libraries = {"scikit-learn": sklearn.neural_network, "gpubp": gpubp}
    found: dict[str, list[Fitted]] = {name: [] for name in libraries}
    for seed in range(rounds):
        for name, library in libraries.items():
            found[name].append(fit(library, data, seed, most))
            print(name, found[name][-1], file=sys.stderr)
    ratios = [a.seconds / b.seconds for a, b in zip(*found.values(), strict=True)]
    an_epoch = [
        a.seconds / a.epochs * b.epochs / b.seconds for a, b in zip(*found.values(), strict=True)
    ]
    lines = []
    for name, fits in found.items():
        lines.append(
            [
                data[0].dtype.name,
                str(most),
                name,
                fits[0].dtype,
                number(statistics.median(each.seconds for each in fits)),
                str(statistics.median(each.epochs for each in fits)),
                f"{min(each.accuracy for each in fits):.4f}",
                number(statistics.median(ratios)) if name == "gpubp" else "",
                number(statistics.median(an_epoch)) if name == "gpubp" else "",
            ]
        )
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", required=True, help="folder of the four MNIST files")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    x, y, test_x, test_y = mnist(options.mnist)
    found = []
    for dtype in ("float64", "float32"):
        scale = np.asarray(255, dtype)
        data = (x / scale, y, test_x / scale, test_y)
        found += rows(data, 200, options.rounds) if dtype == "float64" else []
        found += rows(data, 10, options.rounds)
    head = ["X", "max_iter", "library", "computed in", "seconds", "epochs", "worst accuracy"]
    head += ["scikit-learn / gpubp", "the same an epoch"]
    print("# MLPClassifier(hidden_layer_sizes=(100,)) on MNIST\n")
    print(circumstances(f"scikit-learn {sklearn.__version__}"))
    print(table(head, found))
    print(
        f"\nMedians over {options.rounds} rounds, each with its own random_state, the libraries in"
        " turn; ratios are medians of the ratios within a round. All settings are defaults but"
        " those named; 200 is the default of max_iter, and both end before it by the same rule."
    )


if __name__ == "__main__":
    main()
