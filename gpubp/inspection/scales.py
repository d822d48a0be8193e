"""Whether inputs, targets and loss have the sizes that a network can learn from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array, Backend
from gpubp.backends.formulas.losses import LOSSES
from gpubp.data.batches import Data
from gpubp.nn.backprop import LayerStack
from gpubp.nn.buffers import Buffers
from gpubp.nn.losses import Loss

LARGE_COLUMN, SMALL_COLUMN = 10.0, 0.01  # root mean squares of inputs and targets
# Times the loss of knowing nothing: first outputs without bounds are as far off as they are drawn
FIRST_WORSE, FIRST_WORSE_UNBOUNDED, LATER_WORSE = 2.0, 10.0, 1.1
SETTLED = 100  # steps after which a loss that is a little worse has no excuse


def loss_of_knowing_nothing(
    stack: LayerStack, buffers: Buffers, sample: Data, loss: Loss
) -> float | None:
    """Return the loss of one answer for all rows; None where there is no such number.

    That answer is no opinion about classes, and the mean of the targets of an identity output. The
    output in the buffers is written.
    """
    blind = LOSSES[loss.name].blind
    if blind is not None:
        return blind(stack.sizes[-1])
    if stack.output.name != "identity":
        return None
    buffers.output[...] = sample.expected.mean(axis=0)
    stack.loss(stack.backend, buffers, sample.expected, loss)
    return float(buffers.loss) or None


def scale_findings(stack: LayerStack, inputs: Array, sample: Data) -> list[str]:
    """Name the input and the target farthest from the size that initial weights are drawn for."""
    findings = []
    plain = _columns_read_as_they_are(stack)
    if len(plain):
        sizes = _root_mean_squares(stack.backend, inputs[:, stack.backend.asarray(plain)])
        findings += _finding("input", plain, sizes, "inputs to mean 0 and deviation 1")
    if stack.output.name == "identity":
        sizes = _root_mean_squares(stack.backend, sample.expected)
        remedy = "targets to mean 0 and deviation 1, and the answers back"
        findings += _finding("target", range(len(sizes)), sizes, remedy)
    return findings


def loss_findings(loss: float, blind: float | None, bounded: bool, step: int) -> list[str]:
    """Say when the loss is worse than that of knowing nothing."""
    worse = FIRST_WORSE if bounded else FIRST_WORSE_UNBOUNDED
    if blind is None or loss <= (worse if step < SETTLED else LATER_WORSE) * blind:
        return []
    which = "the loss" if step else "the first loss"
    remedy = "scale the inputs and targets" + (", or lower the learning rate" if step else "")
    return [f"{which} is {loss:.3g} where knowing nothing gives {blind:.3g}: {remedy}"]


def _columns_read_as_they_are(stack: LayerStack) -> NDArray[np.int64]:
    """Return the inputs that are neither codes nor numbers embedded by bins."""
    embedded = np.zeros(stack.sizes[0], bool)
    for column, edges in enumerate(stack.spec.bins):
        embedded[column] |= len(edges) > 0
    for column, count in enumerate(stack.spec.categories):
        embedded[column] |= count > 0
    return np.flatnonzero(~embedded)


def _root_mean_squares(backend: Backend, columns: Array) -> NDArray[np.float64]:
    wide = backend.to_numpy(columns).astype(np.float64)
    return np.asarray(np.sqrt(np.mean(np.square(wide), axis=0)))


def _finding(
    name: str, numbers: range | NDArray[np.int64], sizes: NDArray[np.float64], remedy: str
) -> list[str]:
    """Return what is wrong with the largest column; where that is small, all are."""
    place = int(np.argmax(sizes))
    if sizes[place] == 0 or SMALL_COLUMN <= sizes[place] <= LARGE_COLUMN:
        return []
    which = f"{name} {numbers[place]}"
    return [f"{which} has a root mean square of {sizes[place]:.3g}: scale the {remedy}"]
