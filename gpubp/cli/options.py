"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpubp.inspection.page import LANGUAGES
from gpubp.tables.table import BUNDLED

_DATA = (
    "A CSV or Parquet file, a folder of Parquet files to train on, or one of: "
    + ", ".join(BUNDLED)
    + "."
)
Data = Annotated[str, typer.Argument(help=_DATA, show_default=False)]
Model = Annotated[Path, typer.Argument(help="A model file.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON alone, for scripts.")]
BackendName = Annotated[str, typer.Option("--backend", help="cpu, gpu, gpu:1 or auto.")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse categories not seen in training.")]
Language = Annotated[str, typer.Option(help=f"Language of the page: {', '.join(LANGUAGES)}.")]
