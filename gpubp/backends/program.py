"""A step as data: the operations it is made of, noted instead of carried out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def largest_product(operations: Sequence[Operation]) -> int:
    """Return the multiplications of the largest product."""
    return max(map(_multiplications, operations), default=0)


def all_products(operations: Sequence[Operation]) -> int:
    """Return the multiplications of all products."""
    return sum(map(_multiplications, operations))


def _multiplications(operation: Operation) -> int:
    if operation.name != "multiply":
        return 0
    a, b, _ = operation.arguments
    return int(a.shape[0]) * int(a.shape[1]) * int(b.shape[1])


def carry_out(backend: Any, operations: Sequence[Operation]) -> None:
    """Have a backend carry out operations, one after the other."""
    for name, arguments in operations:
        getattr(backend, name)(*arguments)
