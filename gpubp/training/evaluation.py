"""What a network is asked when it is not learning: outputs, measures, derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array, Backend
from gpubp.data.feeds import HeldOut, read_rows
from gpubp.nn.backprop import LayerStack
from gpubp.nn.buffers import Buffers
from gpubp.nn.losses import Loss
from gpubp.training.group import Group
from gpubp.training.prepared_pass import kept_pass

# Tells how many answers are right in each row, (rows,)
CountRight = Callable[[Array, Array, Backend], Array]


def forward(stack: LayerStack, x: Array) -> Buffers:
    """Do a forward pass over some rows; return its buffers, which the next pass writes over."""
    prepared = kept_pass(stack, len(x))
    return _walked(stack, x) if prepared is None else prepared(x)


def _walked(stack: LayerStack, x: Array) -> Buffers:
    buffers = stack.buffers(len(x))
    stack.forward(stack.backend, x, buffers)
    return buffers


def input_gradient(stack: LayerStack, x: Array, columns: Sequence[int]) -> Array:
    """Return dy/dx of some outputs, (rows, len(columns), inputs); no gradients are written."""
    rows = stack.backend.chunk_rows
    result = stack.backend.xp.empty((len(x), len(columns), stack.sizes[0]), stack.dtype)
    stack.refresh()
    for start in range(0, len(x), rows):
        chunk = read_rows(stack, x, start, start + rows)
        buffers = _walked(stack, chunk)
        dx = stack.scratch("dx", chunk.shape, stack.dtype)
        chosen = stack.scratch("chosen output", buffers.delta.shape, stack.dtype)
        for place, column in enumerate(columns):
            chosen.fill(0)
            chosen[:, column] = 1
            stack.backend.convert(chosen, buffers.delta)
            stack.backward(stack.backend, buffers, dx=dx, gradients=False)
            result[start : start + rows, place] = dx
    if stack.input_scale != 1:
        result *= stack.input_scale
    return result


def evaluate(
    stack: LayerStack, data: HeldOut, loss: Loss, group: Group | None = None
) -> dict[str, float]:
    """Return the mean loss and, where answers can be right or wrong, the accuracy.

    With softmax, or class indices as expected values, an answer is right when the largest output
    is that of the expected class; with sigmoid otherwise, when output and expected value lie on
    the same side of 1/2. Rows count by their weights, where they have some. The processes of a
    group measure their shards and add up what they found, in one order however many they are.
    """
    count_right = _counter(stack, data)
    stack.refresh()
    if group is None:
        sums = [_measured(stack, data, loss, count_right)]
    else:
        count, own = group.shards.count, group.shards.own
        own_sums = [_measured(stack, data.shard(count, shard), loss, count_right) for shard in own]
        everyones = group.communicator.collect(own_sums, "the validation loss")
        sums = [each for of_process in everyones for each in of_process]
    total, weight, right = map(sum, zip(*sums, strict=True))
    measures = {"loss": total / weight if weight else 0.0}
    if count_right:
        answers = weight * (stack.sizes[-1] if count_right is _same_side else 1)
        measures["accuracy"] = right / answers if answers else 0.0
    return measures


def expected_and_outputs(stack: LayerStack, data: HeldOut) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return all expected values, in the form the loss takes, and the outputs, on the host."""
    stack.refresh()
    host, parts = stack.backend.to_numpy, []
    for chunk in data.chunks(stack.backend.chunk_rows):
        outputs = forward(stack, read_rows(stack, chunk.x)).output
        parts.append((host(chunk.expected).copy(), host(outputs).copy()))
    expected, outputs = map(np.concatenate, zip(*parts, strict=True))
    return expected, outputs


def _measured(
    stack: LayerStack,
    data: HeldOut,
    loss: Loss,
    count_right: CountRight | None,
) -> tuple[float, float, float]:
    """Return the sum of the losses, the weight of the rows, and that of the right answers."""
    total, weight, right = 0.0, 0.0, 0.0
    for chunk in data.chunks(stack.backend.chunk_rows):
        buffers = forward(stack, read_rows(stack, chunk.x))
        stack.loss(stack.backend, buffers, chunk.expected, loss, chunk.weights)
        weighs = len(chunk) if chunk.weights is None else float(buffers.weight)
        total += float(buffers.loss) * weighs
        weight += weighs
        if count_right:
            right_answers = count_right(buffers.output, chunk.expected, stack.backend)
            if chunk.weights is not None:
                right_answers = right_answers * chunk.weights
            right += float(right_answers.sum())
    return total, weight, right


def _counter(stack: LayerStack, data: HeldOut) -> CountRight | None:
    if stack.output.name == "softmax" or data.one_class:
        return _largest_is_expected
    return _same_side if stack.output.name == "sigmoid" else None


def _largest_is_expected(y: Array, expected: Array, backend: Backend) -> Array:
    xp = backend.xp
    classes = expected if expected.ndim == 1 else xp.argmax(expected, axis=1)
    return xp.argmax(y, axis=1) == classes


def _same_side(y: Array, expected: Array, backend: Backend) -> Array:
    return ((y > 0.5) == (expected > 0.5)).sum(axis=1)
