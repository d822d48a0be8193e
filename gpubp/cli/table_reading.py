"""Tables as the options of a command say: separators, missing values, columns to drop."""

from __future__ import annotations

import codecs
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace

from gpubp.checks import checked_name
from gpubp.data.csv_form import CsvForm
from gpubp.errors import ConfigurationError, DataError, import_extra
from gpubp.tables.cell_formats import is_number
from gpubp.tables.encoding import as_texts, stray_text
from gpubp.tables.evaluated_rows import told_apart_by
from gpubp.tables.prepared import Prepared
from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.reading import Reading, recognise
from gpubp.tables.table import BUNDLED, Table, read_table

TYPES = ("category", "number")
SEPARATORS = {"tab": "\t", "\\t": "\t"}  # which a shell hardly writes
DECIMALS = (".", ",")


@dataclass(frozen=True)
class TableOptions:
    """What the options of a command say of a table.

    Attributes
    ----------
    separator, decimal : str
        Of a CSV file; "" to find them out.
    missing : tuple of str
        Cells that hold no value.
    header : bool
        Whether the first line of a CSV file names the columns.
    encoding : str
        Of a CSV file; "" to find it out.
    """

    separator: str = ""
    decimal: str = ""
    missing: tuple[str, ...] = ()
    header: bool = True
    encoding: str = ""

    @classmethod
    def of(
        cls,
        sep: str | None,
        decimal: str | None,
        missing: Iterable[str] | None,
        no_header: bool,
        encoding: str | None = None,
    ) -> TableOptions:
        """Return options, checked; raises ConfigurationError for a mark that can be none."""
        separator = SEPARATORS.get(sep or "", sep or "")
        if len(separator.encode()) > 1 or separator in ('"', "\n", "\r"):
            raise ConfigurationError(f"--sep is {sep!r}; one character, such as ';', is needed")
        if decimal is not None and decimal not in DECIMALS:
            raise ConfigurationError(f"--decimal is {decimal!r}; '.' or ',' is needed")
        told = _encoding(encoding) if encoding else ""
        return cls(separator, decimal or "", tuple(missing or ()), not no_header, told)

    @property
    def form(self) -> CsvForm:
        """How a CSV file is written."""
        return CsvForm(self.separator, self.header, self.decimal or ".", self.encoding)

    @property
    def words(self) -> str:
        """The options that a later command needs to read the same file."""
        words = f" --sep {shlex.quote(self.separator)}" if self.separator else ""
        words += f" --encoding {self.encoding}" if self.encoding else ""
        return words + ("" if self.header else " --no-header")


def _encoding(name: str) -> str:
    """Return the name by which Python knows an encoding of text."""
    try:
        "".encode(name)
    except (LookupError, ValueError) as error:  # none, or one of bytes
        raise ConfigurationError(
            f"--encoding is {name!r}; an encoding that Python knows, such as utf-8, cp1252 or"
            " utf-16, is needed"
        ) from error
    return codecs.lookup(name).name


def read_for(
    preprocessing: Preprocessing, data: str, options: TableOptions, keep: Iterable[str] = ()
) -> Table:
    """Return a table as the model of a preprocessing reads it.

    Columns to keep that the model does not read stay as they are written.
    """
    from gpubp.cli import output as cli_output  # which needs Rich

    used = told_apart_by(preprocessing)
    names = [*preprocessing.text_columns, *(name for name in keep if name not in used)]
    table = read_table(data, names, options.form)
    for line in table.notes:
        cli_output.note(line)
    return preprocessing.reading.also_missing(options.missing).apply(table)


def read_to_train(
    data: str, options: TableOptions, drop: str | None = None, types: str = ""
) -> tuple[Table, Reading, list[str]]:
    """Return a table to train on, how its cells were read, and what is to be said of that.

    Parameters
    ----------
    drop
        Names of columns to leave out, with commas between them; None for none.
    types
        What columns hold, such as "age=category,price=number".

    Raises
    ------
    GpubpError
        When the table or an option cannot be used.
    """
    wanted = _types(types)
    names = [name for name, kind in wanted.items() if kind == "category"]
    table = read_table(data, names, options.form)
    told = table.notes
    whole = drop is not None and drop in table.columns  # a name may have commas, or be empty
    for name in [drop or ""] if whole else listed(drop or ""):
        table = _without(table, name)
    for name in wanted:
        table.column(name)  # tells of a name that is none
    kinds = table.kinds | dict.fromkeys(names, "text")
    texts = {name: as_texts(table, name) for name in names}
    table = replace(table, columns=table.columns | texts, kinds=kinds)
    likely = "," if _separator(data, options) == ";" else "."
    table, reading, notes = recognise(table, options.missing, options.decimal, likely, names)
    for name, kind in wanted.items():
        if kind == "number" and table.kinds[name] == "text":
            why = stray_text(table, name) or f"column {name!r} holds names"
            raise DataError(f"--types says that {name!r} holds numbers; {why}")
    return table, reading, [*told, *notes]


def target_of(table: Table, data: str, target: str) -> str:
    """Return the column to predict; a bundled set has one.

    Raises
    ------
    ConfigurationError
        When none is named, or it is missing where the names of the columns are numbers.
    """
    columns = ", ".join(list(table.columns)[:20])
    if target and target not in table.columns and any(map(is_number, table.columns)):
        raise ConfigurationError(
            f"--target {target!r} is no column, and the first line, {columns}, looks like data;"
            " --no-header is needed if it is, and columns are then column1, column2, ..."
        )
    if target or data in BUNDLED:
        return target or BUNDLED[data]
    raise ConfigurationError(f"--target is missing; one of the columns is needed: {columns}")


def keep_reading(prepared: Prepared, reading: Reading, notes: Iterable[str]) -> Prepared:
    """Return a prepared table whose model reads other tables in the same way."""
    preprocessing = prepared.preprocessing
    used = told_apart_by(preprocessing)
    formats = {name: each for name, each in reading.formats.items() if name in used}
    preprocessing = replace(preprocessing, reading=replace(reading, formats=formats))
    return replace(prepared, preprocessing=preprocessing, notes=(*notes, *prepared.notes))


def _separator(data: str, options: TableOptions) -> str:
    if options.separator or data == "-" or data in BUNDLED or data.lower().endswith(".zip"):
        return options.separator
    if data.lower().endswith(".xlsx"):
        return ""
    import_extra("pyarrow", "cli")
    from pathlib import Path

    from gpubp.data.csv_files import separator_of

    return separator_of(Path(data), options.form)


def listed(text: str) -> list[str]:
    """Return the names in a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _without(table: Table, name: str) -> Table:
    if name in table.left_out:
        left_out = {key: what for key, what in table.left_out.items() if key != name}
        return replace(table, left_out=left_out)
    return table.without(name)


def _types(text: str) -> dict[str, str]:
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, mark, kind = part.rpartition("=")
        if not mark or not name:
            raise ConfigurationError(
                f"--types has {part!r}; column=type, such as age=category, is needed"
            )
        checked_name("type", kind, TYPES)
        found[name] = kind
    return found
