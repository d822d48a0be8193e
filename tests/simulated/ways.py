"""Which of the ways to do the same on the simulated GPU is taken, without timing."""

from __future__ import annotations

from collections.abc import Iterable

# kernels apart, products of the library with all that they can do besides, and tiles
WAYS = ("apart", "epilogues", "tiles")


def taken(way: str, names: Iterable[str]) -> str:
    """Return the one of these names that is this way."""
    others = [name for name in names if name != "tiles"]
    if way == "tiles" and len(others) < len([*names]):
        return "tiles"
    return others[0 if way == "apart" else -1]
