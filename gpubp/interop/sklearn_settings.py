"""What scikit-learn's parameters say of a training: penalty, optimizer, size of a batch."""

from __future__ import annotations

import warnings
from typing import Any

from gpubp.errors import brief
from gpubp.interop.sklearn_numbers import AdamOfScikitLearn, PenaltyOfScikitLearn
from gpubp.nn.optimizer import Optimizer
from gpubp.nn.optimizers import SGD, get_optimizer
from gpubp.nn.regularization import Regularization


def penalty(estimator: Any) -> Regularization:
    """Return what `alpha` and `max_norm` add to the loss and do to the weights."""
    outputs = estimator._averaged_outputs()
    alpha, max_norm = float(estimator.alpha), estimator.max_norm
    return PenaltyOfScikitLearn(alpha=alpha, max_norm=max_norm, outputs=outputs)


def optimizer_of(estimator: Any) -> Optimizer:
    """Return the optimizer: the one given, or that of the solver."""
    if estimator.optimizer is not None:
        return get_optimizer(estimator.optimizer)
    rate = float(estimator.learning_rate_init)
    if estimator.solver == "adam":
        return AdamOfScikitLearn(rate, estimator.beta_1, estimator.beta_2, estimator.epsilon)
    momentum = estimator.momentum
    return SGD(rate, momentum, estimator.nesterovs_momentum and momentum > 0)


def batch_size_of(estimator: Any, rows: int) -> int:
    """Return the rows of a batch, with a warning where fewer are at hand than are asked for."""
    if estimator.batch_size == "auto":
        return min(200, rows)
    if estimator.batch_size > rows:
        warnings.warn(
            f"Got `batch_size` {brief(estimator.batch_size)} larger than sample size {rows}. It is"
            " going to be clipped",
            stacklevel=5,
        )
    return int(min(estimator.batch_size, rows))
