"""Gradients of the weights beside the way down: two branches of a recorded step.

The gradients of a layer's weights, dW = x' delta, are needed by the update alone. The product that
the layers below wait for, dx = delta W', need not wait for them, and neither fills a large device
at a moderate batch. Which of both orders is the faster is found by timing; they give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gpubp.backends.gpu.products import Products, kinds
from gpubp.backends.gpu.transfers import Branch
from gpubp.backends.program import Operation, carry_out
from gpubp.backends.scratch import Scratch

# What may go on beside gradients of weights: it writes gradients by outputs of layers further down
DOWNWARD = ("dense_backward", "multiply", "dropout")


class CupyBranching:
    """What the CuPy backend does beside the current stream.

    Each stream that asks has a branch of its own, whose products have a workspace of their own.
    """

    xp: Any
    _products: Products | None
    _branches: dict[int, Branch]  # by the address of the stream that they are beside

    def beside(self, operation: Operation) -> None:
        """Do an operation once all that was begun is done, and wait for it in `join` alone."""
        with self._own_branch().after_what_was_begun():
            carry_out(self, [operation])

    def join(self) -> None:
        """Let what follows come after all that goes on beside."""
        self._own_branch().join()

    @contextmanager
    def lend(self, stream: Any) -> Iterator[None]:
        """Let a stream that records use workspace and branch of the current one."""
        assert self._products is not None, "only products need what is lent"
        self._branches[stream.ptr] = self._own_branch()
        try:
            with self._products.lend_workspace(stream):
                yield
        finally:
            del self._branches[stream.ptr]

    def _own_branch(self) -> Branch:
        current = self.xp.cuda.get_current_stream().ptr
        branch = self._branches.get(current)
        if branch is None:
            branch = self._branches[current] = Branch(self.xp)
        return branch


def with_branch(
    operations: Sequence[Operation],
    scratch: Scratch,
    pays: Callable[[Sequence[Operation], Sequence[Operation]], bool],
) -> list[Operation]:
    """Return the same step with gradients of weights beside the way down, where that pays.

    It is left as it is where anything else lies between, such as sums over processes.

    Parameters
    ----------
    scratch : Scratch
        Lends temporary arrays to what goes on beside.
    pays : callable
        Told the operations in order and those with a branch, which it may carry out, tells whether
        the latter are to be taken.
    """
    places = [at for at, one in enumerate(operations) if one.name == "dense_backward"]
    # those of the lowest layer have nothing beside them; a slope is part of the way down
    aside = [at for at in places[:-1] if operations[at].arguments[0] == "identity"]
    if not aside:
        return list(operations)
    start, end = aside[0], places[-1] + 1
    in_order = operations[start:end]
    if not all(one.name in DOWNWARD for one in in_order):
        return list(operations)
    branched = [
        _aside(one, scratch) if at in aside else one for at, one in enumerate(in_order, start)
    ]
    branched.append(Operation("join", ()))
    if not pays(in_order, branched):
        return list(operations)
    return [*operations[:start], *branched, *operations[end:]]


def branch_key(in_order: Sequence[Operation]) -> str:
    """Name what decides whether a branch pays."""
    described = (
        f"{one.name} {kinds(*(each for each in one.arguments if hasattr(each, 'dtype')))}"
        for one in in_order
    )
    return f"branch {', '.join(described)}"


def _aside(operation: Operation, scratch: Scratch) -> Operation:
    *arguments, _, scale = operation.arguments
    return Operation("beside", (operation._replace(arguments=(*arguments, scratch, scale)),))
