"""What the processes of one training tell each other between the steps; alone, nothing."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array
from gpubp.distributed.communicator import Communicator
from gpubp.errors import DistributedError, brief
from gpubp.training.epoch_steps import Training
from gpubp.training.history import History


def check_alike(processes: Communicator, described: dict[str, Any]) -> None:
    """Refuse processes that were given different things.

    Raises
    ------
    DistributedError
        Names the rank, what differs and both values.
    """
    found = processes.collect(described, "what is trained on", patient=True)
    for rank, other in enumerate(found):
        name = next((n for n in found[0] | other if found[0].get(n) != other.get(n)), None)
        if name is not None:
            error = DistributedError(
                f"rank {rank} has {name} {brief(other.get(name), 100)} and rank 0"
                f" {brief(found[0].get(name), 100)}; the same data, network and settings are needed"
            )
            error.everywhere = True
            raise error


class Agreement:
    """Keeps the weights, the counters and the decisions of all processes the same."""

    def __init__(self, training: Training, history: History) -> None:
        self._training, self._history = training, history
        group = training.group
        self.communicator: Communicator | None = None if group is None else group.communicator

    def join(self, index: int) -> None:
        """Begin with the numbers of rank 0; `index` is the batch that comes first.

        Raises
        ------
        DistributedError
            When the processes have trained differently before.
        """
        processes, state = self.communicator, self._training.state
        if processes is None:
            return
        self._compare_beginnings(processes)
        own = (state.step, state.epoch, state.updates, index)
        of_root = processes.share(own, "the first weights")
        if own != of_root:
            raise DistributedError(
                f"rank {processes.rank} begins at (step, epoch, update, batch) {own} and"
                f" rank 0 at {of_root}; the same networks are needed"
            )
        for array in (self._training.stack.parameters, *state.arrays):
            self._broadcast(processes, array, "the first weights")

    def _compare_beginnings(self, processes: Communicator) -> None:
        """Refuse networks, settings or data that differ: sums of them mean nothing."""
        training = self._training
        described = training.stack.spec.to_dict() | training.settings.described()
        described |= training.feed.described()
        check_alike(processes, described)

    def agree(self, what: str) -> None:
        """Take over what rank 0's callbacks have changed and decided."""
        processes, state = self.communicator, self._training.state
        if processes is None:
            return
        decided = (self._history.stopped, state.rate_factor)
        self._history.stopped, state.rate_factor = processes.share(decided, what)
        self._broadcast(processes, self._training.stack.parameters, what)

    def compare(self) -> None:
        """Make sure that all processes have the same weights.

        Raises
        ------
        DistributedError
            When they have not; names the first that differs.
        """
        if self.communicator is None:
            return
        host = self._training.stack.backend.to_numpy(self._training.stack.parameters)
        digest = hashlib.sha256(host.tobytes()).hexdigest()
        digests = self.communicator.collect(digest, "the comparison of the weights")
        other = next((rank for rank, each in enumerate(digests) if each != digests[0]), None)
        if other is not None:
            error = DistributedError(
                f"the weights of rank {other} differ from those of rank 0 after epoch"
                f" {self._history.epochs}; the same libraries and processors are needed on all"
                " machines"
            )
            error.everywhere = True
            raise error

    def wait_for(self, losses: Array, first: bool) -> NDArray[Any]:
        """Return losses on the host; a device that waits for another is watched here."""
        to_numpy = self._training.stack.backend.to_numpy
        if self.communicator is None:
            return np.asarray(to_numpy(losses))
        dog = self.communicator.watchdog
        dog.step = self._training.state.step
        with dog.waiting("the losses of the steps up to it", patient=first):
            return np.asarray(to_numpy(losses))

    def total(self, own: NDArray[np.float64], what: str) -> NDArray[np.float64]:
        """Return the sum of everyone's numbers, added up in the order of the ranks."""
        if self.communicator is None:
            return own
        total: NDArray[np.float64] = np.sum(self.communicator.collect(own, what), axis=0)
        return total

    def first_place(self, place: str) -> str:
        """Return where a loss is not finite: it may be in another process's rows."""
        if self.communicator is None:
            return place
        places = self.communicator.collect(place, "where the loss is not finite")
        return next((each for each in places if each != "the loss"), place)

    def left_alone(self, together: bool) -> None:
        """Note whether all processes come to the end of this."""
        if self.communicator is not None:
            self.communicator.left_alone = not together

    def _broadcast(self, processes: Communicator, array: Array, what: str) -> None:
        """Put rank 0's numbers into an array, through the host's memory."""
        backend = self._training.stack.backend
        host = np.ascontiguousarray(backend.to_numpy(array))
        processes.broadcast(host, what)
        array[...] = backend.asarray(host)
