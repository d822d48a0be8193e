"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpubp.inspection.page import LANGUAGES
from gpubp.tables.evaluated_rows import PARTS
from gpubp.tables.table import BUNDLED

_DATA = (
    "A file: CSV, Parquet, Feather, JSON lines, xlsx, zip; - for standard input; a folder of"
    " Parquet files to train on; or one of: " + ", ".join(BUNDLED) + "."
)
Data = Annotated[str, typer.Argument(help=_DATA, show_default=False)]
Model = Annotated[Path, typer.Argument(help="A model file.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON alone, for scripts.")]
BackendName = Annotated[str, typer.Option("--backend", help="cpu, gpu, gpu:1 or auto.")]
Separator = Annotated[
    str | None,
    typer.Option("--sep", help="What separates the cells of a CSV file; tab for a tab."),
]
Decimal = Annotated[
    str | None, typer.Option("--decimal", help="The decimal mark of numbers: . or a comma.")
]
Missing = Annotated[
    list[str] | None,
    typer.Option("--missing", help="A cell that holds no value, such as -999; repeatable."),
]
NoHeader = Annotated[
    bool,
    typer.Option("--no-header", help="The first line is data; columns are column1, column2, ..."),
]
Part = Annotated[
    str,
    typer.Option(help=f"{', '.join(PARTS)}: which rows; test are those that training did not use."),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding", help="Of a CSV file that is not UTF-8, such as cp1251; else cp1252 is tried."
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Write over a file that is no model of this target."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse categories not seen in training.")]
Language = Annotated[str, typer.Option(help=f"Language of the page: {', '.join(LANGUAGES)}.")]
