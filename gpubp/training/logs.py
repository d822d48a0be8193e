"""Callbacks that write: the history as CSV or for TensorBoard, and the best model."""

from __future__ import annotations

import csv
import importlib.util
import io
import os
import sys
from typing import Any

from gpubp.checks import checked_path
from gpubp.errors import OutputPathError, import_extra
from gpubp.files import check_writable, write_atomically
from gpubp.nn.view import NetworkView
from gpubp.training.callbacks import Callback
from gpubp.training.history import History

WIDE = 80  # columns from which on a terminal has room for a bar beside the words


class CSVLog:
    """Write the history to a CSV file after every epoch: losses, metrics and seconds.

    The file is replaced as a whole, so it can be read at any moment.

    Raises
    ------
    OutputPathError
        From `fit`, before training, when it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path

    def begin(self, net: NetworkView, epochs: int) -> None:
        """Find out whether the file can be written."""
        check_writable(self.path)

    def advance(self, history: History, share: float) -> None:
        """Do nothing within an epoch."""

    def epoch_end(self, net: NetworkView, history: History) -> bool:
        """Write the file; training goes on."""
        columns = history.columns()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        write_atomically(self.path, text.getvalue().encode())
        return False

    def end(self, net: NetworkView, history: History) -> None:
        """Do nothing."""


class TensorBoard:
    """Write losses and times for TensorBoard after every epoch: ``tensorboard --logdir FOLDER``.

    Parameters
    ----------
    folder : path
        Where its event files go; made if there is none.

    Raises
    ------
    MissingExtraError, OutputPathError
        From `fit`, before training, when tensorboardX is not installed or the folder cannot be
        written to.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = checked_path("folder", folder)
        self._writer: Any = None

    def begin(self, net: NetworkView, epochs: int) -> None:
        """Open a new event file in the folder."""
        board = import_extra("tensorboardX", "tensorboard")
        try:
            self._writer = board.SummaryWriter(str(self.folder))
        except OSError as error:
            raise OutputPathError(
                f"cannot write to {self.folder}: {error.strerror or error}; a folder that can be"
                " written to is needed"
            ) from error

    def advance(self, history: History, share: float) -> None:
        """Do nothing within an epoch."""

    def epoch_end(self, net: NetworkView, history: History) -> bool:
        """Write the epoch's numbers; training goes on."""
        names = {"loss": "loss/training", "validation_loss": "loss/validation"}
        for name, values in history.columns().items():
            if name != "epoch":
                self._writer.add_scalar(names.get(name, name), values[-1], history.epochs)
        self._writer.flush()
        return False

    def end(self, net: NetworkView, history: History) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()


class ModelCheckpoint:
    """Save the model after every epoch with a better loss than all before.

    The validation loss counts where there is one. ``fit(checkpoint=...)`` keeps what is needed to
    go on with a training; this keeps a model to use.

    Parameters
    ----------
    path : path
        The model file, replaced when a better one is complete.
    best : bool
        Whether to save only what is better; else after every epoch.

    Raises
    ------
    OutputPathError
        From `fit`, before training, when it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], best: bool = True) -> None:
        self.path, self.best = path, best
        self.best_loss = float("inf")

    def begin(self, net: NetworkView, epochs: int) -> None:
        """Find out whether the file can be written; forget an earlier training."""
        check_writable(self.path)
        self.best_loss = float("inf")

    def advance(self, history: History, share: float) -> None:
        """Do nothing within an epoch."""

    def epoch_end(self, net: Any, history: History) -> bool:
        """Save if it is time; training goes on."""
        loss = (history.validation_loss or history.loss)[-1]
        if loss < self.best_loss or not self.best:
            net.save(self.path)
        self.best_loss = min(loss, self.best_loss)
        return False

    def get_state(self, net: NetworkView) -> dict[str, Any]:
        """Return the best loss."""
        return {"best_loss": self.best_loss}

    def set_state(self, net: NetworkView, state: dict[str, Any]) -> None:
        """Go on with the best loss."""
        self.best_loss = state["best_loss"]

    def end(self, net: NetworkView, history: History) -> None:
        """Do nothing."""


def progress_display() -> Callback:
    """Return a live bar on a terminal with rich installed, else one line an epoch."""
    if sys.stderr.isatty() and importlib.util.find_spec("rich") is not None:
        return ProgressBar()
    return ProgressLines()


def _losses(history: History) -> str:
    parts = [f"loss {history.loss[-1]:.4f}"] if history.loss else []
    if history.validation_loss:
        parts.append(f"validation {history.validation_loss[-1]:.4f}")
    parts += [f"{name} {values[-1]:.4f}" for name, values in history.metrics.items()]
    return "  ".join(parts)


class ProgressLines:
    """One line on standard error for each epoch."""

    def begin(self, net: NetworkView, epochs: int) -> None:
        """Remember how many epochs there are to be."""
        self._epochs = epochs

    def advance(self, history: History, share: float) -> None:
        """Do nothing within an epoch."""

    def epoch_end(self, net: NetworkView, history: History) -> bool:
        """Print the epoch's losses and time."""
        print(
            f"epoch {history.epochs}/{self._epochs}  {_losses(history)}"
            f"  {history.seconds[-1]:.2f} s",
            file=sys.stderr,
        )
        return False

    def end(self, net: NetworkView, history: History) -> None:
        """Do nothing at the end."""


class ProgressBar:
    """A live bar over the epochs on standard error."""

    def begin(self, net: NetworkView, epochs: int) -> None:
        """Draw the empty bar."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.table import Column

        console = Console(stderr=True)
        self._progress: Any = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            *([BarColumn(bar_width=24)] if console.width >= WIDE else []),
            TextColumn("{task.fields[losses]}", table_column=Column(no_wrap=False)),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
            TextColumn("left"),
            console=console,
        )
        self._task = self._progress.add_task("training", total=epochs, losses="")
        self._progress.start()

    def advance(self, history: History, share: float) -> None:
        """Move the bar within an epoch."""
        self._progress.update(self._task, completed=round(history.epochs + share, 2))

    def epoch_end(self, net: NetworkView, history: History) -> bool:
        """Move the bar and show the epoch's losses."""
        self._progress.update(self._task, completed=history.epochs, losses=_losses(history))
        return False

    def end(self, net: NetworkView, history: History) -> None:
        """Leave the bar as it is and give the terminal back."""
        self._progress.stop()
