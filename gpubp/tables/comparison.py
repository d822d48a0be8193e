"""How good a model is on its test part, beside models that need no network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import import_extra
from gpubp.tables.baselines import baselines
from gpubp.tables.metrics import finite_only
from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import Prepared

NETWORK = "network"  # its measures beside those of simple models
MOST_CELLS = 4_000_000  # of what the linear model is fitted on: inputs, rows, classes multiplied
MOST_ROWS, RESAMPLES = 20_000, 500
FEW_ROWS = 100  # of a test part: a caution is due
RARE = 0.4  # of a fair share: classes are told one by one where one has less
MOST_CLASSES = 20
Z95 = 1.959964  # of the normal distribution


@dataclass(frozen=True)
class Comparison:
    """Measures of the test part.

    Attributes
    ----------
    measures : dict of str to dict
        By model, "network" first: "linear model", where there is one, and "most frequent class" or
        "mean"; each as `gpubp.tables.metrics` returns them.
    interval : tuple of float
        What 95 of 100 test parts of that size would give for accuracy or r2, about.
    classes : tuple of dict
        Where a class is rare: of each class ``label``, ``rows``, ``precision``, ``recall``, ``f1``.
    """

    measures: dict[str, dict[str, float]]
    interval: tuple[float, float] | None
    classes: tuple[dict[str, Any], ...] = ()

    @property
    def simple(self) -> dict[str, dict[str, float]]:
        """The measures of the models that need no network."""
        return {name: each for name, each in self.measures.items() if name != NETWORK}

    def to_dict(self) -> dict[str, Any]:
        """Return the network's measures, and the others under ``baselines``, as JSON holds them."""
        return {
            **finite_only(self.measures[NETWORK]),
            "interval": self.interval,
            "baselines": {name: finite_only(each) for name, each in self.simple.items()},
            "classes": list(self.classes),
        }

    def cautions(self, rows: int, better: str = "") -> list[str]:
        """Return what a reader of the measures is to know, a line each.

        Parameters
        ----------
        rows : int
            Of the test part.
        better : str
            What else there is to go by where these are few.
        """
        network, (simplest, its) = self.measures[NETWORK], [*self.simple.items()][-1]
        lines = []
        if rows < FEW_ROWS:
            other = f", or by {better}" if better else ""
            lines.append(f"{rows} test rows are few to judge by: go by the range{other}")
        worse = its.get("log_loss", math.inf) <= network.get("log_loss", -math.inf)
        if worse or network.get("r2", 1.0) <= its.get("r2", -math.inf):
            lines.append(f"the network is no better than '{simplest}'")
        return lines


def compare(model: TabularModel, prepared: Prepared) -> Comparison | None:
    """Measure a model on the test part, beside a linear model and one that knows the target alone.

    Both are fitted on rows that the network had, of training and validation part, on so many that
    it takes a second or two. None where there is no test part.
    """
    if not prepared.rows("test"):
        return None
    preprocessing, x, y = prepared.preprocessing, prepared.x, prepared.y
    seen = np.sort(np.concatenate([prepared.split.train, prepared.split.validation]))
    tested, classes = prepared.split.test, preprocessing.task == "classification"
    table = prepared.table.take(tested)
    answers = model.predict(table)
    outputs = answers.outputs
    cells = x.shape[1] * (outputs.shape[1] if classes else 1)
    chosen = seen[:: -(-len(seen) * cells // MOST_CELLS)]
    expected = y if classes else preprocessing.goal.decode(y)
    fitted_on = (x[chosen].astype(np.float64), expected[chosen])
    simple = baselines(preprocessing, x[tested].astype(np.float64), expected[tested], fitted_on)
    measures = {NETWORK: model.measured(table, answers), **dict(reversed(simple.items()))}
    counts = np.bincount(y[tested], minlength=outputs.shape[1]) if classes else np.ones(1)
    rare = counts.min() < RARE * len(tested) / len(counts)
    told = classes and rare and len(counts) <= MOST_CLASSES
    per_class = _by_class(prepared, y[tested], outputs) if told else ()
    return Comparison(measures, _interval(y[tested], outputs, classes), per_class)


def wilson(right: int, rows: int) -> tuple[float, float]:
    """Return the interval of Wilson (1927) that holds a share, seen as `right` of `rows`, at 95 %.

    (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).
    """
    share, square = right / rows, Z95**2
    centre = share + square / (2 * rows)
    half = Z95 * math.sqrt(share * (1 - share) / rows + square / (4 * rows**2))
    scale = 1 + square / rows
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _interval(y: NDArray[Any], outputs: NDArray[Any], classes: bool) -> tuple[float, float] | None:
    if classes:
        return wilson(int((outputs.argmax(axis=1) == y).sum()), len(y))
    if len(y) < 3:
        return None
    expected, answered = y[:, 0].astype(np.float64), outputs[:, 0].astype(np.float64)
    generator = np.random.default_rng(0)
    scores = []
    for _ in range(RESAMPLES if len(y) < MOST_ROWS else RESAMPLES // 10):
        rows = generator.integers(0, len(y), len(y))
        spread = ((expected[rows] - expected[rows].mean()) ** 2).sum()
        if spread:
            scores.append(1 - ((expected[rows] - answered[rows]) ** 2).sum() / spread)
    low, high = np.percentile(scores, [2.5, 97.5]) if scores else (math.nan, math.nan)
    return float(low), float(high)


def _by_class(
    prepared: Prepared, expected: NDArray[Any], outputs: NDArray[Any]
) -> tuple[dict[str, Any], ...]:
    labels = prepared.preprocessing.classes
    scores = import_extra("sklearn.metrics", "cli").precision_recall_fscore_support(
        expected, outputs.argmax(axis=1), labels=range(len(labels)), zero_division=0
    )
    return tuple(
        {
            "label": label,
            "rows": int(rows),
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
        }
        for label, precision, recall, f1, rows in zip(labels, *scores, strict=True)
    )
