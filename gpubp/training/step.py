"""One training step. It is written here, once; backends, processes and data only carry it out.

    the batch  ->  forward  ->  loss  ->  backward  ->  sum over processes  ->  update

Everything that changes from one step to the next lies in arrays: the clock (step, batch of the
epoch, row of the optimizer's settings), the settings, the scale of the loss. So the operations of
one step are those of every step, and a backend may carry them out as they stand, plan them in one
call, or record and replay them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gpubp.backends import Array
from gpubp.data.batches import Data
from gpubp.nn.backprop import LayerStack
from gpubp.nn.buffers import Buffers
from gpubp.nn.losses import Loss
from gpubp.training.settings import TrainingSettings, Turn
from gpubp.training.state import TrainingState
from gpubp.training.step_settings import StepSettings
from gpubp.training.sums import ALONE, Sums

GROWTH = 2000  # steps without overflow after which the scale of a float16 loss doubles


@dataclass(frozen=True)
class StepArrays:
    """What a step reads and writes besides the network and its training state.

    Attributes
    ----------
    clock : array of int64, (6,)
        The step since the network was made, which selects dropout masks; the batch of the epoch;
        the row of the settings.
    settings : StepSettings
        The optimizer's scalars of the steps to come, and other numbers that change.
    losses : array
        Where the loss of each batch of an epoch goes.
    """

    clock: Array
    settings: StepSettings
    losses: Array


@dataclass(frozen=True)
class Step:
    """One training step of a network.

    Attributes
    ----------
    guarded : bool
        Whether a loss that is not finite leaves parameters and moments as they were.
    sums : Sums
        How the gradients of several processes are added up.
    """

    stack: LayerStack
    state: TrainingState
    settings: TrainingSettings
    arrays: StepArrays
    sums: Sums = ALONE
    guarded: bool = False

    def __call__(self, ops: Any, batch: Data, turn: Turn, rows: int) -> None:
        """Do the step on a batch.

        Parameters
        ----------
        ops : Backend or Tracer
            What carries the operations out, or notes them.
        batch : Data
            One's own rows of the batch.
        turn : Turn
            Where it stands among the batches of one update.
        rows : int
            Rows of the batch over all processes.
        """
        stack, state, sums = self.stack, self.state, self.sums
        scaling, clock = state.scaling, self.arrays.clock
        buffers = stack.buffers(max(len(batch), 1))
        sums.begin(ops, len(batch), rows, turn)
        for number, (start, stop) in enumerate(sums.pieces(len(batch), rows)):
            piece = batch.between(start, stop)
            if len(piece):
                buffers = stack.buffers(len(piece))
                sums.begin_piece(ops, number, len(piece))
                compute_gradients(
                    ops,
                    stack,
                    buffers,
                    piece,
                    self.settings.loss,
                    clock,
                    scaling,
                    sums.written(ops),
                    self.arrays.settings,
                )
                sums.end_piece(ops, number, buffers)
        mean, total = sums.finish(ops, buffers, batch)
        gathers = not turn.alone and not sums.gathers
        weighs = gathers and batch.weights is not None
        if weighs:
            ops.call(_weigh, stack.gradients, total, turn.first, state.gathered_weight)
        if gathers:
            share = 1.0 if weighs else turn.share
            ops.accumulate(stack.gradients, share, turn.first, state.gathered)
        if state.scaled:
            ops.find_overflow(stack.gradients, scaling)
        if self.guarded:
            ops.find_overflow(mean, scaling)
        for layer, arrays in zip(stack.layers, buffers.layers, strict=True):
            layer.follow(ops, arrays, scaling)
        if turn.last:
            if gathers:
                ops.convert(state.gathered, stack.gradients)
            if weighs:
                ops.call(_divide, stack.gradients, state.gathered_weight)
                self._update(ops, mean, state.gathered_weight, 1.0)
            else:
                self._update(ops, mean, total, turn.share)
        growth = GROWTH if state.scaled else 0
        ops.finish_step(mean, self.arrays.losses, clock, scaling, growth, turn.last)

    def _update(self, ops: Any, mean: Array, total: Array, share: float) -> None:
        """Penalise, do the optimizer's step, hold the weights, move their running mean on."""
        stack, state, settings = self.stack, self.state, self.settings
        scaling, regularization = state.scaling, settings.regularization
        regularization.before_update(ops, stack, mean, total, scaling, share)
        for segment, scalars in self.arrays.settings.updates:
            ops.update(
                settings.optimizer.kernel,
                stack.gradients,
                stack.trained,
                state.moments,
                scalars,
                self.arrays.clock,
                scaling,
                stack.half,
                stack.scratch,
                segment.span,
            )
        regularization.after_update(ops, stack)
        if settings.average is not None:
            ops.average(stack.parameters, settings.average, state.average, stack.scratch, scaling)


def _weigh(gradients: Array, weight: Array, first: bool, gathered: Array) -> None:
    """Make a mean a sum over the rows, and add up what they weigh."""
    gradients *= weight
    if first:
        gathered.fill(0)
    gathered += weight


def _divide(gradients: Array, weight: Array) -> None:
    gradients /= weight


def compute_gradients(
    ops: Any,
    stack: LayerStack,
    buffers: Buffers,
    batch: Data,
    loss: Loss,
    step: Array | None = None,
    scaling: Array | None = None,
    written: Callable[[int], None] | None = None,
    settings: StepSettings | None = None,
) -> None:
    """Write the gradients of a batch's mean loss, which is left in ``buffers.loss``."""
    logits = bool(loss.logits_of)
    rates, parameter = (settings.dropout, settings.parameter) if settings else (None, None)
    stack.forward(ops, batch.x, buffers, step, logits, rates=rates)
    stack.loss(ops, buffers, batch.expected, loss, batch.weights, scaling, parameter)
    stack.backward(ops, buffers, logits, written=written)
