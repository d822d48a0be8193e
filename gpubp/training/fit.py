"""Training: one step, the epochs of a fit, and the way back when a loss is not finite."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array
from gpubp.backends.protocol import WholeStep
from gpubp.data.batches import Batches, Data
from gpubp.data.dataset_batches import StreamBatches, StreamData
from gpubp.distributed.interrupt import DeferredInterrupt
from gpubp.errors import DistributedError, DivergenceError
from gpubp.nn.backprop import LayerStack
from gpubp.nn.buffers import Buffers
from gpubp.nn.losses import kernel_name
from gpubp.nn.normalization import move_running_moments
from gpubp.nn.schedules import as_schedule
from gpubp.training.callbacks import Callback, History
from gpubp.training.checkpoints import Checkpointer
from gpubp.training.device_steps import DeviceSteps, SingleStep
from gpubp.training.evaluation import evaluate
from gpubp.training.group import Group
from gpubp.training.passes import compute_gradients, update_parameters
from gpubp.training.settings import WHOLE, Part, TrainingSettings, part_of
from gpubp.training.shared_steps import SharedSteps
from gpubp.training.state import Snapshot, TrainingState

# Steps between two looks at the losses. A look waits for the device, so it is not taken each step.
STEPS_BETWEEN_LOOKS = 200


def do_step(
    stack: LayerStack,
    state: TrainingState,
    batch: Data,
    settings: TrainingSettings,
    guarded: bool = False,
    part: Part = WHOLE,
) -> Array:
    """Do one step on a loaded batch and return its loss, shape ().

    A `guarded` step waits for the loss and, when it is not finite, changes nothing. On a backend
    that replays, every step of this function is guarded.
    """
    state.use(settings, stack)
    if stack.backend.replays:
        return _replay_step(stack, state, batch, settings)
    buffers, step = stack.buffers(len(batch)), None
    if part is WHOLE and settings.regularization.alpha_alone:
        step = whole_step(
            stack, state, buffers, kernel_name(settings.loss, batch.expected), settings
        )
    state.step += 1
    if step is None:
        _step_by_layers(stack, state, batch, settings, guarded, part)
    else:
        buffers.inputs[0] = batch.x
        state.updates += 1
        scalars = settings.optimizer.scalars(state.updates, state.rate_factor)
        step(batch.x, batch.expected, batch.weights, scalars)
    if guarded and not math.isfinite(buffers.loss):
        state.step -= 1
        state.updates -= step is not None
    elif part.last and settings.average is not None:
        stack.backend.average(stack.parameters, settings.average, state.average, stack.scratch)
    return buffers.loss


def _step_by_layers(
    stack: LayerStack,
    state: TrainingState,
    batch: Data,
    settings: TrainingSettings,
    guarded: bool,
    part: Part,
) -> None:
    with stack.threads_for(len(batch)):
        buffers = compute_gradients(stack, state.step - 1, batch, settings.loss)
    if guarded and not math.isfinite(buffers.loss):
        return
    move_running_moments(stack.backend, stack.layers, buffers.normalized, stack.scratch)
    if part is not WHOLE:
        stack.backend.accumulate(stack.gradients, part.share, part.first, state.gathered)
    if part.last:
        if part is not WHOLE:
            stack.gradients[...] = state.gathered
        total = buffers.count if batch.weights is None else buffers.weight
        update_parameters(stack, state, settings, buffers.loss, total, part.share)


def _replay_step(
    stack: LayerStack, state: TrainingState, batch: Data, settings: TrainingSettings
) -> Array:
    plans = stack.buffers(len(batch)).plans
    key = (kernel_name(settings.loss, batch.expected), settings, batch.weights is None)
    moments, step = plans.get(key, (None, None))
    if moments is not state.moments:
        step = SingleStep(stack, state, settings, batch)
        plans[key] = state.moments, step
    stack.refresh()
    scalars = settings.optimizer.scalars(state.updates + 1, state.rate_factor)
    value = step(batch, state.step, scalars)
    if math.isfinite(value):
        state.step += 1
        state.updates += 1
    return value


def whole_step(
    stack: LayerStack,
    state: TrainingState,
    buffers: Buffers,
    kernel: str,
    settings: TrainingSettings,
) -> WholeStep | None:
    """Return the backend's whole step for these buffers, planned on the first call."""
    step: WholeStep | None
    loss, alpha = settings.loss, settings.regularization.alpha
    key = (kernel, loss.parameter, state.kernel, alpha)
    moments, step = buffers.plans.get(key, (None, None))
    if moments is not state.moments:
        on_logits = bool(loss.logits_of)
        row_wise = stack.output.name == "softmax" and not on_logits
        if row_wise or any(layer.dropout or layer.normalization for layer in stack.layers):
            step = None
        else:
            step = stack.backend.plan_step(
                [
                    (
                        *(layer.weight, layer.bias, layer.dweight, layer.dbias),
                        *(buffers.z[index], buffers.y[index], buffers.delta[index]),
                        *(buffers.kept(index, layer), layer.activation.name),
                    )
                    for index, layer in enumerate(stack.layers)
                ],
                kernel,
                on_logits,
                state.kernel,
                (stack.trained, stack.gradients, *state.moments),
                buffers.loss,
                loss.parameter,
                alpha,
            )
        buffers.plans[key] = state.moments, step
    return step


