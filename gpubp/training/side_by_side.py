"""Trainings side by side on the processors: what one does when another ends, or all must."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, TypeVar

from gpubp.backends import Backend, Lockstep
from gpubp.backends.cpu.thread_count import thread_count
from gpubp.backends.cpu.threads import one_thread
from gpubp.checks import check_seconds
from gpubp.errors import DivergenceError
from gpubp.nn.view import NetworkView
from gpubp.training.history import History
from gpubp.training.stopping import TIME_LIMIT

Training = Callable[[int, Sequence[Any]], None]
Result = TypeVar("Result")
MOST_MEMBERS = 10_000  # networks that estimators have answer together
AT_A_TIME = 16  # in lockstep, where nobody knows what they take of a GPU's memory

_thread = threading.local()  # what each thread of Python says of the training that it does


def is_side_by_side() -> bool:
    """Tell whether this thread does one of several trainings, which stay where they lie."""
    return getattr(_thread, "side_by_side", False)


class Watch:
    """A callback that ends a training when its time is over or somebody asks for it.

    Parameters
    ----------
    until : float or None
        When the time is over, in seconds of `time.perf_counter`.
    asked : threading.Event
        Set by whoever wants all trainings to end.
    """

    every_epoch = False

    def __init__(self, until: float | None, asked: threading.Event) -> None:
        self._until, self._asked = until, asked

    @property
    def reason(self) -> str:
        """Why the training ended, as ``history.stopped`` has it."""
        return "interrupted" if self.is_asked else TIME_LIMIT

    @property
    def is_asked(self) -> bool:
        """Whether somebody wants all trainings to end."""
        return self._asked.is_set()

    def begin(self, net: NetworkView, epochs: int) -> None:
        """Do nothing."""

    def advance(self, history: History, share: float) -> bool:
        """Say whether to end within an epoch."""
        return self.is_asked or self._is_over()

    def epoch_end(self, net: NetworkView, history: History) -> bool:
        """Say whether to end, also because half of the next epoch would be too late."""
        mean = sum(history.seconds) / max(history.epochs, 1)
        return self.is_asked or self._is_over(mean / 2)

    def end(self, net: NetworkView, history: History) -> None:
        """Do nothing."""

    def _is_over(self, more: float = 0.0) -> bool:
        return self._until is not None and time.perf_counter() + more > self._until


def at_a_time(backend: Backend, count: int, most: int | None = None) -> tuple[int, Lockstep | None]:
    """Return how many of so many trainings go at a time, and what those do their steps with.

    On a CPU one goes on each processor; on a GPU all are in lockstep, or as many as `most` says.
    """
    lockstep = backend.lockstep()
    if lockstep is None:
        most = thread_count()
    return min(count, count if most is None else most), lockstep


def train_side_by_side(
    count: int,
    train: Training,
    workers: int,
    time_limit: float | None = None,
    undivided: bool = False,
    lockstep: Lockstep | None = None,
) -> list[DivergenceError | None]:
    """Do so many trainings, some at a time, and return for each why it diverged, or None.

    No bit of a result depends on how many go at a time.

    Parameters
    ----------
    train : callable
        ``train(number, callbacks)`` does one of them.
    workers : int
        How many at a time, each on one thread; a single one has all threads, unless `undivided`.
    time_limit : float or None
        Seconds for all of them. What is not begun by then is left out.
    undivided : bool
        Whether steps have the bits of a process that computes with one thread.
    lockstep : Lockstep or None
        What those that go at a time do their steps with, instead of on one thread each.

    Raises
    ------
    ConfigurationError
        When the time limit is no finite number above 0.
    DivergenceError
        When the loss of all became infinite.
    KeyboardInterrupt
        After Ctrl-C, when all have ended.
    """
    check_seconds("time_limit", time_limit)
    asked, start = threading.Event(), time.perf_counter()
    turns = -(-count // workers)

    def run(number: int) -> None:
        turn = number // workers + 1
        until = None if time_limit is None else start + time_limit * turn / turns
        in_time = until is None or not number or time.perf_counter() <= until
        if in_time and not asked.is_set():
            before, _thread.side_by_side = is_side_by_side(), True
            try:
                train(number, [Watch(until, asked)])
            finally:
                _thread.side_by_side = before

    def run_alone(number: int) -> None:
        with one_thread(undivided):
            run(number)

    if lockstep is not None and workers > 1:
        failures = _in_lockstep(lockstep, count, run, workers, asked)
    elif workers == 1:
        one = run_alone if undivided else run
        failures = [_failure(lambda number=number: one(number)) for number in range(count)]  # type: ignore[misc]
    else:
        with ThreadPoolExecutor(workers) as threads:
            try:
                futures = [threads.submit(run_alone, number) for number in range(count)]
                failures = _failures(futures, asked)
            except BaseException:
                asked.set()
                threads.shutdown(cancel_futures=True)
                raise
    diverged = [failure for failure in failures if failure is not None]
    if len(diverged) == count:
        raise diverged[0]
    return failures


def results_of(works: Sequence[Callable[[], Result]], lockstep: Lockstep | None) -> list[Result]:
    """Return what pieces of work return, each of which trains and measures.

    They are done one after the other; in lockstep some at a time, where an error of one ends all.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C.
    Exception
        What a piece of work raises.
    """
    if lockstep is None:
        return [work() for work in works]
    results: dict[int, Result] = {}
    errors: list[BaseException] = []

    def do(number: int) -> None:
        try:
            results[number] = works[number]()
        except BaseException as error:
            errors.append(error)
            lockstep.end_by(error)

    for start in range(0, len(works), AT_A_TIME):
        numbers = range(start, min(start + AT_A_TIME, len(works)))
        pieces = [partial(do, number) for number in numbers]
        lockstep.run(pieces, lambda: lockstep.end_by(KeyboardInterrupt()))
        if errors:
            raise errors[0]
    return [results[number] for number in range(len(works))]


def _failure(run: Callable[[], None]) -> DivergenceError | None:
    try:
        run()
    except DivergenceError as error:
        return error
    return None


def _in_lockstep(
    lockstep: Lockstep,
    count: int,
    run: Callable[[int], None],
    workers: int,
    asked: threading.Event,
) -> list[DivergenceError | None]:
    """Do all trainings, so many at a time; after an error have the others end first."""
    errors: list[BaseException | None] = [None] * count

    def work(number: int) -> None:
        try:
            run(number)
        except BaseException as error:
            errors[number] = error
            if _is_serious(error):
                asked.set()

    for start in range(0, count, workers):
        numbers = range(start, min(start + workers, count))
        lockstep.run([partial(work, number) for number in numbers], asked.set)
    return _divergences(errors)


def _failures(
    futures: Sequence[Future[None]], asked: threading.Event
) -> list[DivergenceError | None]:
    """Wait for all trainings; after an error have the others end first.

    Of several errors that of the first network is raised.
    """
    pending: Any = futures
    while pending:
        done, pending = wait(pending, return_when=FIRST_EXCEPTION)
        if any(_is_serious(future.exception()) for future in done):
            asked.set()
    return _divergences([future.exception() for future in futures])


def _divergences(errors: Sequence[BaseException | None]) -> list[DivergenceError | None]:
    """Return which trainings diverged; raise the first error that is another one."""
    for error in errors:
        if error is not None and _is_serious(error):
            raise error
    return [error if isinstance(error, DivergenceError) else None for error in errors]


def _is_serious(error: BaseException | None) -> bool:
    return error is not None and not isinstance(error, DivergenceError)
