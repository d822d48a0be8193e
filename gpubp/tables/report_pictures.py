"""Pictures of a report, drawn by Matplotlib as SVG within the page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import gpubp.plots as plots
from gpubp.errors import import_extra

MOST_LINES = 5  # classes in a picture of dependence
MOST_DATES = 5  # beside an axis


def picture(draw: Callable[[Any], Any], height: float = 0) -> Any:
    """Return what is drawn as SVG within the page, its text as text; heights are in inches."""
    matplotlib = import_extra("matplotlib", "report")
    figure = import_extra("matplotlib.figure", "report").Figure(figsize=(5.2, max(3.6, height)))
    settings, file = {"svg.fonttype": "none", "svg.hashsalt": "gpubp"}, io.StringIO()
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # signs that only the browser's font has
        draw(figure.subplots())
        figure.tight_layout()
        figure.savefig(file, format="svg", metadata={"Date": None})
    svg = re.sub(r"^.*?(?=<svg)", "", file.getvalue(), flags=re.S)
    return import_extra("markupsafe", "report").Markup(svg)


def draw_confusion(true: Any, answered: Any, classes: Sequence[Any], axes: Any) -> None:
    """Draw how many rows of each class were taken for each, with the classes by name."""
    plots.plot_confusion(true, answered, range(len(classes)), axes)
    names = [plots.literal(str(each)) for each in classes]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)


def draw_dependence(
    column: str, kind: str, dependences: Mapping[str, Any], classes: Sequence[str], axes: Any
) -> None:
    """Draw the mean answers of a column's values, on the scale of all columns drawn.

    Parameters
    ----------
    kind : str
        What the column holds: "number", "text", "bool" or "time".
    dependences : mapping
        By column, values and answers as `partial_dependence` returns them.
    classes : sequence of str
        Names of the outputs; none for numbers. Of two classes the second is drawn.
    """
    values, answers = dependences[column]
    lines = [1] if len(classes) == 2 else np.argsort(-np.ptp(answers, axis=0))[:MOST_LINES].tolist()
    are_names = isinstance(values[0], str)
    places = range(len(values)) if are_names else values
    if kind == "time":
        dates = import_extra("matplotlib.dates", "report")
        places = np.array(values).astype("datetime64[s]")
        where = dates.AutoDateLocator(maxticks=MOST_DATES)
        axes.xaxis.set_major_locator(where)
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(where))
    style = {"marker": "o", "markersize": 7, "linestyle": ""} if are_names else {"marker": "."}
    for line in lines:
        label = plots.literal(classes[line]) if classes else None
        axes.plot(places, answers[:, line], label=label, **style)
    if are_names:
        shown = [plots.literal(value) for value in values]
        axes.set_xticks(range(len(values)), shown, rotation=30, ha="right")
    axes.set_ylim(_limits(dependences, len(classes)))
    axes.set_xlabel(plots.literal(column))
    axes.set_ylabel("probability" if classes else "answer")
    if classes:
        axes.legend(fontsize="small")


def _limits(dependences: Mapping[str, Any], classes: int) -> tuple[float, float]:
    """Return the lowest and highest answer drawn of any column, with some room around."""
    drawn = [answers if classes != 2 else answers[:, 1] for _, answers in dependences.values()]
    low, high = min(map(np.min, drawn)), max(map(np.max, drawn))
    room = 0.05 * (high - low) or 1
    return low - room, high + room
