"""Settings of several networks: one for all, or a value for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpubp.errors import ShapeError


@dataclass(frozen=True)
class Each:
    """A value of its own for each member, wherever `Networks` is given one for all.

    Parameters
    ----------
    values : sequence
        One a member, such as ``gpubp.Each([0.1, 0.2, 0.3])``.
    """

    values: Sequence[Any]


def of_member(settings: dict[str, Any], number: int, count: int) -> dict[str, Any]:
    """Return the settings of one member of so many.

    Raises
    ------
    ShapeError
        When one has other than a value a member.
    """
    own = {}
    for name, value in settings.items():
        if isinstance(value, Each) and len(value.values) != count:
            raise ShapeError(
                f"{name} has values for {len(value.values)} members; {count} are needed"
            )
        own[name] = value.values[number] if isinstance(value, Each) else value
    return own


def weights_of_members(weights: Any, count: int) -> Any:
    """Return weights (members, rows) as one a member, and others as they are."""
    shape: tuple[int, ...] = getattr(weights, "shape", ())
    if len(shape) != 2:
        return weights
    if shape[0] != count:
        raise ShapeError(
            f"sample_weight has shape {tuple(shape)}; ({count}, rows), a row a member, is needed"
        )
    return Each(list(weights))
