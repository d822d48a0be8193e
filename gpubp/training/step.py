"""What a recorded training step does: by layers, or for a small network by rows and parameters."""

from __future__ import annotations

import numpy as np

from gpubp.backends import Array
from gpubp.backends.gpu.kernel_table import LANES
from gpubp.backends.gpu.small_kernels import SmallLayer, is_small, rows_kernel, weights_kernel
from gpubp.backends.protocol import ReplayBackend
from gpubp.backends.random import DROPOUT
from gpubp.data.batches import Data
from gpubp.distributed.device_sum import DeviceSum
from gpubp.nn.backprop import LayerStack
from gpubp.nn.buffers import Buffers
from gpubp.nn.losses import kernel_name
from gpubp.nn.normalization import move_running_moments
from gpubp.training.settings import WHOLE, Part, TrainingSettings
from gpubp.training.state import TrainingState

GROWTH = 2000  # steps without overflow after which the scale of a float16 loss doubles


class StepWork:
    """One step, layer by layer, once its batch has been read."""

    def __init__(
        self,
        stack: LayerStack,
        state: TrainingState,
        settings: TrainingSettings,
        clock: Array,
        losses: Array,
        guarded: bool = False,
        device_sum: DeviceSum | None = None,
    ) -> None:
        self._stack, self._state, self._how = stack, state, settings
        self._device_sum = device_sum
        self._loss, self._update_kernel = settings.loss, settings.optimizer.kernel
        self._clock, self._losses, self._guarded = clock, losses, guarded
        self._backend: ReplayBackend = stack.backend  # type: ignore[assignment]
        self.settings: Array = None

    def serves(self, rows: int) -> bool:
        """Tell whether it is made for batches of so many rows."""
        return True

    def run(self, batch: Data, part: Part = WHOLE, rows: int = 0) -> None:
        """Do the step on a batch; with `guarded`, a loss that is not finite changes nothing.

        `rows` are those of the batch over all processes, where several train together.
        """
        stack, backend, scaling = self._stack, self._backend, self._state.scaling
        together = self._device_sum
        if together is not None:
            together.watch(len(batch) / rows)
        buffers = self._pass(batch) if len(batch) else self._nothing()
        total = buffers.count if batch.weights is None else buffers.weight
        if together is not None:
            together.finish(buffers)
            total = together.count(rows)
        if part is not WHOLE:
            backend.accumulate(stack.gradients, part.share, part.first, self._state.gathered)
        if stack.precision.scaled:
            backend.find_overflow(stack.gradients, scaling)
        if self._guarded:
            backend.find_overflow(buffers.loss, scaling)
        move_running_moments(backend, stack.layers, buffers.normalized, stack.scratch, scaling)
        if part.last:
            if part is not WHOLE:
                backend.convert(self._state.gathered, stack.gradients)
            self._finish(batch, buffers, part, total)
        growth = GROWTH if stack.precision.scaled else 0
        backend.finish_step(buffers.loss, self._losses, self._clock, scaling, growth, part.last)

    def _nothing(self) -> Buffers:
        """Take part in a batch that is too short to have rows for this process."""
        buffers = self._stack.buffers(1)
        self._stack.gradients.fill(0)
        buffers.loss.fill(0)
        if self._device_sum is not None:
            for index in reversed(range(len(self._stack.layers))):
                self._device_sum.ready(index)  # in the order of those that have rows
        return buffers

    def _finish(self, batch: Data, buffers: Buffers, part: Part, total: Array) -> None:
        """Update the parameters, with what goes before and after."""
        held, stack, state = self._how.regularization, self._stack, self._state
        held.before_update(stack, buffers.loss, total, state.scaling, part.share)
        self._update(batch)
        held.after_update(stack)
        if self._how.average is not None:
            decay = self._how.average
            self._backend.average(
                stack.parameters, decay, state.average, stack.scratch, state.scaling
            )

    def _pass(self, batch: Data) -> Buffers:
        """Go forward and back and return the buffers, which hold the mean loss."""
        stack, loss = self._stack, self._loss
        buffers = stack.run_forward(batch.x, self._clock, bool(loss.logits_of))
        scaling = self._state.scaling
        from_logits = stack.run_loss(buffers, batch.expected, loss, batch.weights, scaling)
        ready = None if self._device_sum is None else self._device_sum.ready
        stack.run_backward(buffers, from_logits, ready=ready)
        return buffers

    def _update(self, batch: Data) -> None:
        stack, state = self._stack, self._state
        self._backend.update_on_clock(
            self._update_kernel,
            stack.gradients,
            stack.trained,
            state.moments,
            self.settings,
            self._clock,
            state.scaling,
            stack.half,
        )


class SmallStepWork(StepWork):
    """One step of a small network in two kernels: see `gpubp.backends.gpu.small_kernels`."""

    def serves(self, rows: int) -> bool:
        """Tell whether the network and the batch are small."""
        return is_small(self._layers(), rows)

    def _pass(self, batch: Data) -> Buffers:
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
        scalars = (1.0 / rows, self._loss.parameter)
        inputs = (batch.x, batch.expected, stack.parameters, *scalars, self._state.scaling)
        self._backend.kernel(kernel)(*inputs, *clock, *arrays, row_loss, size=rows * LANES)
        self._backend.add_up(row_loss, buffers.loss, stack.scratch)
        return buffers

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
    settings: TrainingSettings,
    clock: Array,
    losses: Array,
    weighted: bool,
    device_sum: DeviceSum | None = None,
) -> dict[str, StepWork]:
    """Return the ways to do a step, by name."""
    by_layers = StepWork(stack, state, settings, clock, losses, device_sum=device_sum)
    works: dict[str, StepWork] = {"layers": by_layers}
    if device_sum is not None:
        return works
    plain = not settings.regularization and settings.accumulate == 1 and not weighted
    plain = plain and not any(stack.normalization)
    if plain and stack.stored == stack.dtype and not stack.precision.tf32:
        works["rows"] = SmallStepWork(stack, state, settings, clock, losses)
    return works
