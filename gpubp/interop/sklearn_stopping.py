"""After each epoch: scikit-learn's attributes, and its rules for going on, slower, or ending."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.training.history import History


class Control:
    """The callback that makes a fit that of scikit-learn.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Its attributes are written.
    rows : int
        Rows trained on in an epoch.
    score : callable or None
        Returns the score on the validation data, where early stopping is on.
    once : bool
        Whether this is one call of partial_fit.

    Attributes
    ----------
    loss_by_rows : bool
        That the loss of an epoch is the mean of its batches' by their rows, whatever these weigh.
    """

    loss_by_rows = True

    def __init__(self, estimator: Any, rows: int, score: Any, once: bool) -> None:
        self._estimator, self._rows, self._score, self._once = estimator, rows, score, once
        self._best: Any = None
        self.ended = False  # by the rules, or by the only epoch of partial_fit

    def begin(self, net: Any, epochs: int) -> None:
        """Keep the first weights: no score may be better than none."""
        if self._score:
            self._best = net.parameters.copy()

    def advance(self, history: History, share: float) -> None:
        """Do nothing within an epoch."""

    def epoch_end(self, net: Any, history: History) -> bool:
        """Write the attributes of one more epoch; return whether to end."""
        estimator = self._estimator
        estimator.n_iter_ += 1
        estimator.t_ += self._rows
        estimator.loss_ = history.loss[-1] / estimator._averaged_outputs()
        estimator.loss_curve_.append(estimator.loss_)
        if history.validation_loss:
            validation = history.validation_loss[-1] / estimator._averaged_outputs()
            estimator.validation_loss_curve_.append(validation)
        self._say(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        if self._score:
            self._note_score(net)
        else:
            self._note_loss()
        self._scale_rate(self._scheduled_rate())
        self.ended = self._once or self._is_over()
        return self.ended

    def diverged(self) -> None:
        """Write the attributes of an epoch whose loss is not finite, the last."""
        estimator = self._estimator
        estimator.n_iter_ += 1
        estimator.loss_ = float("nan")
        estimator.loss_curve_.append(estimator.loss_)
        estimator.validation_scores_.append(float("nan"))
        self.ended = True

    def end(self, net: Any, history: History) -> None:
        """Put the best weights back, where early stopping is on."""
        if self._score:
            net.parameters[...] = self._best

    def _scheduled_rate(self) -> float:
        """Return the learning rate of the next epoch."""
        estimator = self._estimator
        if estimator.solver == "sgd" and estimator.learning_rate == "invscaling":
            fallen = (estimator.t_ + 1) ** estimator.power_t
            return float(estimator.learning_rate_init / fallen)
        return float(estimator._rate)

    def _scale_rate(self, rate: float) -> None:
        """Change the learning rate, keeping the last step's size as momentum."""
        estimator = self._estimator
        if rate == estimator._rate or estimator.optimizer is not None:
            return
        net = estimator.network_
        net.scale_learning_rate(rate / estimator._rate)
        # scikit-learn's velocity is in units of the weights, ours in those of the gradients
        for velocity in net._state.moments:
            velocity *= estimator._rate / rate
        estimator._rate = rate

    def _note_loss(self) -> None:
        estimator, loss = self._estimator, self._estimator.loss_
        estimator._no_improvement_count = (
            estimator._no_improvement_count + 1
            if (loss > estimator.best_loss_ - estimator.tol)
            else 0
        )
        estimator.best_loss_ = min(estimator.best_loss_, loss)

    def _note_score(self, net: Any) -> None:
        estimator, score = self._estimator, float(self._score())
        estimator.validation_scores_.append(score)
        self._say(f"Validation score: {score:f}")
        worse = score < estimator.best_validation_score_ + estimator.tol or np.isnan(score)
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if worse else 0
        if score > estimator.best_validation_score_:
            estimator.best_validation_score_ = score
            self._best[...] = net.parameters

    def _is_over(self) -> bool:
        """Tell whether nothing got better for too long; lower an adaptive rate before that."""
        estimator = self._estimator
        if estimator._no_improvement_count <= estimator.n_iter_no_change:
            return False
        what = "Validation score" if self._score else "Training loss"
        message = (
            f"{what} did not improve more than tol={estimator.tol:f} for"
            f" {estimator.n_iter_no_change} consecutive epochs."
        )
        if (
            estimator.solver != "sgd"
            or estimator.learning_rate != "adaptive"
            or estimator.optimizer is not None
        ):
            self._say(f"{message} Stopping.")
            return True
        if estimator._rate <= 1e-6:
            self._say(f"{message} Learning rate too small. Stopping.")
            return True
        self._scale_rate(estimator._rate / 5)
        self._say(f"{message} Setting learning rate to {estimator._rate:f}")
        estimator._no_improvement_count = 0
        return False

    def _say(self, text: str) -> None:
        if self._estimator.verbose:
            print(text)
