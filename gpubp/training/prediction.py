"""Outputs for any number of rows, in chunks that the processors share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpubp.backends import Array
from gpubp.backends.cpu.thread_count import thread_count
from gpubp.data.feeds import read_rows
from gpubp.nn.backprop import LayerStack
from gpubp.training.evaluation import forward
from gpubp.training.side_by_side import is_side_by_side, train_side_by_side

DEALT_ROWS = 1 << 15  # from which on the chunks are dealt to the processors


def predict(stack: LayerStack, x: Array) -> Array:
    """Return the outputs (rows, outputs), a chunk of rows at a time.

    On a CPU the chunks of many rows are dealt to the processors; no bit depends on how many.
    """
    backend = stack.backend
    outputs = backend.xp.empty((len(x), stack.sizes[-1]), stack.dtype)
    stack.refresh()
    dealt = backend.name == "cpu" and len(x) >= DEALT_ROWS and not is_side_by_side()
    workers = thread_count() if dealt else 1
    stacks = [stack, *(stack.beside() for _ in range(1, workers))]

    def answer(worker: int, watch: Sequence[Any] = ()) -> None:
        step = backend.chunk_rows
        for start in range(worker * step, len(x), workers * step):
            if any(each.is_asked for each in watch):
                return
            rows = read_rows(stacks[worker], x, start, start + step)
            outputs[start : start + step] = forward(stacks[worker], rows).output

    if workers == 1:
        answer(0)
    else:
        train_side_by_side(workers, answer, workers)
    return outputs
