"""What a network is asked when it is not learning: outputs, measures, derivatives."""

from __future__ import annotations

from collections.abc import Sequence

from gpubp.backends import Array, Backend
from gpubp.data import CHUNK_ROWS, Data
from gpubp.losses import Loss
from gpubp.stack import LayerStack


def predict(stack: LayerStack, x: Array) -> Array:
    """Return the outputs (rows, outputs), a chunk of rows at a time."""
    outputs = stack.backend.xp.empty((len(x), stack.sizes[-1]), stack.dtype)
    for start in range(0, len(x), CHUNK_ROWS):
        chunk = x[start : start + CHUNK_ROWS]
        outputs[start : start + CHUNK_ROWS] = stack.run_forward(chunk).y[-1]
    return outputs


def input_gradient(stack: LayerStack, x: Array, columns: Sequence[int]) -> Array:
    """Return dy/dx of some outputs, (rows, len(columns), inputs); no gradients are written."""
    result = stack.backend.xp.empty((len(x), len(columns), stack.sizes[0]), stack.dtype)
    for start in range(0, len(x), CHUNK_ROWS):
        chunk = x[start : start + CHUNK_ROWS]
        buffers = stack.run_forward(chunk)
        dx = stack.scratch("dx", chunk.shape, stack.dtype)
        for place, column in enumerate(columns):
            buffers.delta[-1].fill(0)
            buffers.delta[-1][:, column] = 1
            stack.run_backward(buffers, from_logits=False, dx=dx, gradients=False)
            result[start : start + CHUNK_ROWS, place] = dx
    return result


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
