"""Files that a command is to write, checked before any work: none may destroy what is needed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from gpubp.errors import ConfigurationError, ModelFileError
from gpubp.files import check_writable
from gpubp.model_files import read


def check_output(out: Path, inputs: Iterable[str | Path], option: str = "--out") -> None:
    """Find out, before any work is done, whether a file can be written and is none that is read.

    Raises
    ------
    ConfigurationError
        When the path leads to one of the inputs, by whatever spelling or link.
    OutputPathError
        When it cannot be written.
    """
    for source in inputs:
        for file in _files(Path(source)):
            if _same(out, file):
                raise ConfigurationError(
                    f"{option} {out} is {file}, which is read here and would be written over;"
                    " the name of another file is needed"
                )
    check_writable(out)


def check_overwrite(out: Path, target: str, overwrite: bool) -> None:
    """Refuse to write a model over a file that is none, or over one that predicts another target.

    Raises
    ------
    ConfigurationError
        When such a file lies there and `overwrite` is not set; says what it is.
    """
    if overwrite or not out.is_file() or out.stat().st_size == 0:
        return
    found = held_target(out)
    if found is None:
        what = "and is no model of a table"
    elif found != target:
        what = f"and is a model that predicts {found!r}, not {target!r}"
    else:
        return
    raise ConfigurationError(f"{out} exists {what}; another --out, or --overwrite, is needed")


def check_no_model(out: Path) -> None:
    """Raise ConfigurationError when a model of a table lies where something else is to be written.

    It is to be moved or removed by hand.
    """
    found = held_target(out) if out.is_file() else None
    if found is not None:
        raise ConfigurationError(
            f"{out} is a model that predicts {found!r}; the name of another file is needed"
        )


def held_target(path: Path) -> str | None:
    """Return the target of the model in a file; None where it holds no model of a table."""
    try:
        preprocessing = read(path)[1].get("preprocessing")
    except ModelFileError:
        return None
    if not isinstance(preprocessing, dict):
        return None
    return preprocessing.get("target") or ", ".join(preprocessing.get("targets", [])) or None


def _files(source: Path) -> Iterable[Path]:
    """Return the files that are read from an input: itself, or the Parquet files of a folder."""
    return source.rglob("*.parquet") if source.is_dir() else [source]


def _same(first: Path, second: Path) -> bool:
    """Tell whether two paths lead to one file."""
    try:
        return os.path.samefile(first, second)
    except OSError:  # one does not exist
        return first.resolve() == second.resolve()
