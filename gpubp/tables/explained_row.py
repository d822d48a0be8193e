"""A step of backpropagation on one row of a table, and what that row should give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpubp.inspection.trace import Trace


@dataclass(frozen=True)
class ExplainedRow:
    """A step on a row.

    Attributes
    ----------
    trace : Trace
        Its numbers.
    row : int
        Which row, counted from 1.
    target : str
        Name of the target column.
    expected : str
        What the step was told to reach: a class, or a number in the units of the column.
    is_own : bool
        Whether that is the model's own answer, as the row has no target.
    """

    trace: Trace
    row: int
    target: str
    expected: str
    is_own: bool

    def __str__(self) -> str:
        if self.is_own:
            return (
                f"row {self.row} has no {self.target}; the model's own answer is expected:"
                f" {self.expected}"
            )
        return f"expected {self.target} of row {self.row}: {self.expected}"
