"""Text for people: tables, and results that notebooks show as the text they print."""

from __future__ import annotations

import html
from collections.abc import Sequence


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, in columns aligned to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in (head, *rows)
    ]


def number_text(value: float, digits: int = 4) -> str:
    """Return a number for people: so many digits that count, a power of ten only far from 1.

    >>> number_text(25238.4), number_text(0.95934), number_text(3.2e-7)
    ('25,238', '0.9593', '3.2e-07')
    """
    whole = 1e-4 <= abs(value) < 1e12 and len(str(int(abs(value)))) >= digits
    return f"{value:,.0f}" if whole else f"{value:.{digits}g}"


def size_text(size: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size} bytes"


class ShownAsText:
    """What a notebook shows as ``print`` does."""

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"
