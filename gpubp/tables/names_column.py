"""What columns of names share: the names that are known, each with a place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from gpubp.tables.encoding import Problem, as_texts, unknown_names
from gpubp.tables.json_fields import is_flag, is_text, is_texts, read_field
from gpubp.tables.table import Table


@dataclass(frozen=True)
class NamesColumn:
    """A column of text whose names have places from 0 on.

    Attributes
    ----------
    name : str
        Name of the column.
    vocabulary : tuple of str
        The names that are known, sorted.
    missing : bool
        Whether missing values have a place of their own, the last; so if some were in training.
    """

    written_as: ClassVar[str]  # in a model file
    name: str
    vocabulary: tuple[str, ...]
    missing: bool

    @property
    def codes(self) -> int:
        """Number of different places."""
        return len(self.vocabulary) + self.missing

    def places(self, table: Table) -> tuple[NDArray[np.int64], list[Problem]]:
        """Return the place of every row's name, `codes` for unknown ones, and problems of those.

        Raises
        ------
        UnknownNameError
            When the column is absent.
        """
        values = as_texts(table, self.name)
        known: dict[str | None, int] = {word: place for place, word in enumerate(self.vocabulary)}
        if self.missing:
            known[None] = len(self.vocabulary)
        places = (known.get(value, self.codes) for value in values)
        known_places = np.fromiter(places, np.int64, len(values))
        return known_places, unknown_names(table, self.name, values, known_places == self.codes)

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted vocabulary as plain data."""
        return {
            "type": self.written_as,
            "name": self.name,
            "vocabulary": list(self.vocabulary),
            "missing": self.missing,
        }

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Return what `to_dict` described; raises ModelFileError if malformed."""
        return cls(
            read_field(data, "name", is_text, "a string"),
            tuple(read_field(data, "vocabulary", is_texts, "a list of different strings")),
            read_field(data, "missing", is_flag, "true or false"),
        )
