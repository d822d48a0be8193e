"""What a recorded training step does: by layers, or for a small network by rows and parameters."""

from __future__ import annotations

import numpy as np

from gpubp.backends import Array
from gpubp.backends.kernel_table import LANES
from gpubp.backends.protocol import ReplayBackend
from gpubp.backends.small_kernels import SmallLayer, is_small, rows_kernel, weights_kernel
from gpubp.data import Data
from gpubp.losses import Loss, kernel_name
from gpubp.optimizers import Optimizer
from gpubp.random import DROPOUT
from gpubp.regularization import Regularization
from gpubp.stack import LayerStack
from gpubp.training_state import TrainingState

GROWTH = 2000  # steps without overflow after which the scale of a float16 loss doubles


class StepWork:
    """One step, layer by layer, once its batch has been read."""

    def __init__(
        self,
        stack: LayerStack,
        state: TrainingState,
        optimizer: Optimizer,
        loss: Loss,
        clock: Array,
        losses: Array,
        regularization: Regularization,
        guarded: bool = False,
    ) -> None:
        self._stack, self._state, self._loss = stack, state, loss
        self._update_kernel, self._clock, self._losses = optimizer.kernel, clock, losses
        self._regularization, self._guarded = regularization, guarded
        self._backend: ReplayBackend = stack.backend  # type: ignore[assignment]
        self.settings: Array = None

    def serves(self, rows: int) -> bool:
        """Tell whether it is made for batches of so many rows."""
        return True

    def run(self, batch: Data) -> None:
        """Do the step on a batch; with `guarded`, a loss that is not finite changes nothing."""
        stack, backend, scaling = self._stack, self._backend, self._state.scaling
        mean = self._pass(batch)
        self._regularization.before_update(stack, scaling)
        if stack.precision.scaled:
            backend.find_overflow(stack.gradients, scaling)
        if self._guarded:
            backend.find_overflow(mean, scaling)
        self._update(batch)
        self._regularization.after_update(stack)
        growth = GROWTH if stack.precision.scaled else 0
        backend.finish_step(mean, self._losses, self._clock, scaling, growth)

    def _pass(self, batch: Data) -> Array:
        """Go forward and back and return the mean loss, shape ()."""
        stack, loss = self._stack, self._loss
        buffers = stack.run_forward(batch.x, self._clock, bool(loss.logits_of))
        from_logits = stack.run_loss(buffers, batch.expected, loss, self._state.scaling)
        stack.run_backward(buffers, from_logits)
        return buffers.loss

    def _update(self, batch: Data) -> None:
        stack, state = self._stack, self._state
        self._backend.update_on_clock(
            self._update_kernel,
            stack.gradients,
            stack.parameters,
            state.moments,
            self.settings,
            self._clock,
            state.scaling,
            stack.half,
        )


class SmallStepWork(StepWork):
    """One step of a small network in two kernels: see `gpubp.backends.small_kernels`."""

    def serves(self, rows: int) -> bool:
        """Tell whether the network and the batch are small."""
        return is_small(self._layers(), rows)

    def _pass(self, batch: Data) -> Array:
        stack, rows = self._stack, len(batch)
        buffers, layers = stack.buffers(rows), self._layers()
        kernel = rows_kernel(layers, kernel_name(self._loss, batch.expected), stack.seed, DROPOUT)
        arrays = []
        for index, layer in enumerate(layers):
            y = buffers.y[index]
            if self._loss.logits_of and index == len(layers) - 1:
                y = buffers.z[index]
            arrays += [buffers.z[index], y, buffers.delta[index]]
            arrays += [buffers.dropped[index]] if layer.dropout else []
        row_loss = stack.scratch("row loss", (rows,), stack.dtype)
        clock = [self._clock] if any(layer.dropout for layer in layers) else []
        inputs = (batch.x, batch.expected, stack.parameters, 1.0 / rows, self._state.scaling)
        self._backend.kernel(kernel)(*inputs, *clock, *arrays, row_loss, size=rows * LANES)
        self._backend.add_up(row_loss, buffers.loss, stack.scratch)
        return buffers.loss

    def _update(self, batch: Data) -> None:
        stack, rows = self._stack, len(batch)
        buffers, layers = stack.buffers(rows), self._layers()
        kernel = weights_kernel(layers, self._update_kernel, rows)
        arrays, source = [], batch.x
        for index, layer in enumerate(layers):
            arrays += [source, buffers.delta[index]]
            source = buffers.dropped[index] if layer.dropout else buffers.y[index]
        self._backend.kernel(kernel)(
            *arrays,
            *(self.settings, self._clock, self._state.scaling),
            *(stack.gradients, stack.parameters, *self._state.moments),
        )

    def _layers(self) -> list[SmallLayer]:
        last = len(self._stack.layers) - 1
        return [
            SmallLayer(
                layer.inputs,
                layer.outputs,
                "identity" if index == last and self._loss.logits_of else layer.activation.name,
                float(np.float32(layer.dropout)),
            )
            for index, layer in enumerate(self._stack.layers)
        ]


def step_works(
    stack: LayerStack,
    state: TrainingState,
    optimizer: Optimizer,
    loss: Loss,
    clock: Array,
    losses: Array,
    regularization: Regularization,
) -> dict[str, StepWork]:
    """Return the ways to do a step, by name."""
    settings = (stack, state, optimizer, loss, clock, losses, regularization)
    works: dict[str, StepWork] = {"layers": StepWork(*settings)}
    if stack.stored == stack.dtype and not stack.precision.tf32 and not regularization:
        works["rows"] = SmallStepWork(*settings)
    return works
