"""What a backend must provide between two passes: losses, penalties, updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gpubp.backends.scheduled import Number
from gpubp.backends.scratch import Array, Scratch


class Losses(Protocol):
    """Losses, and what is done with them."""

    def loss(
        self,
        name: str,
        parameter: Number,
        y: Array,
        expected: Array,
        dy: Array,
        mean: Array,
        scratch: Scratch,
        weighting: tuple[Array, Array] | None = None,
        scaling: Array | None = None,
    ) -> None:
        """Write the batch's mean loss into `mean`, shape (), and its gradient into dy.

        Parameters
        ----------
        name, parameter : str, float or Scheduled
            The loss, and its own setting where it has one.
        weighting : tuple of array or None
            The weights of the rows, (rows,), and where their sum is to go, (); the mean is weighted
            with them, and 0 where their sum is.
        scaling : array or None
            Loss and gradient are multiplied by its first number; None multiplies by 1.
        """

    def find_overflow(self, values: Array, scaling: Array) -> None:
        """Note in the scaling whether a value is not finite; the update then changes nothing."""

    def finish_step(
        self,
        mean: Array,
        losses: Array,
        clock: Array,
        scaling: Array,
        growth: int,
        updated: bool = True,
    ) -> None:
        """Note the loss, move the clock on, and adapt the scale unless `growth` is 0.

        A step that has not `updated` the parameters leaves settings and scale as they are.
        The scale is halved after an overflow and doubled after `growth` steps without one.
        """


class Regularisation(Protocol):
    """Penalties, clipping, largest norms; `scaling` None stands for a clean one."""

    def penalize(
        self,
        weight: Array,
        dweight: Array,
        l1: float,
        l2: float,
        scratch: Scratch,
        scaling: Array | None = None,
        per: Array | None = None,
    ) -> None:
        """Add l1 sign(weight) + l2 weight to a weight's gradient, divided by `per`, shape ().

        `scaling` as in `loss`. Where `per` is 0 nothing is added.
        """

    def add_squares(
        self,
        weights: Sequence[Array],
        factor: float,
        per: Array,
        mean: Array,
        scratch: Scratch,
        scaling: Array | None = None,
    ) -> None:
        """Add factor * (sum of the squares of all weights) / per to `mean`; as `penalize` does."""

    def clip(self, gradients: Array, limit: float, scaling: Array | None = None) -> None:
        """Hold each gradient to -limit..limit."""

    def clip_norm(
        self, gradients: Array, limit: float, scratch: Scratch, scaling: Array | None = None
    ) -> None:
        """Shorten the vector of all gradients to this norm."""

    def limit_norms(self, weight: Array, limit: float, scratch: Scratch) -> None:
        """Shorten each column of a weight, what leads into a unit, to this norm."""


class Updates(Protocol):
    """What changes the parameters, and means over steps."""

    def accumulate(self, gradients: Array, share: float, first: bool, total: Array) -> None:
        """Add share * gradients to `total`, or write them there if they are the first.

        The gradients are lost.
        """

    def average(
        self,
        values: Array,
        decay: float,
        mean: Array,
        scratch: Scratch,
        scaling: Array | None = None,
    ) -> None:
        """Move a running mean on: mean = decay * mean + (1 - decay) * values.

        Where the scaling notes that a value was not finite, it stays.
        """

    def update(
        self,
        name: str,
        gradients: Array,
        parameters: Array,
        state: tuple[Array, ...],
        settings: Array,
        clock: Array,
        scaling: Array,
        half: Array | None,
        scratch: Scratch,
        span: tuple[int, int] | None = None,
    ) -> None:
        """Do one optimizer step on flat buffers, with the clock's row of the settings.

        Where the scaling notes an overflow nothing changes. The parameters are copied into `half`.
        With a `span` it is done from its first number to before its second alone.
        """

    def update_now(
        self,
        name: str,
        gradients: Array,
        parameters: Array,
        state: tuple[Array, ...],
        scalars: tuple[float, ...],
        scratch: Scratch,
    ) -> None:
        """Do one optimizer step with these scalars, by itself."""
