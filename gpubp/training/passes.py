"""What every training step is made of: gradients of a batch, and the update with them."""

from __future__ import annotations

from collections.abc import Callable

from gpubp.backends import Array
from gpubp.data.batches import Data
from gpubp.nn.backprop import LayerStack
from gpubp.nn.buffers import Buffers
from gpubp.nn.losses import Loss
from gpubp.training.settings import TrainingSettings
from gpubp.training.state import TrainingState


def compute_gradients(
    stack: LayerStack,
    step: int | None,
    batch: Data,
    loss: Loss,
    ready: Callable[[int], None] | None = None,
) -> Buffers:
    """Write the gradients of a loaded batch's mean loss, which is left in ``buffers.loss``.

    `ready` is told of each layer whose gradients are written.
    """
    logits_only = bool(loss.logits_of)
    buffers = stack.run_forward(batch.x, step, logits_only)
    from_logits = stack.run_loss(buffers, batch.expected, loss, batch.weights)
    stack.run_backward(buffers, from_logits, ready=ready)
    return buffers


def update_parameters(
    stack: LayerStack,
    state: TrainingState,
    settings: TrainingSettings,
    mean: Array,
    total: Array,
    share: float = 1.0,
) -> None:
    """Do the optimizer's step with the gradients as they are, and what goes before and after.

    See `gpubp.nn.regularization.Regularization.before_update` for `mean`, `total` and `share`.
    """
    optimizer = settings.optimizer
    settings.regularization.before_update(stack, mean, total, share=share)
    state.updates += 1
    stack.backend.update(
        optimizer.kernel,
        stack.gradients,
        stack.trained,
        state.moments,
        optimizer.scalars(state.updates, state.rate_factor),
        stack.scratch,
    )
    settings.regularization.after_update(stack)
