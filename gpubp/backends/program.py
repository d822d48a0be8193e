"""A step as data: the operations it is made of, noted instead of carried out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple


class Operation(NamedTuple):
    """A method of a backend, by name, and what it is called with."""

    name: str
    arguments: tuple[Any, ...]


class Tracer:
    """Stands in for a backend and notes what it is asked to do."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.operations.append(Operation(name, arguments))


def traced(work: Callable[[Any], None]) -> list[Operation]:
    """Return the operations of a piece of work, none of which is done."""
    tracer = Tracer()
    work(tracer)
    return tracer.operations


def largest_product(operations: Sequence[Operation]) -> int:
    """Return the multiplications of the largest product."""
    return max(map(_multiplications, operations), default=0)


def all_products(operations: Sequence[Operation]) -> int:
    """Return the multiplications of all products."""
    return sum(map(_multiplications, operations))


def _multiplications(operation: Operation) -> int:
    if operation.name != "multiply":
        return 0
    a, b, *_ = operation.arguments
    return int(a.shape[0]) * int(a.shape[1]) * int(b.shape[1])


def carry_out(backend: Any, operations: Sequence[Operation]) -> None:
    """Have a backend carry out operations, one after the other."""
    for name, arguments in operations:
        getattr(backend, name)(*arguments)


class WalkedSteps:
    """A training step done as it stands, as often as it is asked to.

    Parameters
    ----------
    work : callable
        Does one step with the operations of a backend.
    threads : context manager
        What the step is done in.
    """

    def __init__(
        self, backend: Any, work: Callable[[Any], None], threads: AbstractContextManager[None]
    ) -> None:
        self._backend, self._work, self._threads = backend, work, threads

    def __call__(self, count: int = 1) -> None:
        """Do so many steps."""
        for _ in range(count):
            self.do(self._work)

    def do(self, work: Callable[[Any], None]) -> None:
        """Do another piece of work in the same way: its arrays need not be those of the first."""
        with self._threads:
            work(self._backend)


def do_in_turn(calls: Sequence[tuple[Callable[[int], None], int]]) -> None:
    """Do prepared steps one after the other, each so many times; in one call where they can be."""
    kinds = {type(steps) for steps, _ in calls}
    together = getattr(kinds.pop(), "in_turn", None) if len(kinds) == 1 else None
    if together is not None:
        together(calls)
        return
    for steps, count in calls:
        steps(count)
