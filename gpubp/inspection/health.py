"""What ails a network in training: dead and saturated units, steps too large or too small."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from gpubp.backends import Array
from gpubp.data.batches import Data
from gpubp.data.feeds import read_rows
from gpubp.inspection.scales import loss_findings, loss_of_knowing_nothing, scale_findings
from gpubp.nn.activations import Activation
from gpubp.nn.backprop import LayerStack, first_non_finite
from gpubp.nn.losses import Loss
from gpubp.nn.optimizer import Optimizer
from gpubp.text import ShownAsText, text_table
from gpubp.training.state import TrainingState

SAMPLE = 1024  # rows at most
DEAD = 1e-6  # a unit is dead when its derivative is no larger in any row
SATURATED = 0.05  # an output is saturated where its derivative is below this share of the largest
MANY = 0.5  # share of units that are too many
VANISHED = 1e-5  # of the largest layer's gradient, a weight
LARGE_UPDATE, SMALL_UPDATE = 0.1, 1e-6  # of the weights


@dataclass(frozen=True)
class LayerHealth:
    """One layer's numbers.

    Attributes
    ----------
    layer : int
        Its number, from 1.
    activation : str
        Its function.
    dead : float
        Share of its units whose derivative is zero in every row; they no longer learn.
    saturated : float
        Share of its outputs on a flat end of the function; 0 for functions without two such ends.
    gradient_norm, weight_norm : float
        Root of the sum of squares, weights and biases together.
    update_ratio : float
        Norm of the optimizer's next update over that of the weights; about 1e-3 is usual.
    """

    layer: int
    activation: str
    dead: float
    saturated: float
    gradient_norm: float
    weight_norm: float
    update_ratio: float


@dataclass(frozen=True)
class Health(ShownAsText):
    """What was measured, and what is wrong.

    Attributes
    ----------
    step : int
        Training steps done before.
    loss : float
        Mean loss of the rows looked at.
    expected_first_loss : float or None
        Loss of a network that knows nothing: the logarithm of the number of classes, or log 2 an
        output; with an identity output that of the targets' mean, where they are not all alike;
        else None.
    not_finite : str
        The first place that holds a number that is not finite; "" where there is none.
    layers : tuple of LayerHealth
        First to last.
    findings : tuple of str
        What is wrong, each with one remedy; none for a network in good health.
    """

    step: int
    loss: float
    expected_first_loss: float | None
    not_finite: str
    layers: tuple[LayerHealth, ...]
    findings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        head = ("layer", "activation", "dead", "saturated", "gradient", "weight", "update/weight")
        rows = [
            (
                str(layer.layer),
                layer.activation,
                f"{layer.dead:.0%}",
                f"{layer.saturated:.0%}",
                f"{layer.gradient_norm:.2e}",
                f"{layer.weight_norm:.2e}",
                f"{layer.update_ratio:.1e}",
            )
            for layer in self.layers
        ]
        lines = text_table(head, rows)
        known = self.expected_first_loss
        beside = "" if known is None else f"; knowing nothing gives {known:.4g}"
        lines.append(f"loss {self.loss:.4g} after {self.step} steps{beside}")
        return "\n".join([*lines, *(self.findings or ("nothing stands out",))])


def examine(
    twin: LayerStack, state: TrainingState, data: Data, loss: Loss, optimizer: Optimizer
) -> Health:
    """Examine a copy of a network, whose parameters and gradients are written.

    Parameters
    ----------
    twin : LayerStack
        The copy, in a precision of its own dtype.
    state : TrainingState
        Of the network itself; it is left as it is.
    """
    sample = next(data.chunks(SAMPLE))
    buffers = twin.buffers(len(sample))
    expected = loss_of_knowing_nothing(twin, buffers, sample, loss)
    inputs = read_rows(twin, sample.x)
    of_scales = scale_findings(twin, inputs, sample)
    twin.forward(twin.backend, inputs, buffers)
    not_finite = first_non_finite(twin, buffers)
    first = "" if not_finite == "the loss" else not_finite
    twin.loss(twin.backend, buffers, sample.expected, loss)
    twin.backward(twin.backend, buffers, bool(loss.logits_of))
    value = float(buffers.loss)
    before = twin.parameters.copy()
    _update(twin, state, optimizer)
    update = twin.parameters - before
    layers, start = [], 0
    for index, (layer, arrays) in enumerate(zip(twin.layers, buffers.layers, strict=True)):
        stop = start + layer.size
        slope = abs(layer.slope(twin.backend, arrays.z, arrays.y))
        weight_norm = _norm(before[start:stop])
        layers.append(
            LayerHealth(
                index + 1,
                layer.activation.name,
                _dead(layer.activation, slope),
                _saturated(layer.activation, slope),
                _norm(twin.gradients[start:stop]),
                weight_norm,
                _norm(update[start:stop]) / weight_norm if weight_norm else math.inf,
            )
        )
        start = stop
    findings = _findings(layers, first, value)
    if not first and math.isfinite(value):
        bounded = twin.output.name != "identity"
        of_loss = loss_findings(value, expected, bounded, state.step)
        findings = [*of_scales, *of_loss, *findings]
    return Health(state.step, value, expected, first, tuple(layers), tuple(findings))


def _update(twin: LayerStack, state: TrainingState, optimizer: Optimizer) -> None:
    """Do the optimizer's next step on the copy, with copies of the moments."""
    fresh = TrainingState()
    fresh.use_optimizer(optimizer, twin)
    updates = 0
    if state.kernel == optimizer.kernel:
        updates = state.updates
        for fresh_moment, moment in zip(fresh.moments, state.moments, strict=True):
            fresh_moment[...] = moment
    twin.backend.update_now(
        optimizer.kernel,
        twin.gradients,
        twin.trained,
        fresh.moments,
        optimizer.scalars(updates + 1, state.rate_factor),
        twin.scratch,
    )


