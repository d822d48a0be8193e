"""Kernels of losses, with a warp for each row; `kernel_table` says how they are written."""

from __future__ import annotations

from typing import NamedTuple

from gpubp.backends.formulas.losses import CLASS_LOSSES, KERNELS
from gpubp.backends.gpu.elementwise import CLOCK, Elementwise, row_kernel


class LossOfRow(NamedTuple):
    """A loss as part of a kernel with a warp for each row.

    Attributes
    ----------
    name : str
        Tells it from the others.
    inputs : str
        What it reads besides y.
    operation : str
        Writes the row's gradient and its loss.
    """

    name: str
    inputs: str
    operation: str


def loss_of_row(
    name: str, weighted: bool, scheduled: bool, y: str = "&y[at]", dy: str = "&dy[at]"
) -> LossOfRow:
    """Make a loss; the rows weigh 1 / batch each, or their own weight over that of all.

    Its own setting is a number, or `scheduled`: the one that the clock selects. `y` and `dy` are
    where the row's outputs are, and where its gradient goes.
    """
    classes = name in CLASS_LOSSES
    expected, value = ("int64", "expected[row]") if classes else ("T", "&expected[at]")
    share, inputs = "scale", "T scale"
    if weighted:
        share, inputs = (
            "(total[0] > T(0) ? weight[row] / total[0] : T(0))",
            "raw T weight, raw T total",
        )
    own, parameter = "T parameter", "parameter"
    if scheduled:
        own, parameter = f"raw float64 parameters, {CLOCK}", "T(parameters[now[gpubp::SETTINGS]])"
    return LossOfRow(
        f"{name}{'_weighted' if weighted else ''}{'_scheduled' if scheduled else ''}",
        f"raw {expected} expected, {own}, {inputs}, raw float32 scaling",
        f"const T mean = gpubp::{name}_row({y}, {value}, {dy}, columns,"
        f" T({share} * T(scaling[gpubp::SCALE])), {parameter}, lanes);"
        " if (lanes.leads()) loss[row] = mean",
    )


def _loss(name: str, weighted: bool, scheduled: bool = False) -> Elementwise:
    one = loss_of_row(name, weighted, scheduled)
    return row_kernel(
        f"raw T y, {one.inputs}", "raw S dy, raw T loss", f"gpubp_{one.name}", one.operation
    )


LOSS = {name: _loss(name, weighted=False) for name in KERNELS}
WEIGHTED_LOSS = {name: _loss(name, weighted=True) for name in KERNELS}
# Those whose setting may change with the step, without and with weights
SCHEDULED_LOSS = tuple(
    {name: _loss(name, weighted, True) for name, loss in KERNELS.items() if loss.plain}
    for weighted in (False, True)
)
ALL = (
    *LOSS.values(),
    *WEIGHTED_LOSS.values(),
    *SCHEDULED_LOSS[False].values(),
    *SCHEDULED_LOSS[True].values(),
)
