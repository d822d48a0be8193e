"""After each epoch: scikit-learn's attributes, and its rules for going on, slower, or ending."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.training.callbacks import History


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
    """

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
        own = self._estimator
        own.n_iter_ += 1
        own.t_ += self._rows
        own.loss_ = history.loss[-1] / own._averaged_outputs()
        own.loss_curve_.append(own.loss_)
        if history.validation_loss:
            validation = history.validation_loss[-1] / own._averaged_outputs()
            own.validation_loss_curve_.append(validation)
        self._say(f"Iteration {own.n_iter_}, loss = {own.loss_:.8f}")
        if self._score:
            self._note_score(net)
        else:
            self._note_loss()
        own._scale_rate(own._scheduled_rate(own.t_))
        self.ended = self._once or self._is_over()
        return self.ended

    def diverged(self) -> None:
        """Write the attributes of an epoch whose loss is not finite, the last."""
        own = self._estimator
        own.n_iter_ += 1
        own.loss_ = float("nan")
        own.loss_curve_.append(own.loss_)
        own.validation_scores_.append(float("nan"))
        self.ended = True

    def end(self, net: Any, history: History) -> None:
        """Put the best weights back, where early stopping is on."""
        if self._score:
            net.parameters[...] = self._best

    def _note_loss(self) -> None:
        own, loss = self._estimator, self._estimator.loss_
        own._no_improvement_count = (
            own._no_improvement_count + 1 if (loss > own.best_loss_ - own.tol) else 0
        )
        own.best_loss_ = min(own.best_loss_, loss)

    def _note_score(self, net: Any) -> None:
        own, score = self._estimator, float(self._score())
        own.validation_scores_.append(score)
        self._say(f"Validation score: {score:f}")
        worse = score < own.best_validation_score_ + own.tol or np.isnan(score)
        own._no_improvement_count = own._no_improvement_count + 1 if worse else 0
        if score > own.best_validation_score_:
            own.best_validation_score_ = score
            self._best[...] = net.parameters

    def _is_over(self) -> bool:
        """Tell whether nothing got better for too long; lower an adaptive rate before that."""
        own = self._estimator
        if own._no_improvement_count <= own.n_iter_no_change:
            return False
        what = "Validation score" if self._score else "Training loss"
        message = f"{what} did not improve more than tol={own.tol:f} for {own.n_iter_no_change}"
        message += " consecutive epochs."
        if own.solver != "sgd" or own.learning_rate != "adaptive" or own.optimizer is not None:
            self._say(f"{message} Stopping.")
            return True
        if own._rate <= 1e-6:
            self._say(f"{message} Learning rate too small. Stopping.")
            return True
        own._scale_rate(own._rate / 5)
        self._say(f"{message} Setting learning rate to {own._rate:f}")
        own._no_improvement_count = 0
        return False

    def _say(self, text: str) -> None:
        if self._estimator.verbose:
            print(text)
