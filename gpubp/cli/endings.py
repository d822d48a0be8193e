"""How a training that is stopped ends: what it learnt is saved, and the exit code says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from gpubp import distributed
from gpubp.cli import output as cli_output
from gpubp.errors import CheckpointError, DivergenceError, GpubpError, OutputPathError
from gpubp.tables.members import has_learnt
from gpubp.tables.model import TabularModel

Stop = KeyboardInterrupt | GpubpError


def train_until_stopped(model: TabularModel, *prepared: Any, **settings: Any) -> Stop | None:
    """Train a model as `TabularModel.train` does, and return what stopped it; None for nothing.

    Raises
    ------
    OutputPathError, CheckpointError
        When a checkpoint fails before anything is learnt that would be lost.
    """
    try:
        model.train(*prepared, **settings)
    except (KeyboardInterrupt, DivergenceError) as error:
        return error
    except (OutputPathError, CheckpointError) as error:
        if not has_learnt(model.net):
            raise
        return error
    return None


def leave_if_stopped(
    stopped: Stop | None, path: Path, processes: distributed.Communicator | None = None
) -> None:
    """Say what stopped a training whose model is saved, and exit with its code; else go on."""
    root = processes is None or processes.is_root
    if isinstance(stopped, KeyboardInterrupt):
        cli_output.note(f"interrupted: the best model so far is saved in {path}", root)
        _leave(processes, 130)
    if stopped is not None:
        diverged = isinstance(stopped, DivergenceError)
        what = "they are" if diverged else "the model so far is"
        cli_output.note(f"error: {stopped}; {what} saved in {path}", root)
        _leave(processes, 1 if diverged else 2)


def _leave(processes: distributed.Communicator | None, code: int) -> None:
    """Exit with a code when all processes are done: the first to leave so ends the others."""
    if processes is not None:
        processes.barrier("the end")
    raise typer.Exit(code)
