"""A column of free text as inputs of a network: its words, hashed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import import_extra
from gpubp.tables.encoding import Encoded, as_texts
from gpubp.tables.json_fields import is_text, read_field
from gpubp.tables.table import Table

WIDTH = 32  # inputs that a column of text becomes
WORDS = 3.0  # in a text, in the mean, from which on it is no name


@dataclass(frozen=True)
class TextColumn:
    """A column of free text: each word adds 1 or -1 to the input that its hash names.

    The sums of a row are divided by their length (Weinberger et al. 2009; scikit-learn's
    `HashingVectorizer`).

    Attributes
    ----------
    name : str
        Name of the column.
    width : int
        Inputs that it becomes.
    """

    name: str
    width: int = WIDTH

    @classmethod
    def fit(cls, table: Table, name: str, rows: NDArray[np.int64]) -> TextColumn | None:
        """Return the column if its texts are of several words, else None."""
        texts = [text for text in table.column(name)[rows] if text is not None]
        words = sum(len(text.split()) for text in texts)
        return cls(name) if texts and words >= WORDS * len(texts) else None

    @property
    def features(self) -> list[str]:
        """Names of the inputs the column becomes."""
        return [f"{self.name}: words {place}" for place in range(self.width)]

    def encode(self, table: Table) -> Encoded:
        """Return the inputs of every row; 0 where a text is missing.

        Raises
        ------
        UnknownNameError, MissingExtraError
            When the column is absent, or scikit-learn is not installed.
        """
        make = import_extra("sklearn.feature_extraction.text", "sklearn").HashingVectorizer
        texts = ["" if text is None else text for text in as_texts(table, self.name)]
        hashed = make(n_features=self.width).transform(texts).toarray()
        return Encoded(hashed.astype(np.float32), [], [])

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return {"type": "text", "name": self.name, "width": self.width}

    @classmethod
    def from_dict(cls, data: Any) -> TextColumn:
        """Return what `to_dict` described; raises ModelFileError if malformed."""
        return cls(
            read_field(data, "name", is_text, "a string"),
            read_field(data, "width", _is_width, "a whole number from 1 to 4096"),
        )


def _is_width(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 4096
