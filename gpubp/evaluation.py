"""Measures of a network on data."""

from __future__ import annotations

from gpubp.backends import Array, Backend
from gpubp.data import CHUNK_ROWS, Data
from gpubp.losses import Loss
from gpubp.stack import LayerStack


def evaluate(stack: LayerStack, data: Data, loss: Loss) -> dict[str, float]:
    """Return the mean loss, and the accuracy where the outputs are probabilities.

    With softmax an answer is right when the likeliest class is the expected one, with sigmoid
    when output and expected value lie on the same side of 1/2.
    """
    total, right = 0.0, 0
    for chunk in data.chunks(CHUNK_ROWS):
        buffers = stack.run_forward(chunk.x)
        stack.run_loss(buffers, chunk.expected, loss)
        total += float(buffers.loss) * len(chunk)
        right += count_right(stack.output.name, buffers.y[-1], chunk.expected, stack.backend)
    measures = {"loss": total / len(data)}
    if stack.output.name == "softmax":
        measures["accuracy"] = right / len(data)
    elif stack.output.name == "sigmoid":
        measures["accuracy"] = right / (len(data) * stack.sizes[-1])
    return measures


def count_right(output: str, y: Array, expected: Array, backend: Backend) -> int:
    """Count right answers; 0 where the outputs are no probabilities."""
    xp = backend.xp
    if output == "softmax":
        classes = expected if expected.ndim == 1 else xp.argmax(expected, axis=1)
        return int((xp.argmax(y, axis=1) == classes).sum())
    if output == "sigmoid":
        return int(((y > 0.5) == (expected > 0.5)).sum())
    return 0
