"""How far answers may be off, learnt from rows that were held out: split conformal prediction.

Vovk, Gammerman and Shafer 2005; Lei et al. 2018. The held-out rows are grouped by the answer
(Mondrian conformal prediction), so that intervals are wider where the errors are larger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.checks import check_share
from gpubp.tables.json_fields import is_finite, read_field

LEVELS = np.linspace(0, 1, 201)
ROWS_A_GROUP, MOST_GROUPS = 200, 10


def levels_of(coverage: float, name: str = "coverage") -> tuple[float, float]:
    """Return the levels between which such a share of the targets lies, which has a name.

    Raises
    ------
    ConfigurationError
        When the share is not between 0 and 1.
    """
    check_share(**{name: coverage})
    return (1 - coverage) / 2, (1 + coverage) / 2


@dataclass(frozen=True)
class Residuals:
    """Quantiles of expected - answered on held-out rows, for groups of answers.

    Attributes
    ----------
    edges : tuple of float, (groups - 1,)
        Answers that part the groups, increasing.
    quantiles : tuple of tuple of float, (groups, levels)
        The quantiles at `LEVELS`.
    rows : tuple of int, (groups,)
        Held-out rows of each group.
    """

    edges: tuple[float, ...]
    quantiles: tuple[tuple[float, ...], ...]
    rows: tuple[int, ...]

    @classmethod
    def of(cls, answered: NDArray[Any], expected: NDArray[Any]) -> Residuals:
        """Return the quantiles for answers and expected values, both (rows,)."""
        groups = max(1, min(MOST_GROUPS, len(answered) // ROWS_A_GROUP))
        edges = np.unique(np.quantile(answered, np.linspace(0, 1, groups + 1)[1:-1]))
        found = np.searchsorted(edges, answered, side="right")
        kept = [expected[found == group] - answered[found == group] for group in np.unique(found)]
        if len(kept) <= len(edges):  # an edge with no row on one side
            edges, kept = edges[:0], [expected - answered]
        return cls(
            tuple(edges.tolist()),
            tuple(tuple(np.quantile(rest, LEVELS).tolist()) for rest in kept),
            tuple(map(len, kept)),
        )

    def at(self, answered: NDArray[Any], level: float) -> NDArray[np.float64]:
        """Return the quantile at a level for every answer, (rows,): what is to be added to it.

        A level above one half is raised to the next rank among one row more, one below lowered, so
        that an interval covers no less than it says (Lei et al. 2018).
        """
        check_share(level=level)
        groups = np.searchsorted(np.asarray(self.edges), answered, side="right")
        offsets = [
            np.interp(_widened(level, rows), LEVELS, quantiles)
            for quantiles, rows in zip(self.quantiles, self.rows, strict=True)
        ]
        return np.asarray(offsets)[groups]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        quantiles = [list(each) for each in self.quantiles]
        return {"edges": list(self.edges), "quantiles": quantiles, "rows": list(self.rows)}

    @classmethod
    def from_dict(cls, data: Any) -> Residuals:
        """Return what `to_dict` described; raises ModelFileError if malformed."""
        edges = read_field(data, "edges", _are_finite, "a list of finite floats")
        groups = len(edges) + 1

        def are_quantiles(value: Any) -> bool:
            rows = isinstance(value, list) and len(value) == groups
            return rows and all(_are_finite(row) and len(row) == len(LEVELS) for row in value)

        def are_counts(value: Any) -> bool:
            listed = isinstance(value, list) and len(value) == groups
            return listed and all(type(each) is int and each > 0 for each in value)

        quantiles = read_field(data, "quantiles", are_quantiles, f"{groups} lists of quantiles")
        rows = read_field(data, "rows", are_counts, f"{groups} whole numbers above 0")
        return cls(tuple(edges), tuple(map(tuple, quantiles)), tuple(rows))


def _widened(level: float, rows: int) -> float:
    """Return the level that a quantile of so many rows is taken at."""
    beyond = level * (rows + 1) / rows if level > 0.5 else (level * (rows + 1) - 1) / rows
    return min(max(beyond, 0.0), 1.0)


def _are_finite(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_finite, value))
