"""How people write numbers and days in tables: the few ways that are recognised."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gpubp.tables.json_fields import is_text, is_texts, read_field

MISSING = ("?", "-", "--", ".", "n/a", "N/A", "na", "NA", "NULL", "null", "None", "none")
SIGNS = ("$", "€", "£", "¥", "%")  # beside numbers
NUMBERS = {  # by an example: the decimal mark and what stands between thousands
    "1234.5": (".", ""),
    "1,234.5": (".", ","),
    "1 234.5": (".", " "),
    "1'234.5": (".", "'"),
    "1234,5": (",", ""),
    "1.234,5": (",", "."),
    "1 234,5": (",", " "),
}
DAYS = {
    "day.month.year": "%d.%m.%Y",
    "day/month/year": "%d/%m/%Y",
    "month/day/year": "%m/%d/%Y",
    "year-month-day": "%Y-%m-%d",
}
TIMES_OF_DAY = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", "T%H:%M:%S.%f")  # behind a day
_SPACES = str.maketrans("\u00a0\u202f\u2009", "   ")
_EPOCH = datetime.datetime(1970, 1, 1)


@dataclass(frozen=True)
class CellFormat:
    """How the cells of one column are written.

    Attributes
    ----------
    name : str
        One of `NUMBERS` or `DAYS`.
    sign : str
        One of `SIGNS` that stands before or behind the numbers, or "". A currency may be absent
        from a cell, "%" may not.
    missing : tuple of str
        Cells that hold no value.
    """

    name: str
    sign: str = ""
    missing: tuple[str, ...] = MISSING

    @property
    def kind(self) -> str:
        """What the column holds, "number" or "time"."""
        return "number" if self.name in NUMBERS else "time"

    @property
    def words(self) -> str:
        """What is said of the column."""
        what = "numbers" if self.kind == "number" else "days"
        return f"{what} like {self.name}" + (f" with {self.sign}" if self.sign else "")

    def is_missing(self, text: str) -> bool:
        """Tell whether a cell holds no value."""
        return text.strip() in self.missing

    def value(self, text: str) -> float | None:
        """Return the number of a cell, or its seconds since 1970; None where it is written else."""
        text = text.translate(_SPACES).strip()
        if self.name in NUMBERS:
            decimal, thousands = NUMBERS[self.name]
            matched = re.fullmatch(number_pattern(self.name, self.sign), text)
            if matched is None:
                return None
            digits = matched["number"].replace(thousands, "") if thousands else matched["number"]
            number = float(digits.replace(decimal, "."))
            return -number if "-" in (matched["before"], matched["behind"]) else number
        for time in TIMES_OF_DAY:
            try:
                moment = datetime.datetime.strptime(text, DAYS[self.name] + time)
            except ValueError:
                continue
            return (moment - _EPOCH).total_seconds()
        return None

    def fits(self, texts: Iterable[str]) -> bool:
        """Tell whether all cells are written so."""
        return all(self.value(text) is not None for text in texts)

    def written_out(self) -> dict[str, Any]:
        """Return what a program needs that knows no names of formats."""
        if self.name in DAYS:
            times = [DAYS[self.name] + time for time in TIMES_OF_DAY]
            return {"missing": list(self.missing), "times": times}
        decimal, thousands = NUMBERS[self.name]
        return {
            "missing": list(self.missing),
            "pattern": number_pattern(self.name, self.sign),
            "decimal": decimal,
            "thousands": thousands,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {"format": self.name, "sign": self.sign, "missing": list(self.missing)}

    @classmethod
    def from_dict(cls, data: Any) -> CellFormat:
        """Return what `to_dict` described; raises ModelFileError if malformed."""
        known = [*NUMBERS, *DAYS]
        return cls(
            read_field(data, "format", lambda name: is_text(name) and name in known, "a format"),
            read_field(data, "sign", ("", *SIGNS).__contains__, f"one of {SIGNS}"),
            tuple(read_field(data, "missing", is_texts, "a list of different strings")),
        )


@lru_cache
def number_pattern(name: str, sign: str) -> str:
    """Return the regular expression of the numbers that an example and a sign stand for."""
    decimal, thousands = map(re.escape, NUMBERS[name])
    whole = rf"[1-9][0-9]{{0,2}}(?:{thousands}[0-9]{{3}})+|[0-9]+" if thousands else "[0-9]+"
    number = rf"(?P<number>(?:(?:{whole})(?:{decimal}[0-9]*)?|{decimal}[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    front = rf"(?:{re.escape(sign)} ?)?" if sign else ""
    back = rf"(?: ?{re.escape(sign)}){'' if sign == '%' else '?'}" if sign else ""
    before = "" if sign == "%" else front
    return rf"(?P<before>[+-]?) ?{before}(?P<behind>[+-]?){number}{back}"


def recognised(texts: set[str], decimal: str, likely: str) -> CellFormat | None:
    """Return how different cells of a column are written; None for names, or where it is doubtful.

    Parameters
    ----------
    decimal
        The decimal mark that the numbers have; "" where it is not known.
    likely
        The decimal mark to think of first.
    """
    present = {text for text in texts if text.strip() not in MISSING}
    signs = [sign for sign in SIGNS if any(sign in text for text in present)]
    if not present or len(signs) > 1:
        return None
    marks = {decimal} if decimal else {".", ","}
    in_order = sorted(NUMBERS, key=lambda name: NUMBERS[name][0] != likely)
    for name in in_order:
        made = CellFormat(name, "".join(signs))
        if NUMBERS[name][0] in marks and made.fits(present):
            return made
    days = [made for made in map(CellFormat, DAYS) if not signs and made.fits(present)]
    return days[0] if len(days) == 1 else None
