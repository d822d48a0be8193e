"""What a trace's numbers stand for: columns, classes, units of the target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpubp.inspection.trace import Trace
from gpubp.tables.model import TabularModel
from gpubp.tables.table import Table
from gpubp.tables.targets import NumberTarget

MOST_NAMES = 40  # letters of a name


def legend(model: TabularModel, table: Table, row: int, trace: Trace, lines: int) -> list[str]:
    """Return lines that say which input is which column, and what the outputs stand for.

    Parameters
    ----------
    row : int
        Which row was traced, counted from 1.
    lines : int
        Inputs to list at most.
    """
    inputs = model.preprocessing.transform(table.take(np.array([row - 1]))).x[0]
    return [*_inputs(model, inputs.tolist(), lines), *_outputs(model, trace)]


def _inputs(model: TabularModel, inputs: Sequence[float], lines: int) -> list[str]:
    names = [name[:MOST_NAMES] for name in model.preprocessing.features]
    width = max(map(len, names))
    listed = [
        f"  {place:>5}  {name.ljust(width)}  {value:.6g}"
        for place, (name, value) in enumerate(zip(names, inputs, strict=True))
    ]
    more = len(listed) - lines
    shown = listed if more <= 0 else [*listed[:lines], f"  ... {more} more inputs ..."]
    return ["inputs of the network: number, column, standardised value", *shown]


def _outputs(model: TabularModel, trace: Trace) -> list[str]:
    preprocessing, goal = model.preprocessing, model.preprocessing.goal
    answer = trace.layers[-1].output[0]
    if preprocessing.classes:
        named = zip(preprocessing.classes, answer, strict=True)
        shown = [f"  {place:>5}  {label!s:.40}  {p:.6g}" for place, (label, p) in enumerate(named)]
        return ["outputs: neuron, class, probability", *shown[:MOST_NAMES]]
    found = [
        f"outputs, standardised and in units of {preprocessing.target}:",
        f"  answer    {answer[0]:.6g}  {_decoded(model, answer):.6g}",
        f"  expected  {trace.expected[0][0]:.6g}  {_decoded(model, trace.expected[0]):.6g}",
    ]
    if isinstance(goal, NumberTarget):
        scale = goal.standardisation
        found.append(
            f"  {preprocessing.target} = {scale.scale:.6g} * standardised + {scale.mean:.6g}"
        )
    return found


def _decoded(model: TabularModel, outputs: np.ndarray) -> float:
    return float(np.ravel(model.preprocessing.labels(outputs[None]))[0])
