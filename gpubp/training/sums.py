"""What happens between the gradients of one's own rows and those of the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpubp.backends import Array
from gpubp.data.batches import Data
from gpubp.distributed.device_sum import DeviceSum
from gpubp.nn.backprop import LayerStack
from gpubp.nn.buffers import Buffers
from gpubp.training.settings import Turn

# A shard's dropout masks are drawn by its number, above the bits that count steps.
SHARD_BIT = 40


class Sums:
    """One process by itself, for which nothing happens; others override what they do.

    What a process does besides operations of its backend goes through ``ops.call``, so that it has
    its place among them.

    Attributes
    ----------
    gathers : bool
        Whether it adds up the batches of one update too.
    """

    gathers = False

    def begin(self, ops: Any, own: int, rows: int, turn: Turn) -> None:
        """Begin a batch of so many rows, of which so many are one's own."""

    def pieces(self, own: int, rows: int) -> list[tuple[int, int]]:
        """Return where the pieces begin and end that go forward and back by themselves."""
        return [(0, own)]

    def begin_piece(self, ops: Any, number: int, rows: int) -> None:
        """Begin a piece of so many rows."""

    def written(self, ops: Any) -> Callable[[int], None] | None:
        """Return what is told of each layer whose gradients are written."""
        return None

    def end_piece(self, ops: Any, number: int, buffers: Buffers) -> None:
        """Take the gradients of a piece."""

    def finish(self, ops: Any, buffers: Buffers, batch: Data) -> tuple[Array, Array]:
        """Return the mean loss and the weight of the rows of the whole batch, both ()."""
        return buffers.loss, buffers.count if batch.weights is None else buffers.weight


ALONE = Sums()


class SumsOnDevices(Sums):
    """Several GPUs: NCCL adds up where the gradients lie, partly during the backward pass."""

    def __init__(self, stack: LayerStack, device_sum: DeviceSum) -> None:
        self._stack, self._sum, self._rows = stack, device_sum, 0

    def begin(self, ops: Any, own: int, rows: int, turn: Turn) -> None:
        """Begin a batch; one that is too short to have rows for this process adds nothing."""
        self._rows = rows
        ops.call(self._sum.watch, own / rows)
        if not own:
            buffers = self._stack.buffers(1)
            ops.call(self._stack.gradients.fill, 0)
            ops.call(buffers.loss.fill, 0)
            for index in reversed(range(len(self._stack.layers))):
                ops.call(self._sum.ready, index)  # in the order of those that have rows

    def written(self, ops: Any) -> Callable[[int], None]:
        """Return what begins the sums of layers whose gradients are written."""
        return lambda index: ops.call(self._sum.ready, index)

    def finish(self, ops: Any, buffers: Buffers, batch: Data) -> tuple[Array, Array]:
        """Add up the rest."""
        ops.call(self._sum.finish, buffers.loss)
        return buffers.loss, self._sum.count(self._rows)
