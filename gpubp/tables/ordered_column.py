"""A column of names that have an order, as the number of each in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.tables.encoding import Encoded, as_texts
from gpubp.tables.json_fields import is_text, is_texts, read_field
from gpubp.tables.numeric_column import NumericColumn
from gpubp.tables.table import Table


@dataclass(frozen=True)
class OrderedColumn:
    """A column of names that have an order; each is its number in it, unknown ones are missing.

    Attributes
    ----------
    name : str
        Name of the column.
    order : tuple of str
        The names, least first.
    ranks : NumericColumn
        How the numbers become inputs.
    """

    name: str
    order: tuple[str, ...]
    ranks: NumericColumn

    @classmethod
    def fit(cls, table: Table, name: str, rows: NDArray[np.int64]) -> OrderedColumn | str:
        """Fit to the training rows, or return why the column has to be left out."""
        order = table.orders[name]
        ranks = NumericColumn.fit(_ranked(table, name, order), name, rows)
        return ranks if isinstance(ranks, str) else cls(name, order, ranks)

    @property
    def features(self) -> list[str]:
        """Names of the inputs the column becomes."""
        return self.ranks.features

    def encode(self, table: Table) -> Encoded:
        """Return the inputs of every row; raises UnknownNameError if the column is absent."""
        return self.ranks.encode(_ranked(table, self.name, self.order))

    def to_dict(self) -> dict[str, Any]:
        """Return order and fitted numbers as plain data."""
        ranks = self.ranks.to_dict()
        return {"type": "ordered", "name": self.name, "order": list(self.order), "ranks": ranks}

    @classmethod
    def from_dict(cls, data: Any) -> OrderedColumn:
        """Return what `to_dict` described; raises ModelFileError if malformed."""
        return cls(
            read_field(data, "name", is_text, "a string"),
            tuple(read_field(data, "order", is_texts, "a list of different strings")),
            NumericColumn.from_dict(read_field(data, "ranks", lambda _: True, "a column")),
        )


def _ranked(table: Table, name: str, order: tuple[str, ...]) -> Table:
    """Return the column as a table of numbers, from 0."""
    places = {text: float(place) for place, text in enumerate(order)}
    texts = as_texts(table, name)
    ranks = np.array([places.get(text, np.nan) if text is not None else np.nan for text in texts])
    return Table(table.name, {name: ranks}, {name: "number"}, row_numbers=table.row_numbers)
