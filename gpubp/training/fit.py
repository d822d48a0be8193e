"""The epochs of a fit, and the way back when a loss is not finite."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpubp.data.feeds import HeldOut
from gpubp.distributed.interrupt import DeferredInterrupt
from gpubp.errors import DivergenceError
from gpubp.nn.backprop import first_non_finite
from gpubp.nn.schedule import as_schedule
from gpubp.training.agreement import Agreement
from gpubp.training.callbacks import Callback
from gpubp.training.checkpoints import Checkpointer
from gpubp.training.epoch_steps import EpochSteps, Training
from gpubp.training.history import History
from gpubp.training.metrics import Metric, wanted_metrics
from gpubp.training.state import Snapshot
from gpubp.training.stopping import TIME_LIMIT
from gpubp.training.validation import validated

# Steps between two looks at the losses. A look waits for the device, so it is not taken each step.
# The last step before a look is done alone; those before it are whole replays of 8 on a GPU.
STEPS_BETWEEN_LOOKS = 8 * 25 + 1
# Rows times parameters of epochs that are done together: about a tenth of a second on a core. A GPU
# does a hundred times as much in that.
WORK_TOGETHER = 1_000_000_000
GPU_WORK = 100


class Fit:
    """One call of fit: runs its epochs, and can do any of its steps again, to the same bits."""

    def __init__(
        self,
        net: Any,
        training: Training,
        history: History,
        checkpoints: Checkpointer | None = None,
    ) -> None:
        self.net, self.training, self.history = net, training, history
        self.stack, self.state, self.feed = training.stack, training.state, training.feed
        self._checkpoints = checkpoints
        self._agreement = Agreement(training, history)
        self._index = 0  # steps that are done of the epochs that are done together
        self._together, self._before, self._began = 1, 0, 0.0  # those epochs; when they began
        self._first_epoch, self._first_step = self.state.epoch, self.state.step
        self.state.use(training.settings, self.stack, training.feed.weighted)
        self._steps = EpochSteps(training)
        self._losses = self._steps.losses
        self._good = Snapshot(self.stack, self.state)
        self._pending = Snapshot(self.stack, self.state)
        self._interrupts = DeferredInterrupt(self._agreement.communicator)

    def run(
        self,
        epochs: int,
        validation: HeldOut | None,
        callbacks: Sequence[Callback],
        resume: bool = False,
        metrics: Sequence[str | Metric] = (),
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
        wanted = wanted_metrics(metrics, callbacks, validation)
        for callback in callbacks:
            callback.begin(self.net, epochs)
        if resume:
            self._resume(callbacks)
        self._agreement.join(self._index)
        self._good.take(self.stack, self.state)
        together = True  # whether all processes come to the end of this
        try:
            # looked for, and named, here
            with np.errstate(over="ignore", invalid="ignore"), self._interrupts:
                self._run_epochs(epochs, validation, callbacks, wanted)
        except KeyboardInterrupt:
            self._keep_finished(self._done)
            self.history.stopped = "interrupted"
            raise
        except DivergenceError:
            self.history.stopped = "diverged"
            raise
        except BaseException as error:
            together = getattr(error, "everywhere", False)
            self._agreement.left_alone(together)
            raise
        finally:
            self.history.leave_out_unfinished()
            self.feed.close()
            self._steps.close()
            for callback in callbacks:
                callback.end(self.net, self.history)
            if together:
                self._agreement.agree("the weights at the end")

    def _run_epochs(
        self,
        epochs: int,
        validation: HeldOut | None,
        callbacks: Sequence[Callback],
        metrics: dict[str, str | Metric],
    ) -> None:
        most = 1 if validation is not None else self._most_together(callbacks)
        while self.history.epochs < epochs and not self.history.stopped:
            self._together = min(most, epochs - self.history.epochs)
            self._before, self._began = self.history.epochs, time.perf_counter()
            if not self._run_together(callbacks):
                self._save_if_due(callbacks, last=True)
                return
            with validated(self.training, self.history, validation, metrics):
                share = (time.perf_counter() - self._began) / self._together
                self.history.seconds.extend([share] * self._together)
                self._agreement.compare()
                wishes = [callback.epoch_end(self.net, self.history) for callback in callbacks]
                self._stop_if(wishes, callbacks)
                self._agreement.agree("the weights after the callbacks")
            last = self.history.epochs == epochs or bool(self.history.stopped)
            self._save_if_due(callbacks, last)

    def _stop_if(self, wishes: Sequence[bool | None], callbacks: Sequence[Callback]) -> None:
        """Note why training ends, where a callback wishes it to."""
        for wish, callback in zip(wishes, callbacks, strict=True):
            if wish and not self.history.stopped:
                self.history.stopped = getattr(callback, "reason", "early stopping")

    def _most_together(self, callbacks: Sequence[Callback]) -> int:
        """Return how many epochs are done with nothing else between their steps."""
        asked = any(getattr(callback, "every_epoch", True) for callback in callbacks)
        if asked or self._checkpoints is not None or self.training.group is not None:
            return 1
        # after a batch that is left over, a GPU's clock is not where a step of several looks for it
        if self.training.settings.accumulate > 1:
            return 1
        work = WORK_TOGETHER * (GPU_WORK if self.stack.backend.name == "gpu" else 1)
        fitting: int = work // (self.feed.rows * self.stack.parameters.size)
        return max(1, min(self.feed.at_once, fitting))

    def _run_together(self, callbacks: Sequence[Callback]) -> bool:
        """Run what is left of some epochs and note their losses; tell whether they were ended."""
        epoch, together = self.state.epoch, self._together
        steps, looked = self.feed.steps * together, self._index
        while looked < steps:
            stop = min(looked + STEPS_BETWEEN_LOOKS, looked + self._steps_until_save(), steps)
            self._steps.run(epoch, looked, stop - 1, together)
            self._pending.take(self.stack, self.state)
            self._steps.run(epoch, stop - 1, stop, together)
            self._look(looked, stop)
            looked = self._index = stop
            wishes = [callback.advance(self.history, looked / steps) for callback in callbacks]
            if looked < steps:
                if self.training.group is None:
                    self._stop_if(wishes, callbacks)
                if self.history.stopped:
                    self._keep_finished(self._done)
                    return False
                self._save_if_due(callbacks)
        if not bool(self.stack.backend.xp.isfinite(self.stack.parameters).all()):
            self._keep_finished(self._done - 1)
            self._diverged(self._done)
        self.history.loss.extend(self._mean_losses(together, self._weights(epoch, callbacks)))
        self.state.epoch += together
        self._index = 0
        return True

    def _mean_losses(self, epochs: int, sizes: Any) -> list[float]:
        """Return the mean loss of each of so many epochs; `sizes` is what their batches weigh."""
        steps, weights = self.feed.steps, np.array(sizes, np.float64)
        losses = self.stack.backend.to_numpy(self._losses[: epochs * steps]).reshape(epochs, steps)
        # as np.average does it, without its checks, which take longer than a step of few rows
        sums = np.multiply(losses, weights, dtype=np.float64).sum(axis=1)
        means: list[float] = (sums / weights.sum()).tolist()
        return means

    def _keep_finished(self, steps: int) -> None:
        """Note the epochs that were finished in so many steps, of several done together."""
        if self._together == 1:
            return
        finished = steps // self.feed.steps - self._before
        share = (time.perf_counter() - self._began) / max(finished, 1)
        del self.history.loss[self._before :], self.history.seconds[self._before :]
        self.history.loss.extend(self._mean_losses(finished, self.feed.sizes))
        self.history.seconds.extend([share] * finished)
        self.state.epoch = self._first_epoch + self._before + finished

    def _weights(self, epoch: int, callbacks: Sequence[Callback]) -> Any:
        """Return what each batch of an epoch weighs in its mean loss, (steps,)."""
        if not self.feed.weighted:
            return self.feed.sizes
        weights = self._agreement.total(self.feed.weights(epoch), "the weights of the batches")
        if not weights.any() or any(getattr(one, "loss_by_rows", False) for one in callbacks):
            return self.feed.sizes
        return weights

    def _look(self, start: int, stop: int) -> None:
        """Look at the losses of steps start to stop of this epoch; go back if one is not finite."""
        losses = self._agreement.wait_for(
            self._losses[start:stop], first=self._done == stop - start
        )
        finite = np.isfinite(losses)
        if not finite.all():
            steps_before = (self.state.epoch - self._first_epoch) * self.feed.steps
            number = steps_before + start + int(np.argmin(finite))
            self._keep_finished(number)
            self._diverged(number)
        # the snapshot from before the last step: that step's loss is now known to be finite
        self._good, self._pending = self._pending, self._good
        self._interrupts.raise_if_any()

    def _diverged(self, number: int) -> None:
        """Put back the weights of the step before `number` and raise with the layer's name."""
        self._together = 1  # what is done again writes over the losses of all
        self._good.put_back(self.stack, self.state)
        while self._done < number - 1:
            self._step_number(self._done)
        self._pending.take(self.stack, self.state)
        if self._done < number:
            self._step_number(number - 1)
        epoch, index = divmod(number, self.feed.steps)
        batch = self.feed.batch(self._first_epoch + epoch, index)
        place = "the loss"
        if len(batch):
            buffers = self.stack.buffers(len(batch))
            self.stack.forward(self.stack.backend, batch.x, buffers, self.state.step)
            place = first_non_finite(self.stack, buffers)
        where = self._agreement.first_place(place)
        self._pending.put_back(self.stack, self.state)
        self.state.epoch = self._first_epoch + self._done // self.feed.steps
        peak = as_schedule(self.training.settings.optimizer.learning_rate).peak
        error = DivergenceError(
            f"the loss is not finite at step {number + 1}, first in {where}; the weights are those"
            f" of the last good step: try a learning rate below {peak:g}"
            " or scale the inputs",
            number + 1,
            where,
        )
        error.everywhere = self.training.group is not None
        raise error

    @property
    def _done(self) -> int:
        """Steps done since the fit began."""
        return self.state.step - self._first_step

    def _step_number(self, number: int) -> None:
        epoch, index = divmod(number, self.feed.steps)
        self._steps.run(self._first_epoch + epoch, index, index + 1)

    def _steps_until_save(self) -> int:
        due = self._checkpoints.steps_until_due(self._done) if self._checkpoints else None
        return self.feed.steps * self._together if due is None else due

    def _save_if_due(self, callbacks: Sequence[Callback], last: bool = False) -> None:
        """Write a checkpoint where one is due, and in the end in any case."""
        if self._checkpoints is None:
            return
        every = self._checkpoints.every
        due = self._index == 0 if every is None else self._done % every == 0
        if due or last:
            position = {
                "first_epoch": self._first_epoch,
                "first_step": self._first_step,
                "index": self._index,
            }
            losses = self._losses[: self._index]
            self._checkpoints.save(
                self.net, self.stack, self.state, self.history, callbacks, position, losses
            )

    def _resume(self, callbacks: Sequence[Callback]) -> None:
        assert self._checkpoints is not None
        losses = self._losses[: self.feed.steps]
        position = self._checkpoints.load(
            self.net, self.stack, self.state, self.history, callbacks, losses
        )
        if position:
            self._first_epoch, self._first_step = position["first_epoch"], position["first_step"]
            self._index = position["index"]
            if self.history.stopped == TIME_LIMIT:
                self.history.stopped = ""
