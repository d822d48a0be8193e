"""A column of very many names as one input, a code that the network embeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpubp.tables.encoding import Encoded, as_texts, unknown_names
from gpubp.tables.json_fields import is_flag, is_text, is_texts, read_field
from gpubp.tables.table import Table

NO_CODE = -1.0  # which `gpubp.nn.layers.categories` turns into zeros


@dataclass(frozen=True)
class CodedColumn:
    """A column of text as the number of each category; unknown ones have none.

    Attributes
    ----------
    name : str
        Name of the column.
    vocabulary : tuple of str
        The categories that are known, sorted.
    missing : bool
        Whether missing values have a code of their own, the last; so if some were in training.
    """

    name: str
    vocabulary: tuple[str, ...]
    missing: bool

    @property
    def features(self) -> list[str]:
        """Name of the input the column becomes."""
        return [self.name]

    @property
    def codes(self) -> int:
        """Number of different codes."""
        return len(self.vocabulary) + self.missing

    def encode(self, table: Table) -> Encoded:
        """Return the code of every row; raises UnknownNameError if the column is absent."""
        values = as_texts(table, self.name)
        known: dict[str | None, float] = {word: code for code, word in enumerate(self.vocabulary)}
        if self.missing:
            known[None] = len(self.vocabulary)
        codes = np.array([known.get(value, NO_CODE) for value in values], np.float32)
        problems = unknown_names(table, self.name, values, codes == NO_CODE)
        return Encoded(codes[:, None], problems, ["taken as unknown"] * len(problems))

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted vocabulary as plain data."""
        return {
            "type": "coded",
            "name": self.name,
            "vocabulary": list(self.vocabulary),
            "missing": self.missing,
        }

    @classmethod
    def from_dict(cls, data: Any) -> CodedColumn:
        """Return what `to_dict` described; raises ModelFileError if malformed."""
        return cls(
            read_field(data, "name", is_text, "a string"),
            tuple(read_field(data, "vocabulary", is_texts, "a list of different strings")),
            read_field(data, "missing", is_flag, "true or false"),
        )