class Fit:
    """One call of fit: runs its epochs, and can do any of its steps again, to the same bits."""

    def __init__(
        self,
        stack: LayerStack,
        state: TrainingState,
        batches: Batches | StreamBatches,
        settings: TrainingSettings,
        history: History,
        checkpoints: Checkpointer | None = None,
        group: Group | None = None,
    ) -> None:
        self.stack, self.state, self.batches = stack, state, batches
        self.settings, self.history = settings, history
        self._checkpoints, self._group = checkpoints, group
        self._index = 0  # steps of the epoch that are done
        self._first_epoch, self._first_step = state.epoch, state.step
        state.use(settings, stack)
        self._losses = stack.backend.xp.empty(batches.steps, stack.dtype)
        self._steps = self._make_steps()
        self._good = Snapshot(stack, state)
        self._pending = Snapshot(stack, state)

    def _make_steps(self) -> DeviceSteps | HostSteps | SharedSteps:
        what = (self.stack, self.state, self.batches, self.settings, self._losses)
        if self.stack.backend.replays:
            return DeviceSteps(*what, self._group)
        return HostSteps(*what) if self._group is None else SharedSteps(*what, self._group)

    def run(
        self,
        epochs: int,
        validation: Data | StreamData | None,
        callbacks: Sequence[Callback],
        resume: bool = False,
    ) -> None:
        """Run epochs until the last, a callback's wish, Ctrl-C or a loss that is not finite.

        Raises
        ------
        DivergenceError
            When a loss is not finite; the weights are then those of the last step with a finite
            loss.
        CheckpointError, OutputPathError
            When a checkpoint cannot be used or written.
        """
        for callback in callbacks:
            callback.begin(self.stack, epochs)
        if resume:
            self._resume(callbacks)
        self._join()
        together = True  # whether all processes come to the end of this
        try:
            # looked for, and named, here
            with np.errstate(over="ignore", invalid="ignore"), self._interrupts:
                self._run_epochs(epochs, validation, callbacks)
        except KeyboardInterrupt:
            self.history.stopped = "interrupted"
            raise
        except DivergenceError:
            self.history.stopped = "diverged"
            raise
        except BaseException as error:
            together = getattr(error, "everywhere", False)
            if self._group is not None:
                self._group.communicator.left_alone = not together
            raise
        finally:
            self.batches.close()
            for callback in callbacks:
                callback.end(self.stack, self.history)
            if together:
                self._agree("the weights at the end")

    def _run_epochs(
        self, epochs: int, validation: Data | StreamData | None, callbacks: Sequence[Callback]
    ) -> None:
        while self.history.epochs < epochs and not self.history.stopped:
            start = time.perf_counter()
            self.history.loss.append(self._run_epoch(callbacks))
            if validation is not None:
                measures = evaluate(self.stack, validation, self.settings.loss, self._group)
                self.history.validation_loss.append(measures["loss"])
            self.history.seconds.append(time.perf_counter() - start)
            self._compare()
            wishes = [callback.epoch_end(self.stack, self.history) for callback in callbacks]
            if any(wishes):
                self.history.stopped = "early stopping"
            self._agree("the weights after the callbacks")
            last = self.history.epochs == epochs or bool(self.history.stopped)
            self._save_if_due(callbacks, last)

    def _run_epoch(self, callbacks: Sequence[Callback]) -> float:
        """Run what is left of one epoch and return its mean loss."""
        steps, looked = self.batches.steps, self._index
        while looked < steps:
            stop = min(looked + STEPS_BETWEEN_LOOKS, looked + self._steps_until_save(), steps)
            self._steps.run(self.state.epoch, looked, stop - 1)
            self._pending.take(self.stack, self.state)
            self._steps.run(self.state.epoch, stop - 1, stop)
            self._look(looked, stop)
            looked = self._index = stop
            for callback in callbacks:
                callback.advance(self.history, looked / steps)
            if looked < steps:
                self._save_if_due(callbacks)
        if not bool(self.stack.backend.xp.isfinite(self.stack.parameters).all()):
            self._diverged(self._done)
        self.state.epoch += 1
        self._index = 0
        losses = self.stack.backend.to_numpy(self._losses)
        return float(np.average(losses.astype(np.float64), weights=self.batches.sizes))

    def _look(self, start: int, stop: int) -> None:
        """Look at the losses of steps start to stop of this epoch; go back if one is not finite."""
        losses = self._wait_for(self._losses[start:stop])
        wrong = np.flatnonzero(~np.isfinite(losses))
        if wrong.size:
            steps_before = (self.state.epoch - self._first_epoch) * self.batches.steps
            self._diverged(steps_before + start + int(wrong[0]))
        # the snapshot from before the last step: that step's loss is now known to be finite
        self._good, self._pending = self._pending, self._good
        self._interrupts.raise_if_any()

    def _wait_for(self, losses: Array) -> NDArray[Any]:
        """Return losses on the host; a device that waits for another is watched here."""
        to_numpy = self.stack.backend.to_numpy
        if self._group is None:
            return np.asarray(to_numpy(losses))
        dog = self._group.communicator.watchdog
        dog.step = self.state.step
        with dog.waiting("the losses of the steps up to it", patient=self._done == len(losses)):
            return np.asarray(to_numpy(losses))

    def _diverged(self, number: int) -> None:
        """Put back the weights of the step before `number` and raise with the layer's name."""
        self._good.put_back(self.stack, self.state)
        while self._done < number - 1:
            self._step_number(self._done)
        self._pending.take(self.stack, self.state)
        if self._done < number:
            self._step_number(number - 1)
        epoch, index = divmod(number, self.batches.steps)
        batch = self.batches.batch(self._first_epoch + epoch, index)
        buffers = self.stack.run_forward(batch.x, dropout_step=self.state.step)
        where = first_non_finite(self.stack, buffers) if len(batch) else "the loss"
        if self._group is not None:  # it may be in another's rows
            found = self._group.communicator.collect(where, "where the loss is not finite")
            where = next((each for each in found if each != "the loss"), where)
        self._pending.put_back(self.stack, self.state)
        peak = as_schedule(self.settings.optimizer.learning_rate).peak
        error = DivergenceError(
            f"the loss is not finite at step {number + 1}, first in {where}; the weights are those"
            f" of the last good step: try a learning rate below {peak:g}"
            " or scale the inputs",
            number + 1,
            where,
        )
        error.everywhere = self._group is not None
        raise error

    def _join(self) -> None:
        """Begin with the same numbers as all processes."""
        group = self._group
        self._interrupts = DeferredInterrupt(None if group is None else group.communicator)
        if group is None:
            return
        here = (self.state.step, self.state.epoch, self.state.updates, self._index)
        there = group.communicator.share(here, "the first weights")
        if here != there:
            raise DistributedError(
                f"rank {group.communicator.rank} begins at (step, epoch, update, batch) {here} and"
                f" rank 0 at {there}; the same networks are needed"
            )
        for array in (self.stack.parameters, *self.state.arrays):
            self._broadcast(array, "the first weights")
        self._good.take(self.stack, self.state)

    def _agree(self, what: str) -> None:
        """Take over what rank 0's callbacks have changed and decided."""
        if self._group is None:
            return
        communicator = self._group.communicator
        decided = (self.history.stopped, self.state.rate_factor)
        self.history.stopped, self.state.rate_factor = communicator.share(decided, what)
        self._broadcast(self.stack.parameters, what)

    def _broadcast(self, array: Array, what: str) -> None:
        """Put rank 0's numbers into an array, through the host's memory."""
        assert self._group is not None
        host = np.ascontiguousarray(self.stack.backend.to_numpy(array))
        self._group.communicator.broadcast(host, what)
        array[...] = self.stack.backend.asarray(host)

    def _compare(self) -> None:
        """Make sure that all processes have the same weights.

        Raises
        ------
        DistributedError
            When they have not; names the first that differs.
        """
        if self._group is None:
            return
        communicator = self._group.communicator
        own = hashlib.sha256(
            self.stack.backend.to_numpy(self.stack.parameters).tobytes()
        ).hexdigest()
        found = communicator.collect(own, "the comparison of the weights")
        other = next((rank for rank, each in enumerate(found) if each != found[0]), None)
        if other is not None:
            error = DistributedError(
                f"the weights of rank {other} differ from those of rank 0 after epoch"
                f" {self.history.epochs}; the same libraries and processors are needed on all"
                " machines"
            )
            error.everywhere = True
            raise error

    @property
    def _done(self) -> int:
        """Steps done since the fit began."""
        return self.state.step - self._first_step

    def _steps_until_save(self) -> int:
        due = self._checkpoints.steps_until_due(self._done) if self._checkpoints else None
        return self.batches.steps if due is None else due

    def _save_if_due(self, callbacks: Sequence[Callback], last: bool = False) -> None:
        """Write a checkpoint where one is due, and in the end in any case."""
        if self._checkpoints is None:
            return
        every = self._checkpoints.every
        due = self._index == 0 if every is None else self._done % every == 0
        if due or last:
            position = {"first_epoch": self._first_epoch, "first_step": self._first_step}
            self._checkpoints.save(
                self.stack,
                self.state,
                self.history,
                callbacks,
                position | {"index": self._index},
                self._losses[: self._index],
            )

    def _resume(self, callbacks: Sequence[Callback]) -> None:
        assert self._checkpoints is not None
        found = self._checkpoints.load(
            self.stack, self.state, self.history, callbacks, self._losses
        )
        if found:
            self._first_epoch, self._first_step = found["first_epoch"], found["first_step"]
            self._index = found["index"]
            self._good.take(self.stack, self.state)

    def _step_number(self, number: int) -> None:
        epoch, index = divmod(number, self.batches.steps)
        self._steps.run(self._first_epoch + epoch, index, index + 1)


