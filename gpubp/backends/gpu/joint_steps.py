"""The steps of a training on a GPU as they can be done together with those of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from gpubp.backends.gpu.joining import Joiner, likeness
from gpubp.backends.gpu.noting import Launch, Noted
from gpubp.backends.gpu.recording import RecordedSteps, Recording

if TYPE_CHECKING:
    from gpubp.backends.gpu.lockstep import Lockstep

Steps = Callable[[int], None]


class JointSteps:
    """The steps of one training, which are done together with those that others ask for.

    Parameters
    ----------
    noted : sequence
        The launches of a step, in order.
    joiner : Joiner
        Makes one call of launches that are alike.
    record : callable
        Makes a recording of work.
    several : bool
        Whether several steps are worth a recording.
    alone : callable
        Makes what does so many steps of this training by itself.

    Attributes
    ----------
    likeness : int
        The same for all that can be joined.
    size : int
        How often kernels run their operation in a step.
    """

    def __init__(
        self,
        lockstep: Lockstep,
        noted: Sequence[Noted],
        joiner: Joiner,
        record: Callable[[Callable[[], None]], Recording],
        several: bool,
        alone: Callable[[], Steps],
    ) -> None:
        self._lockstep, self._noted, self._joiner = lockstep, noted, joiner
        self._record, self._several, self._make_alone = record, several, alone
        self.likeness = lockstep.number_of(tuple(map(likeness, noted)))
        self.size = sum(one.size if isinstance(one, Launch) else 0 for one in noted)

    def __call__(self, count: int = 1) -> None:
        """Do so many steps."""
        self._lockstep.ask(self, count)

    @cached_property
    def alone(self) -> Steps:
        """What does steps of this training by itself."""
        return self._make_alone()

    def joined(self, others: Sequence[JointSteps]) -> Steps:
        """Return what does steps of this training and of others at once.

        Raises
        ------
        NotJoinable
            When these cannot be.
        """
        of_each = zip(self._noted, *(one._noted for one in others), strict=True)
        calls = [self._joiner.join(launches) for launches in of_each]

        def step() -> None:
            for call in calls:
                call()

        return RecordedSteps(self._record, step, self._several)
