"""A column of very many names as one input, a code that the network embeds."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from gpubp.tables.encoding import Encoded
from gpubp.tables.names_column import NamesColumn
from gpubp.tables.table import Table

NO_CODE = -1.0  # which `gpubp.nn.layers.categories` turns into zeros


class CodedColumn(NamesColumn):
    """A column of text as the number of each category; unknown ones have none."""

    written_as: ClassVar[str] = "coded"

    @property
    def features(self) -> list[str]:
        """Name of the input the column becomes."""
        return [self.name]

    def encode(self, table: Table) -> Encoded:
        """Return the code of every row; raises UnknownNameError if the column is absent."""
        places, problems = self.places(table)
        codes = np.where(places == self.codes, NO_CODE, places).astype(np.float32)
        return Encoded(codes[:, None], problems, ["taken as unknown"] * len(problems))