class HostSteps:
    """The steps of a fit that the host asks for; see `gpubp.training.device_steps`."""

    def __init__(
        self,
        stack: LayerStack,
        state: TrainingState,
        batches: Batches | StreamBatches,
        settings: TrainingSettings,
        losses: Array,
    ) -> None:
        self._stack, self._state, self._batches = stack, state, batches
        self._settings, self._losses = settings, losses

    def run(self, epoch: int, start: int, stop: int) -> None:
        """Do the steps from `start` to before `stop` of an epoch; each leaves its loss."""
        for index in range(start, stop):
            batch = self._batches.batch(epoch, index)
            part = part_of(index, self._batches.sizes, self._settings.accumulate)
            self._losses[index] = do_step(
                self._stack, self._state, batch, self._settings, part=part
            )


def first_non_finite(stack: LayerStack, buffers: Buffers) -> str:
    """Name the first place in a forward pass that holds a number that is not finite."""
    for index, layer in enumerate(stack.layers):
        places = (
            ("inputs", buffers.inputs[index]),
            ("weight", layer.weight),
            ("bias", layer.bias),
            ("weighted sum", buffers.z[index]),
            ("output", buffers.y[index]),
        )
        for what, array in places:
            if not stack.backend.all_finite(array):
                return f"layer {index + 1} ({what})"
    return "the loss"
