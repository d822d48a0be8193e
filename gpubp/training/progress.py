"""The progress display of a fit, drawn by rich where there is a terminal."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from gpubp.training.callbacks import Callback, History

if TYPE_CHECKING:
    from gpubp.network import Network


def progress_display() -> Callback:
    """Return a live bar on a terminal with rich installed, else one line an epoch."""
    if sys.stderr.isatty() and importlib.util.find_spec("rich") is not None:
        return ProgressBar()
    return ProgressLines()


def _losses(history: History) -> str:
    parts = [f"loss {history.loss[-1]:.4f}"] if history.loss else []
    if history.validation_loss:
        parts.append(f"validation {history.validation_loss[-1]:.4f}")
    return "  ".join(parts)


class ProgressLines:
    """One line on standard error for each epoch."""

    def begin(self, net: Network, epochs: int) -> None:
        """Remember how many epochs there are to be."""
        self._epochs = epochs

    def advance(self, history: History, share: float) -> None:
        """Do nothing within an epoch."""

    def epoch_end(self, net: Network, history: History) -> bool:
        """Print the epoch's losses and time."""
        print(
            f"epoch {history.epochs}/{self._epochs}  {_losses(history)}"
            f"  {history.seconds[-1]:.2f} s",
            file=sys.stderr,
        )
        return False

    def end(self, net: Network, history: History) -> None:
        """Do nothing at the end."""


class ProgressBar:
    """A live bar over the epochs on standard error."""

    def begin(self, net: Network, epochs: int) -> None:
        """Draw the empty bar."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._progress: Any = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[losses]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("training", total=epochs, losses="")
        self._progress.start()

    def advance(self, history: History, share: float) -> None:
        """Move the bar within an epoch."""
        self._progress.update(self._task, completed=round(history.epochs + share, 2))

    def epoch_end(self, net: Network, history: History) -> bool:
        """Move the bar and show the epoch's losses."""
        self._progress.update(self._task, completed=history.epochs, losses=_losses(history))
        return False

    def end(self, net: Network, history: History) -> None:
        """Leave the bar as it is and give the terminal back."""
        self._progress.stop()
