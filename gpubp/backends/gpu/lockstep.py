"""Several trainings in lockstep on one GPU: a step of each is one recording of all of them.

Each training has a thread, and one thread at a time has the turn: it goes on until it asks for
steps, then the next one does. When all have asked, the steps that are alike are done as one, by
kernels and products with one more axis (`gpubp.backends.gpu.joining`). What a training does
besides steps, it does as if it were alone; one that ends leaves the others to go on.

A training may consist of several, as a fold of several networks does: these join those that are
in lockstep already, and it goes on when they have ended.
"""

from __future__ import annotations

import contextvars
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain
from typing import Any

from gpubp.backends.gpu.joint_steps import JointSteps, Steps
from gpubp.backends.gpu.noting import NotJoinable

LOOKING = 0.5  # seconds until Ctrl-C is looked for, where a wait is not ended by it


class Lockstep:
    """Trainings that take turns, and do their steps together.

    Parameters
    ----------
    device : int
        The device's number.
    on_device : callable
        Returns the context in which steps are done.
    stream : cupy.cuda.Stream
        Where everything is done.
    tell : callable
        Told, for a person to read, why steps are not done together.
    """

    def __init__(
        self,
        device: int,
        on_device: Callable[[], AbstractContextManager[Any]],
        stream: Any,
        tell: Callable[[str], object],
    ) -> None:
        self._device, self._on_device, self._stream, self._tell = device, on_device, stream, tell
        self._told: set[str] = set()
        # only the training whose turn it is reads and writes what follows
        self._turns: list[threading.Semaphore] = []
        self._running: set[int] = set()
        self._asked: dict[int, tuple[JointSteps, int]] = {}
        self._known: defaultdict[int, set[int]] = defaultdict(set)  # likenesses of each so far
        self._waited: set[int] = set()
        self._prepared: dict[tuple[JointSteps, ...], Steps] = {}
        self._failure: BaseException | None = None
        self._likenesses: dict[tuple[Any, ...], int] = {}

    def run(self, works: Sequence[Callable[[], None]], interrupted: Callable[[], object]) -> None:
        """Do trainings until all have ended; none may raise.

        Parameters
        ----------
        interrupted : callable
            Called after Ctrl-C; the trainings should then end soon.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, when all have ended.
        """
        current = _CURRENT.get()
        if current is not None and current[0]._device == self._device:
            current[0]._run_within(current[1], works)
            return
        first, threads = len(self._turns), self._start(works)
        self._turns[first].release()
        interrupt: KeyboardInterrupt | None = None
        for thread in threads:
            while thread.is_alive():
                try:
                    thread.join(LOOKING)
                except KeyboardInterrupt as error:
                    interrupted()
                    interrupt = error
        if interrupt is not None:
            raise interrupt

    def end_by(self, error: BaseException) -> None:
        """Have every training end by an error when it asks for steps."""
        self._failure = error

    def _start(self, works: Sequence[Callable[[], None]]) -> list[threading.Thread]:
        """Begin trainings, each of which waits for its turn."""
        threads = []
        for work in works:
            number = len(self._turns)
            self._turns.append(threading.Semaphore(0))
            self._running.add(number)
            threads.append(threading.Thread(target=self._train, args=(number, work)))
        for thread in threads:
            thread.start()
        return threads

    def _run_within(self, number: int, works: Sequence[Callable[[], None]]) -> None:
        """Do trainings that one consists of, among all others; it waits until they have ended."""
        left = len(works)

        def then_go_on(work: Callable[[], None]) -> None:
            nonlocal left
            try:
                work()
            finally:
                left -= 1
                if not left:
                    self._running.add(number)

        self._running.discard(number)
        threads = self._start([partial(then_go_on, work) for work in works])
        self._hand_on(number)
        self._turns[number].acquire()
        for thread in threads:
            thread.join()

    def _train(self, number: int, work: Callable[[], None]) -> None:
        """Do one training in its thread, on the caller's stream."""
        self._turns[number].acquire()
        with self._stream if self._stream.ptr else nullcontext():
            try:
                _CURRENT.set((self, number))
                work()
            finally:
                self._running.discard(number)
                self._prepared.clear()  # those of all, which will not ask again
                self._hand_on(number)

    def number_of(self, likeness: tuple[Any, ...]) -> int:
        """Return the number of what steps that can be joined have in common."""
        return self._likenesses.setdefault(likeness, len(self._likenesses))

    def ask(self, steps: JointSteps, count: int) -> None:
        """Wait until so many steps are done."""
        current = _CURRENT.get()
        assert current is not None, "joint steps outside of a training in lockstep"
        _, number = current
        self._asked[number] = steps, count
        self._known[number].add(steps.likeness)
        self._hand_on(number)
        self._turns[number].acquire()
        if self._failure is not None:
            raise self._failure

    def _hand_on(self, number: int) -> None:
        """Give the turn to the next training that waits for no steps; if all do, do steps first."""
        if self._asked and len(self._asked) == len(self._running):
            try:
                with self._on_device():
                    self._do_steps()
            except Exception as error:  # each training shall end by it
                self._failure = error
                self._asked.clear()
        ready = sorted(self._running - self._asked.keys())
        if ready:
            later = [each for each in ready if each > number]
            self._turns[(later or ready)[0]].release()

    def _do_steps(self) -> None:
        """Do as many steps as all those have asked for that are alike.

        Those that ask for more wait where others will be like them again: at the short last batch
        of an epoch, say. Nobody waits twice in a row.
        """
        alike: dict[int, list[int]] = {}
        for number in sorted(self._asked):
            alike.setdefault(self._asked[number][0].likeness, []).append(number)
        waiting = [
            numbers
            for likeness, numbers in alike.items()
            if self._waited.isdisjoint(numbers)
            and self._is_worth_waiting(likeness, numbers, alike.values())
        ]
        self._waited = set(chain(*waiting))
        for numbers in alike.values():
            if numbers in waiting:
                continue
            count, _ = self._work_of(numbers)
            self._steps_of(tuple(self._asked[number][0] for number in numbers))(count)
            for number in numbers:
                steps, wanted = self._asked.pop(number)
                if wanted > count:
                    self._asked[number] = steps, wanted - count

    def _is_worth_waiting(
        self, likeness: int, numbers: Sequence[int], groups: Iterable[Sequence[int]]
    ) -> bool:
        """Tell whether others that have been like these before ask for less than these now."""
        return any(
            self._work_of(others) < self._work_of(numbers)
            and any(likeness in self._known[other] for other in others)
            for others in groups
        )

    def _work_of(self, numbers: Sequence[int]) -> tuple[int, int]:
        """Return how many steps all of these ask for, and how large a step of one is."""
        asked = [self._asked[number] for number in numbers]
        return min(count for _, count in asked), asked[0][0].size

    def _steps_of(self, group: tuple[JointSteps, ...]) -> Steps:
        """Return what does steps of several, one after the other where they cannot be joined."""
        steps = self._prepared.get(group)
        if steps is None:
            first, *others = group
            try:
                steps = first.joined(others) if others else first.alone
            except NotJoinable as reason:
                self.tell(str(reason))
                steps = _by_turns(group)
            self._prepared[group] = steps
        return steps

    def tell(self, reason: str) -> None:
        """Say once why steps are done one training after the other."""
        if reason not in self._told:
            self._told.add(reason)
            self._tell(f"networks do their steps one after the other: {reason}")


def _by_turns(group: Sequence[JointSteps]) -> Steps:
    def do(count: int) -> None:
        for steps in group:
            steps.alone(count)

    return do


# the trainings that the one of this thread is among, and its number
_CURRENT: contextvars.ContextVar[tuple[Lockstep, int] | None] = contextvars.ContextVar(
    "lockstep", default=None
)


def current_lockstep() -> Lockstep | None:
    """Return what the training of this thread is in lockstep with; None if it is alone."""
    current = _CURRENT.get()
    return None if current is None else current[0]
