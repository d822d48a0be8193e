"""First weights and biases that follow the data, layer after layer.

Weights: those into a unit are divided by the standard deviation of its sums z over the rows, which
then have variance 1 (LSUV: Mishkin and Matas 2016; "std" of RealMLP: Holzmueller, Grinsztajn and
Steinwart 2024). Biases: minus a random convex combination of a unit's own z in a few rows, so that
it bends where the data are ("he+5" of RealMLP, with five rows: Steinwart 2019).
"""

from __future__ import annotations

import numpy as np

from gpubp.backends import Array
from gpubp.backends.random import INITIAL_BIASES, INITIAL_ROWS, generator
from gpubp.checks import checked_whole
from gpubp.data.reading import gather_rows, read_rows
from gpubp.errors import ShapeError
from gpubp.nn.backprop import LayerStack
from gpubp.nn.layers.dense import Dense, DenseArrays

ROWS = 4096  # at most
ROUNDING = 1e-5  # a deviation below this share of the largest sum may be nothing but rounding


def initialize_from(stack: LayerStack, x: Array, weights: bool, points: int) -> None:
    """Write first weights and biases, of all dense layers, that follow the data.

    Parameters
    ----------
    stack : LayerStack
        In a precision of its own dtype.
    x : array or SparseRows, (rows, inputs)
        Stored inputs; of many rows `ROWS` are drawn.
    weights : bool
        Whether weights are scaled; those of normalised sums, and of sums that are the same in all
        rows, are left as they are.
    points : int
        Rows that a bias is drawn from; with 0 biases are left as they are.

    Raises
    ------
    ConfigurationError, ShapeError
        When there are no rows, or `points` is no whole number from 0 to `ROWS`.
    """
    checked_whole("biases", points, least=0, most=ROWS)
    if not len(x):
        raise ShapeError(f"x has shape {tuple(x.shape)}; one row or more is needed")
    x = _sample(stack, x)
    buffers = stack.buffers(len(x))
    for index, (layer, p) in enumerate(zip(stack.layers, buffers.layers, strict=True)):
        p.step, p.learning = None, True
        if isinstance(layer, Dense) and isinstance(p, DenseArrays):
            draw = generator(stack.seed, INITIAL_BIASES + index)
            _initialize(stack, layer, p, x, weights, points, draw)
        x = layer.forward(stack.backend, x, p)


def _sample(stack: LayerStack, x: Array) -> Array:
    """Return rows as the first layer reads them: all, or as many as are enough."""
    if len(x) <= ROWS:
        return read_rows(stack, x)
    rows = generator(stack.seed, INITIAL_ROWS).choice(len(x), ROWS, replace=False)
    return gather_rows(stack, x, stack.backend.asarray(np.sort(rows)))


def _initialize(
    stack: LayerStack,
    layer: Dense,
    p: DenseArrays,
    x: Array,
    weights: bool,
    points: int,
    draw: np.random.Generator,
) -> None:
    backend = stack.backend
    layer.forward(backend, x, p, logits=True)
    z = np.array(backend.to_numpy(p.z), np.float64) - backend.to_numpy(layer.bias)
    if weights and layer.normalization is None:
        deviation = z.std(axis=0)
        deviation[deviation <= ROUNDING * abs(z).max(axis=0)] = 1
        z /= deviation
        layer.weight[...] = backend.asarray(backend.to_numpy(layer.weight) / deviation, stack.dtype)
    if points:
        shares = draw.standard_exponential((points, layer.outputs))
        shares /= shares.sum(axis=0)  # any convex combination is as likely as any other
        rows = draw.integers(0, len(z), shares.shape)
        bias = -(shares * z[rows, np.arange(layer.outputs)]).sum(axis=0)
        layer.bias[...] = backend.asarray(bias, stack.dtype)
