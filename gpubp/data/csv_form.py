"""What a user can say of a CSV file."""

from __future__ import annotations

from typing import NamedTuple


class CsvForm(NamedTuple):
    """How a CSV file is written.

    Attributes
    ----------
    separator : str
        What stands between cells; "" to find it out from the first line.
    header : bool
        Whether the first line names the columns; else they are column1, column2, ...
    decimal : str
        The decimal mark of numbers.
    encoding : str
        The name of a codec of Python; "" for UTF-8, UTF-16 with its mark, or else Windows-1252.
    """

    separator: str = ""
    header: bool = True
    decimal: str = "."
    encoding: str = ""


AS_USUAL = CsvForm()
