"""Several columns of numbers as one target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import ModelFileError
from gpubp.tables.json_fields import is_texts, read_field
from gpubp.tables.standardisation import Standardisation
from gpubp.tables.table import Table
from gpubp.tables.targets import Label, NumberTarget, output_matrix


@dataclass(frozen=True)
class SeveralNumbersTarget:
    """Several target columns of numbers, each standardised for training.

    Attributes
    ----------
    parts : tuple of NumberTarget
        The columns, in the order of the network's outputs.
    """

    parts: tuple[NumberTarget, ...]

    task = "regression"
    classes: tuple[Label, ...] = ()

    @property
    def name(self) -> str:
        """Names of the columns."""
        return ", ".join(part.name for part in self.parts)

    @property
    def outputs(self) -> int:
        """Number of outputs of the network."""
        return len(self.parts)

    def encode(self, table: Table) -> NDArray[np.float32]:
        """Return the standardised values, (rows, targets); raises as `NumberTarget.encode`."""
        return np.hstack([part.encode(table) for part in self.parts])

    def decode(self, outputs: Any) -> NDArray[np.float64]:
        """Return a network's outputs in the units of the columns, (rows, targets)."""
        numbers = output_matrix(outputs, self.outputs)
        columns = [part.decode(numbers[:, [place]]) for place, part in enumerate(self.parts)]
        return np.column_stack(columns)

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted numbers as plain data."""
        scales = [part.standardisation for part in self.parts]
        return {
            "task": self.task,
            "targets": [part.name for part in self.parts],
            "kind": "number",
            "mean": [scale.mean for scale in scales],
            "scale": [scale.scale for scale in scales],
        }

    @classmethod
    def from_dict(cls, data: Any) -> SeveralNumbersTarget:
        """Return what `to_dict` described; raises ModelFileError if malformed."""
        names = read_field(data, "targets", is_texts, "a list of different strings")
        means, scales = (
            read_field(data, field, lambda value: isinstance(value, list), "a list of floats")
            for field in ("mean", "scale")
        )
        if not names or len(names) != len(means) or len(names) != len(scales):
            raise ModelFileError(
                f"preprocessing has {len(names)} targets, {len(means)} means and {len(scales)}"
                " scales; as many of each are needed"
            )
        pairs = zip(names, means, scales, strict=True)
        return cls(
            tuple(
                NumberTarget(name, Standardisation.from_dict({"mean": mean, "scale": scale}))
                for name, mean, scale in pairs
            )
        )
