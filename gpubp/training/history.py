"""What a fit did, epoch by epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from gpubp.errors import import_extra
from gpubp.text import ShownAsText


@dataclass(repr=False)
class History(ShownAsText):
    """What a fit did, as plain data.

    Attributes
    ----------
    loss : list of float
        Mean training loss of each epoch, measured while the weights changed.
    validation_loss : list of float
        Loss on the validation data after each epoch; empty without such data.
    seconds : list of float
        Wall time of each epoch, validation included.
    stopped : str
        Why training ended before its last epoch: "", "early stopping", "time limit", "interrupted"
        or "diverged".
    metrics : dict of str to list of float
        What callbacks went by besides, after each epoch, by name; see `EarlyStopping`.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    stopped: str = ""
    metrics: dict[str, list[float]] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """Number of epochs that were finished."""
        return len(self.loss)

    def leave_out_unfinished(self) -> None:
        """Leave out the epoch whose seconds are lacking: it was ended while it was measured."""
        for curve in (self.loss, self.validation_loss, *self.metrics.values()):
            del curve[len(self.seconds) :]
        self.metrics = {name: curve for name, curve in self.metrics.items() if curve}

    def to_dict(self) -> dict[str, Any]:
        """Return the history as a dictionary of lists and one string; metrics if there are any."""
        described = asdict(self)
        if not self.metrics:
            del described["metrics"]
        return described

    def columns(self) -> dict[str, list[Any]]:
        """Return what there is of every epoch: epoch, loss, validation_loss, metrics, seconds."""
        columns: dict[str, list[Any]] = {"epoch": list(range(1, self.epochs + 1))}
        columns["loss"] = self.loss
        if self.validation_loss:
            columns["validation_loss"] = self.validation_loss
        columns |= self.metrics
        if self.seconds or not self.loss:
            columns["seconds"] = self.seconds
        return columns

    @classmethod
    def from_dict(cls, data: Any) -> History:
        """Return what `to_dict` described.

        Raises
        ------
        ValueError
            When it describes no history.
        """
        names = {each.name for each in fields(cls)}
        if not isinstance(data, dict) or not data.keys() <= names:
            raise ValueError("a history has other fields")
        history = cls(**data)
        curves = (history.loss, history.validation_loss, history.seconds, *history.metrics.values())
        for curve in curves:
            if not isinstance(curve, list) or not all(type(each) in (int, float) for each in curve):
                raise ValueError("a history holds a curve that is no list of numbers")
            if len(curve) not in (0, history.epochs):
                raise ValueError("a history holds curves of different lengths")
        return history

    def __repr__(self) -> str:
        """Say what came out of it, in one line."""
        parts = [f"{self.epochs} epochs"]
        if self.loss:
            parts.append(f"loss {self.loss[-1]:.4g}")
        if self.validation_loss:
            best = self._best_epoch
            parts.append(f"validation loss {self.validation_loss[-1]:.4g}")
            parts.append(f"best {self.validation_loss[best]:.4g} after epoch {best + 1}")
        parts += [f"{name} {values[-1]:.4g}" for name, values in self.metrics.items()]
        parts += [f"{sum(self.seconds):.3g} s"] if self.seconds else []
        parts += [f"stopped: {self.stopped}"] if self.stopped else []
        return f"History({', '.join(parts)})"

    @property
    def _best_epoch(self) -> int:
        return min(range(len(self.validation_loss)), key=self.validation_loss.__getitem__)

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame, a row an epoch.

        Raises
        ------
        MissingExtraError
            When pandas is not installed.
        """
        frame = import_extra("pandas", "pandas").DataFrame(self.columns())
        return frame.set_index("epoch")

    def plot(self, axes: Any = None) -> Any:
        """Draw the losses and return matplotlib's axes.

        Parameters
        ----------
        axes : matplotlib.axes.Axes or None
            Where to draw; None makes a new figure.

        Raises
        ------
        MissingExtraError
            When matplotlib is not installed.
        """
        if axes is None:
            _, axes = import_extra("matplotlib.pyplot", "plot").subplots()
        epochs = range(1, self.epochs + 1)
        alone = "o" if self.epochs == 1 else ""  # a line of one point would not be seen
        axes.plot(epochs, self.loss, marker=alone, label="training")
        if self.validation_loss:
            best = self._best_epoch
            (line,) = axes.plot(epochs, self.validation_loss, marker=alone, label="validation")
            value = self.validation_loss[best]
            axes.plot(
                best + 1,
                value,
                linestyle="",
                marker="o",
                color=line.get_color(),
                label=f"best: {value:.4g} after epoch {best + 1}",
            )
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss")
        axes.xaxis.get_major_locator().set_params(integer=True)
        if self.epochs == 1:
            axes.set_xticks([1])
        axes.legend()
        return axes
