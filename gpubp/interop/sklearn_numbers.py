"""What makes a training follow scikit-learn's: order of rows, optimizers, initial weights.

Written after scikit-learn 1.9, `sklearn/neural_network`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import shuffle

from gpubp.nn.optimizers import Adam
from gpubp.nn.regularization import Regularization


@dataclass(frozen=True)
class AdamOfScikitLearn(Adam):
    """Adam as scikit-learn has it: epsilon is not divided by the bias correction.

    That is the last form of Kingma and Ba 2015, section 2.
    """

    def scalars(self, step: int, factor: float = 1.0, decay: float = 1.0) -> tuple[float, ...]:
        """Return the kernel's scalars at a step; see `gpubp.nn.optimizer.Optimizer`."""
        rate, beta1, beta2, epsilon, correction, shrink = super().scalars(step, factor, decay)
        return rate, beta1, beta2, epsilon * correction, correction, shrink


@dataclass(frozen=True)
class PenaltyOfScikitLearn(Regularization):
    """`alpha` beside a loss that is to be averaged over the outputs, while gradients are summed.

    The loss that results is `outputs` times the one that scikit-learn reports.
    """

    outputs: int = 1

    @property
    def _in_loss(self) -> float:
        return self.outputs


class RowOrder:
    """The order of the rows in each epoch: the last epoch's, shuffled by a RandomState.

    Called with the number of an epoch, which only grows.
    """

    def __init__(self, rows: int, random_state: np.random.RandomState) -> None:
        self._order = np.arange(rows)
        self._random_state = random_state
        self._epoch: int | None = None

    def __call__(self, epoch: int) -> NDArray[np.int64]:
        """Return the order of an epoch, shape (rows,)."""
        if epoch != self._epoch:
            self._order = shuffle(self._order, random_state=self._random_state)
            self._epoch = epoch
        return self._order


def initial_parameters(
    sizes: Sequence[int],
    activations: Sequence[str],
    random_state: np.random.RandomState,
    dtype: Any,
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Draw weights and biases of every layer as scikit-learn does (Glorot and Bengio 2010).

    Parameters
    ----------
    sizes : sequence of int
        Number of inputs, of neurons in each layer.
    activations : sequence of str
        What each layer is drawn for; the output layer is like the last hidden one.

    Returns
    -------
    list of (weight, bias)
        Shapes (inputs, outputs) and (outputs,).
    """
    drawn = []
    for (inputs, outputs), name in zip(pairwise(sizes), activations, strict=True):
        bound = np.sqrt((2.0 if name == "sigmoid" else 6.0) / (inputs + outputs))
        weight = random_state.uniform(-bound, bound, (inputs, outputs))
        bias = random_state.uniform(-bound, bound, outputs)
        drawn.append((weight.astype(dtype), bias.astype(dtype)))
    return drawn
