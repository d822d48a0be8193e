"""What holds weights and gradients back: penalties, clipping, a largest norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gpubp.backends import Array
from gpubp.checks import check_from_zero, check_positive
from gpubp.nn.backprop import LayerStack
from gpubp.nn.layers import Dense


@dataclass(frozen=True)
class Regularization:
    """Settings; None or 0 leaves a part out. Biases are clipped and not otherwise touched.

    Attributes
    ----------
    l1, l2 : float
        Penalties ``l1 * sum(abs(weight)) + l2 / 2 * sum(weight**2)``, whose gradients are added to
        the weights'. The losses reported leave them out.
    alpha : float
        scikit-learn's penalty ``alpha / 2 * sum(weight**2)``, divided by the weight of the rows of
        the batch and counted in the losses reported.
    clip_value : float or None
        Each gradient is held to -clip_value..clip_value.
    clip_norm : float or None
        All gradients together are shortened to this norm (Pascanu et al. 2013).
    max_norm : float or None
        After each step the weights into a unit are shortened to this norm (Srivastava et al. 2014).

    Raises
    ------
    ConfigurationError
        When a setting is out of its range.
    """

    l1: float = 0.0
    l2: float = 0.0
    alpha: float = 0.0
    clip_value: float | None = None
    clip_norm: float | None = None
    max_norm: float | None = None

    def __post_init__(self) -> None:
        check_from_zero(l1=self.l1, l2=self.l2, alpha=self.alpha)
        for name in ("clip_value", "clip_norm", "max_norm"):
            if getattr(self, name) is not None:
                check_positive(**{name: getattr(self, name)})

    def __bool__(self) -> bool:
        return self != NONE

    @property
    def _in_loss(self) -> float:
        """What the penalty of `alpha` is multiplied by in the loss, not in the gradients."""
        return 1.0

    def before_update(
        self,
        ops: Any,
        stack: LayerStack,
        mean: Array,
        total: Array,
        scaling: Array,
        share: float = 1.0,
    ) -> None:
        """Change the gradients, and the mean loss of a batch.

        Parameters
        ----------
        ops : Backend or Tracer
            What carries the operations out, or notes them.
        mean, total : array, ()
            The mean loss and the weight of the batch's rows.
        scaling : array
            Gradients and loss are multiplied by its first number.
        share : float
            Of the batch among those whose gradients were gathered.
        """
        scratch = stack.scratch
        matrices = [pair for layer in stack.layers for pair in layer.weights()]
        if self.alpha:
            weights = [weight for weight, _ in matrices]
            strength = self.alpha / 2 * self._in_loss
            ops.add_squares(weights, strength, total, mean, scratch, scaling)
            for weight, dweight in matrices:
                strength = self.alpha * share
                ops.penalize(weight, dweight, 0.0, strength, scratch, scaling, total)
        if self.l1 or self.l2:
            for weight, dweight in matrices:
                ops.penalize(weight, dweight, self.l1, self.l2, scratch, scaling, None)
        if self.clip_value is not None:
            ops.clip(stack.gradients, self.clip_value, scaling)
        if self.clip_norm is not None:
            ops.clip_norm(stack.gradients, self.clip_norm, scratch, scaling)

    def after_update(self, ops: Any, stack: LayerStack) -> None:
        """Change the weights."""
        if self.max_norm is not None:
            for layer in stack.layers:
                if isinstance(layer, Dense):
                    ops.limit_norms(layer.weight, self.max_norm, stack.scratch)
            stack.refresh(ops)


NONE = Regularization()
