"""Gradient check: the backward pass against central differences, in float64.

The directional derivative of the loss along a random direction v is compared with
``(loss(p + h v) - loss(p - h v)) / (2 h)``. A direction that moves a weighted sum across a kink of
its activation (the 0 of relu) is tried again with a shorter h, as no derivative exists there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends.random import CHECK, generator
from gpubp.data.batches import Data, take_data
from gpubp.data.feeds import read_rows
from gpubp.errors import ConfigurationError, brief
from gpubp.inspection.methods import InspectedNetwork
from gpubp.nn.backprop import LayerStack
from gpubp.nn.buffers import Buffers
from gpubp.nn.layers.dense import Dense, DenseArrays
from gpubp.nn.layers.periodic import PeriodicEmbedding
from gpubp.nn.losses import Loss, get_loss

STEP = 1e-5
DIRECTIONS = 3  # a layer
TRIES = 4  # each with a step ten times shorter


@dataclass(frozen=True)
class GradientCheck:
    """Result of a gradient check.

    Attributes
    ----------
    relative_error : float
        The largest |backward - numeric| / max(|backward|, |numeric|, 1e-6) over all directions.
    tolerance : float
        What it is compared with.
    layers : tuple of float
        The largest error of each layer.
    """

    relative_error: float
    tolerance: float
    layers: tuple[float, ...]

    @property
    def passed(self) -> bool:
        """Whether backward pass and differences agree."""
        return self.relative_error <= self.tolerance

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        verdict = "agree" if self.passed else "DISAGREE"
        return (
            f"gradients {verdict}: relative error {self.relative_error:.2e}"
            f" (tolerance {self.tolerance:.0e})"
        )


def gradient_check(
    net: InspectedNetwork, x: Any, y: Any, loss: str = "auto", tolerance: float = 1e-5
) -> GradientCheck:
    """Compare the backward pass with central differences, on a float64 copy of the network.

    Parameters
    ----------
    net : Network
        Left as it is; dropout is off.
    x, y : array
        A batch, as for `Network.train_step`.
    tolerance : float
        Largest relative error that passes.

    Returns
    -------
    GradientCheck
        True when they agree; prints its error.

    Raises
    ------
    ShapeError, DataError, NonFiniteError, DeviceError, ConfigurationError
        When an argument cannot be used.

    Examples
    --------
    >>> import gpubp
    >>> net = gpubp.Network([3, 4, 2], output="softmax", seed=0, backend="cpu")
    >>> bool(gpubp.gradient_check(net, [[0.1, -0.2, 0.3]], [1]))
    True
    """
    if not hasattr(net, "stack"):
        raise ConfigurationError(f"net is {brief(net)}; a Network is needed")
    twin = net.copy(dtype="float64")
    chosen = get_loss(loss, twin.output)
    data = take_data(twin.stack, x, y, chosen)
    return _check(twin.stack, replace(data, x=read_rows(twin.stack, data.x)), chosen, tolerance)


def _check(stack: LayerStack, data: Data, loss: Loss, tolerance: float) -> GradientCheck:
    """Check a float64 stack, whose parameters are moved and put back."""
    buffers = _forward(stack, data, loss)
    stack.backward(stack.backend, buffers, bool(loss.logits_of))
    gradients = stack.backend.to_numpy(stack.gradients).copy()
    errors, start = [], 0
    for layer in stack.layers:
        stop = start + layer.size
        errors.append(
            max(
                _direction_error(stack, data, loss, gradients, slice(start, stop), number)
                for number in range(DIRECTIONS)
            )
        )
        start = stop
    return GradientCheck(max(errors), tolerance, tuple(errors))


def _forward(stack: LayerStack, data: Data, loss: Loss) -> Buffers:
    buffers = stack.buffers(len(data))
    stack.forward(stack.backend, data.x, buffers, learning=True)
    stack.loss(stack.backend, buffers, data.expected, loss)
    return buffers


def _direction_error(
    stack: LayerStack,
    data: Data,
    loss: Loss,
    gradients: NDArray[np.float64],
    segment: slice,
    number: int,
) -> float:
    direction = np.zeros_like(gradients)
    draw = generator(stack.seed, CHECK + segment.start, number)
    direction[segment] = draw.standard_normal(segment.stop - segment.start)
    direction /= np.linalg.norm(direction)
    backward = float(gradients @ direction)
    step = STEP
    for _ in range(TRIES):
        numeric, crossed = _central_difference(stack, data, loss, direction, step)
        if not crossed:
            break
        step /= 10
    scale = max(abs(backward), abs(numeric), 1e-6)
    return abs(backward - numeric) / scale


def _central_difference(
    stack: LayerStack, data: Data, loss: Loss, direction: NDArray[np.float64], step: float
) -> tuple[float, bool]:
    """Return the difference quotient and whether a kink lies between its two ends."""
    shift = stack.backend.asarray(direction) * step
    home = stack.trained.copy()
    losses, sides = [], []
    for sign in (1, -1):
        stack.trained[...] = home + sign * shift
        buffers = _forward(stack, data, loss)
        losses.append(float(buffers.loss))
        sides.append(_sides_of_kinks(stack, data, loss))
    stack.trained[...] = home
    return (losses[0] - losses[1]) / (2 * step), sides[0] != sides[1]


def _sides_of_kinks(stack: LayerStack, data: Data, loss: Loss) -> bytes:
    """Tell on which side of its activation's kinks each weighted sum lies."""
    sides: list[Any] = []
    buffers = stack.buffers(len(data))
    for layer, arrays in zip(stack.layers, buffers.layers, strict=True):
        if isinstance(layer, PeriodicEmbedding) and not layer.waves.beside:
            sides.append(arrays.y[:, layer.waves.passing :] > 0)  # which are rectified
        if not isinstance(layer, Dense) or not isinstance(arrays, DenseArrays):
            continue  # no other kind has a kink
        kept = arrays.normalized
        if kept is None:
            z = layer.weighted_sum(stack.backend, arrays)
        else:
            z = kept.n * layer.gamma + layer.bias
        sides += [z > kink for kink in layer.activation.kinks]
    x = buffers.output
    if loss.name == "absolute_error":
        sides.append(x > data.expected)
    return b"".join(stack.backend.to_numpy(side).tobytes() for side in sides)
