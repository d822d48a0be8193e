"""Training by L-BFGS-B, which SciPy does (Byrd et al. 1995): all rows in every evaluation."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from gpubp.data.batches import Data
from gpubp.data.feeds import read_rows
from gpubp.nn.backprop import LayerStack
from gpubp.nn.losses import Loss
from gpubp.nn.regularization import Regularization
from gpubp.training.step import compute_gradients

CHUNK_ROWS = 8192


def minimize_loss(
    stack: LayerStack,
    data: Data,
    loss: Loss,
    regularization: Regularization,
    *,
    outputs: int,
    max_iter: int,
    max_fun: int,
    tol: float,
) -> tuple[int, float]:
    """Train to a minimum of the mean loss of all rows; return iterations done and the loss there.

    The loss is divided by `outputs`, and its gradient is not, as scikit-learn has it.

    Warns
    -----
    ConvergenceWarning
        When it ended before the gradient was small.
    """
    first = stack.backend.to_numpy(stack.trained).astype(np.float64)

    def objective(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        stack.trained[...] = stack.backend.asarray(parameters, stack.dtype)
        total, gradient = _loss_and_gradient(stack, data, loss, regularization)
        return total / outputs, gradient

    options = {"maxfun": max_fun, "maxiter": max_iter, "gtol": tol}
    result = minimize(objective, first, method="L-BFGS-B", jac=True, options=options)
    stack.trained[...] = stack.backend.asarray(result.x, stack.dtype)
    if result.status != 0:
        warnings.warn(
            f"lbfgs failed to converge after {result.nit} iteration(s) (status={result.status}):"
            f" {result.message}; a larger max_iter, or scaled data, may help",
            ConvergenceWarning,
            stacklevel=4,
        )
    return min(int(result.nit), max_iter), float(result.fun)


def _loss_and_gradient(
    stack: LayerStack, data: Data, loss: Loss, regularization: Regularization
) -> tuple[float, NDArray[np.float64]]:
    """Return the mean loss of all rows with the penalty, and its gradient, (parameters,)."""
    backend = stack.backend
    weight = float(len(data)) if data.weights is None else float(data.weights.sum())
    total, gradient = 0.0, np.zeros(stack.gradients.size)
    stack.refresh()
    for chunk in data.chunks(CHUNK_ROWS):
        batch = Data(read_rows(stack, chunk.x), chunk.expected, weights=chunk.weights)
        buffers = stack.buffers(len(chunk))
        with stack.threads_for(len(chunk)):
            compute_gradients(backend, stack, buffers, batch, loss)
        own = float(len(chunk)) if chunk.weights is None else float(buffers.weight)
        total += float(buffers.loss) * own / weight
        gradient += backend.to_numpy(stack.gradients).astype(np.float64) * (own / weight)
    stack.gradients[...] = backend.asarray(gradient, stack.dtype)
    mean = backend.xp.zeros((), stack.dtype)
    total_weight = backend.xp.full((), weight, stack.dtype)
    scaling = backend.asarray(np.array([1, 0, 0], np.float32))
    regularization.before_update(backend, stack, mean, total_weight, scaling)
    penalized = backend.to_numpy(stack.gradients).astype(np.float64)
    return total + float(mean), penalized
