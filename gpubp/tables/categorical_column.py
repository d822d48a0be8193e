"""A column of names as inputs of a network, one for each."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import brief
from gpubp.tables.coded_column import CodedColumn
from gpubp.tables.encoding import Encoded
from gpubp.tables.names_column import NamesColumn
from gpubp.tables.table import Table

MOST_INPUTS = 256  # more categories become codes, which the network embeds
FEWEST_ROWS = 2  # of a category that has a code: one row says nothing about others
MOST_CODES = 1 << 16
MANY_DISTINCT = 50  # text with more values than this is left out if most rows differ


class CategoricalColumn(NamesColumn):
    """A column of text as one input for each category: 1 for the row's own, 0 for the others.

    The vocabulary is that of the training part; the last input is for what it does not hold.
    """

    written_as: ClassVar[str] = "categorical"

    @classmethod
    def fit(
        cls, table: Table, name: str, rows: NDArray[np.int64]
    ) -> CategoricalColumn | CodedColumn | str:
        """Fit to the training rows, or return why the column has to be left out.

        A column of very many names is one of codes.
        """
        return cls.from_counts(name, Counter(table.column(name)[rows].tolist()), len(rows))

    @classmethod
    def from_counts(
        cls, name: str, found: Counter[str | None] | None, rows: int
    ) -> CategoricalColumn | CodedColumn | str:
        """Return what `fit` does, from how often each text comes in so many training rows.

        None stands for missing; no counts at all for too many different texts to count.
        """
        if found is None:
            return "it is text with too many different values to count"
        counts = Counter({text: count for text, count in found.items() if text is not None})
        if not counts:
            return "it has no value in the training part"
        if len(counts) > MANY_DISTINCT and 2 * len(counts) > rows:
            return (
                f"it is text with {len(counts)} different values in {rows} training rows,"
                f" such as {brief(next(iter(counts)))}"
            )
        missing = sum(counts.values()) < rows
        if len(counts) == 1 and not missing:
            return f"it holds {brief(next(iter(counts)))} in every training row"
        if len(counts) <= MOST_INPUTS:
            return cls(name, tuple(sorted(counts)), missing)
        frequent = sorted(counts, key=lambda value: (-counts[value], value))[:MOST_CODES]
        kept = sorted(value for value in frequent if counts[value] >= FEWEST_ROWS)
        return CodedColumn(name, tuple(kept or sorted(frequent)), missing)

    @property
    def features(self) -> list[str]:
        """Names of the inputs the column becomes; the last is for unknown categories."""
        slots = [*self.vocabulary, *["(missing)"][: self.missing], "(unknown)"]
        return [f"{self.name}={slot}" for slot in slots]

    def encode(self, table: Table) -> Encoded:
        """Return the inputs of every row; raises UnknownNameError if the column is absent."""
        places, problems = self.places(table)
        features = np.zeros((len(places), self.codes + 1), np.float32)
        features[np.arange(len(places)), places] = 1
        return Encoded(features, problems, ["taken as unknown"] * len(problems))
