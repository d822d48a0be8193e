"""How people write numbers and days in tables: the few ways that are recognised."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from gpubp.tables.json_fields import is_text, is_texts, read_field

MISSING = ("?", "-", "--", ".", "n/a", "N/A", "na", "NA", "NULL", "null", "None", "none")
FEW_CELLS, FEW_WORDS = 0.01, 3  # of a column: what may be besides its numbers or days
FEWEST_VALUES = 20  # different ones, so that a column holds no codes, of which words may be some
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
    def mark(self) -> str:
        """The decimal mark of numbers."""
        return NUMBERS[self.name][0]

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

    def strays(self, texts: Iterable[str], most: int = 0) -> list[str] | None:
        """Return the cells that are written else; None where they are more than `most`."""
        found: list[str] = []
        for text in texts:
            if self.value(text) is None:
                found.append(text)
                if len(found) > most:
                    return None
        return found

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


def is_number(text: str) -> bool:
    """Tell whether a text is a number in any of the ways that are recognised."""
    sign = next((each for each in SIGNS if each in text), "")
    made = (CellFormat(name, sign) for name in NUMBERS)
    return any(character.isdigit() for character in text) and any(
        each.value(text) is not None for each in made
    )


def recognised(cells: Counter[str], decimal: str, likely: str) -> CellFormat | None:
    """Return how the cells of a column are written; None for names, or where it is doubtful.

    Where nearly all cells of a column with many different numbers or days are written in one way,
    the few words besides are missing values of the format.

    Parameters
    ----------
    cells
        How often each text comes.
    decimal
        The decimal mark that the numbers have; "" where it is not known.
    likely
        The decimal mark to think of first.
    """
    present = {text: count for text, count in cells.items() if text.strip() not in MISSING}
    if not present:
        return None
    whole = _of_all(present, decimal, likely)
    if whole is not None or len(present) < FEWEST_VALUES:
        return whole
    words = _few_words(present, decimal)
    others = present.keys() - words
    count = sum(present[word] for word in words)
    few = words and count <= FEW_CELLS * sum(present.values()) and len(others) >= FEWEST_VALUES
    found = _of_all(others, decimal, likely) if few else None
    missing = (*MISSING, *sorted({word.strip() for word in words}))
    return None if found is None else replace(found, missing=missing)


def _of_all(texts: Collection[str], decimal: str, likely: str) -> CellFormat | None:
    """Return the format that all texts have."""
    signs = [sign for sign in SIGNS if any(sign in text for text in texts)]
    if len(signs) > 1:
        return None
    in_order = sorted(_numbers("".join(signs), decimal), key=lambda made: made.mark != likely)
    for made in in_order:
        if made.strays(texts) is not None:
            return made
    days = [made for made in map(CellFormat, DAYS) if not signs and made.strays(texts) is not None]
    return days[0] if len(days) == 1 else None


def _few_words(texts: Collection[str], decimal: str) -> set[str]:
    """Return the few texts that are neither numbers nor days as the others are; none if many."""
    made = [*_numbers("", decimal), *(each for sign in SIGNS for each in _numbers(sign, decimal))]
    found = [each.strays(texts, FEW_WORDS) for each in (*made, *map(CellFormat, DAYS))]
    return set(min((words for words in found if words), key=len, default=()))


def _numbers(sign: str, decimal: str) -> list[CellFormat]:
    made = (CellFormat(name, sign) for name in NUMBERS)
    return [each for each in made if not decimal or each.mark == decimal]