def _dead(activation: Activation, slope: Array) -> float:
    return 0.0 if activation.whole_rows else float((slope.max(axis=0) <= DEAD).mean())


def _saturated(activation: Activation, slope: Array) -> float:
    peak = activation.peak_slope
    return 0.0 if peak is None else float((slope < SATURATED * peak).mean())


def _norm(values: Array) -> float:
    # divided by the largest first: squares of large gradients overflow in float32
    largest = float(abs(values).max())
    if not 0 < largest < math.inf:
        return largest
    return largest * math.sqrt(float(((values / largest) ** 2).sum()))


def _findings(layers: list[LayerHealth], not_finite: str, loss: float) -> list[str]:
    """Name what is wrong, each with one remedy."""
    if not_finite or not math.isfinite(loss):
        place = not_finite or "the loss"
        return [f"{place} is not finite: lower the learning rate, or scale the inputs"]
    findings = []
    densest = max(layer.gradient_norm / (layer.weight_norm or 1.0) for layer in layers)
    for layer in layers:
        name = f"layer {layer.layer}"
        if layer.dead > MANY:
            findings.append(
                f"{name}: {layer.dead:.0%} of its units are dead: lower the learning rate, or take"
                " leaky_relu"
            )
        if layer.saturated > MANY:
            findings.append(
                f"{name}: {layer.saturated:.0%} of its outputs are saturated: scale the inputs, or"
                " lower the learning rate"
            )
        if layer.gradient_norm / (layer.weight_norm or 1.0) < VANISHED * densest:
            findings.append(
                f"{name}: its gradient has all but vanished: take relu or gelu, or fewer layers"
            )
        if layer.update_ratio > LARGE_UPDATE:
            findings.append(
                f"{name}: a step changes its weights by {layer.update_ratio:.0%}: lower the"
                " learning rate"
            )
        elif layer.update_ratio < SMALL_UPDATE:
            findings.append(
                f"{name}: a step changes its weights by {layer.update_ratio:.0e} of their size:"
                " raise the learning rate"
            )
    return findings
