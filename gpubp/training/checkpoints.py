"""A fit that writes checkpoints and goes on from them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpubp.backends import Array
from gpubp.data.feeds import Feed
from gpubp.distributed.communicator import Communicator, on_root
from gpubp.errors import CheckpointError
from gpubp.nn.backprop import LayerStack
from gpubp.training.callbacks import Callback, Resumable
from gpubp.training.checkpoint_checks import Expected, check_fields, check_memory
from gpubp.training.checkpoint_files import (
    Checkpoint,
    CheckpointFolder,
    check_same_run,
)
from gpubp.training.history import History
from gpubp.training.state import TrainingState

_COUNTERS = ("step", "epoch", "updates", "rate_factor")  # of a TrainingState


class Checkpointer:
    """Writes the state of a run into its folder, and brings it back.

    Parameters
    ----------
    folder : str
        Where the checkpoints lie.
    every : int or None
        Steps from one to the next; None for one at the end of every epoch.
    run : dict
        What must be the same when the run goes on.
    communicator : Communicator or None
        Of the processes that train together: rank 0 reads and writes for all.
    """

    def __init__(
        self,
        folder: CheckpointFolder,
        every: int | None,
        run: dict[str, Any],
        communicator: Communicator | None = None,
    ) -> None:
        self.folder, self.every, self.run = folder, every, run
        self._communicator = communicator

    def steps_until_due(self, done: int) -> int | None:
        """Return after how many steps the next is due; None for at the end of the epoch."""
        return None if self.every is None else self.every - done % self.every

    def save(
        self,
        net: Any,
        stack: LayerStack,
        state: TrainingState,
        history: History,
        callbacks: Sequence[Callback],
        run_state: dict[str, Any],
        losses: Array,
    ) -> None:
        """Write a checkpoint; `losses` are those of the epoch so far, `run_state` its position."""

        def write() -> None:
            host = stack.backend.to_numpy
            arrays = {"parameters": host(stack.parameters), "losses": host(losses)}
            for index, array in enumerate(state.arrays):
                arrays[f"state {index}"] = host(array)
            memories = []
            for index, callback in enumerate(resumable(callbacks)):
                memory = callback.get_state(net)
                for name, value in list(memory.items()):
                    if isinstance(value, np.ndarray):
                        arrays[f"callback {index} {name}"] = memory.pop(name)
                memories.append(memory)
            counters = {name: getattr(state, name) for name in _COUNTERS}
            described = counters | run_state | {"history": history.to_dict(), "callbacks": memories}
            self.folder.save(state.step, Checkpoint(self.run, described, arrays))

        on_root(self._communicator, write, "a checkpoint")

    def load(
        self,
        net: Any,
        stack: LayerStack,
        state: TrainingState,
        history: History,
        callbacks: Sequence[Callback],
        losses: Array,
    ) -> dict[str, Any] | None:
        """Bring everything back and return the position; None where there is no checkpoint.

        Raises
        ------
        CheckpointError
            When there are checkpoints and none can be used, or they are of another run.
        """
        checkpoint, problems = on_root(self._communicator, self.folder.load, "a checkpoint")
        if checkpoint is None:
            return None
        folder = self.folder.path
        check_same_run(self.run, checkpoint.run, folder)
        kept = {"parameters": stack.parameters}
        kept |= {f"state {index}": array for index, array in enumerate(state.arrays)}
        keeps_callbacks = self._communicator is None or self._communicator.is_root
        kept_callbacks = resumable(callbacks)
        check_fields(
            checkpoint,
            Expected(
                {name: (array.shape, array.dtype) for name, array in kept.items()},
                losses.dtype,
                len(losses),
                len(kept_callbacks) if keeps_callbacks else None,
            ),
            folder,
        )
        for problem in problems:
            warnings.warn(f"going on from an older checkpoint: {problem}", stacklevel=4)
        placed, arrays = stack.backend.asarray, checkpoint.arrays
        for name, array in kept.items():
            array[...] = placed(arrays[name])
        if len(arrays["losses"]):
            losses[: len(arrays["losses"])] = placed(arrays["losses"])
        kept_state = checkpoint.state
        for name in _COUNTERS:
            setattr(state, name, kept_state[name])
        for name, value in kept_state["history"].items():
            setattr(history, name, value)
        if not keeps_callbacks:
            return kept_state
        memories = zip(kept_callbacks, kept_state["callbacks"], strict=True)
        for index, (callback, memory) in enumerate(memories):
            prefix = f"callback {index} "
            whole_memory = memory | {
                name.removeprefix(prefix): array
                for name, array in arrays.items()
                if name.startswith(prefix)
            }
            who = type(callback).__name__
            check_memory(callback.get_state(net), whole_memory, who, folder)
            try:
                callback.set_state(net, whole_memory)
            except Exception as error:  # of a class that gpubp does not know
                raise CheckpointError(
                    f"the checkpoint in {folder} has a memory of {who} that it cannot take:"
                    f" {error!s:.200}"
                ) from error
        return kept_state


def resumable(callbacks: Sequence[Callback]) -> list[Resumable]:
    """Return the callbacks with a memory."""
    return [callback for callback in callbacks if isinstance(callback, Resumable)]


def checkpointer(
    folder: str | os.PathLike[str],
    every: int | None,
    run: dict[str, Any],
    feed: Feed,
    communicator: Communicator | None = None,
    resume: bool = False,
) -> Checkpointer:
    """Return the checkpointer of a run; its folder must be empty unless it goes on from there."""

    def begun() -> CheckpointFolder:
        checkpoints = CheckpointFolder(folder)
        checkpoints.begin(resume)
        return checkpoints

    made = on_root(communicator, begun, "the folder of checkpoints")
    return Checkpointer(made, every, run | feed.described(), communicator)
