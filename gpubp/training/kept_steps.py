"""Prepared steps, which a network keeps from one fit to the next where that pays.

What a recording reads and writes lies where it lay when it was made: parameters, moments, what is
in between. The data may be others, in another number: a step finds them by a table. So a second
fit of the same kind records nothing, and what is kept holds no data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gpubp.backends import Array
from gpubp.backends.protocol import Addresses
from gpubp.backends.scheduled import new_clock
from gpubp.data.feeds import Feed
from gpubp.nn.backprop import LayerStack
from gpubp.nn.losses import kernel_name
from gpubp.nn.schedule import is_schedule
from gpubp.training.settings import TrainingSettings
from gpubp.training.state import TrainingState
from gpubp.training.step import StepArrays
from gpubp.training.step_settings import StepSettings, check_settings

SETTINGS_ROWS = 256  # steps whose optimizer settings are computed at once


@dataclass
class KeptSteps:
    """Steps that were prepared, and what they were prepared with.

    Attributes
    ----------
    arrays : StepArrays
        Those of all steps; the losses have room for as many batches as are ever done at once.
    form : tuple
        What the steps have of the settings and of the data.
    held : tuple of array or None
        The arrays of the training state, which the steps write to.
    addresses : Addresses or None
        Where the data lie; None where the steps are those of one fit alone.
    prepared : dict
        The steps, by what tells their batches apart.
    in_use : bool
        Whether a fit is under way with them: one within it, of a callback, has steps of its own.
    """

    arrays: StepArrays
    form: tuple[Any, ...] = ()
    held: tuple[Array | None, ...] = ()
    addresses: Addresses | None = None
    prepared: dict[tuple[Any, ...], Callable[[int], None]] = field(default_factory=dict)
    in_use: bool = True

    def serve(self, form: tuple[Any, ...], held: tuple[Array | None, ...], feed: Feed) -> bool:
        """Return whether these are the steps of another fit too, whose data they then read."""
        return (
            self.addresses is not None
            and not self.in_use
            and self.form == form
            and len(self.held) == len(held)
            and all(own is other for own, other in zip(self.held, held, strict=True))
            and feed.steps * feed.at_once <= len(self.arrays.losses)
            and self.addresses.lead_to(feed.sources)
        )


def steps_for(
    stack: LayerStack, state: TrainingState, settings: TrainingSettings, feed: Feed, alone: bool
) -> KeptSteps:
    """Return the steps of the last fit, or new ones where these cannot be used.

    A network keeps those of one fit, while its parameters stay where they are and no larger batch
    is asked for.

    Parameters
    ----------
    alone : bool
        Whether one process trains.

    Raises
    ------
    ConfigurationError, UnknownNameError
        When a setting does not fit the network.
    """
    check_settings(stack, settings)
    keepable = alone and bool(feed.sources)
    form: tuple[Any, ...] = ()
    held = (*state.arrays, state.scaling)
    if keepable:
        form = (*form_of(settings, feed.sources[1], feed.weighted), feed.own_sizes[0])
        if stack.kept is not None and stack.kept.serve(form, held, feed):
            kept: KeptSteps = stack.kept
            kept.in_use = True
            return kept
    backend, clock = stack.backend, new_clock(stack.backend)
    ahead = StepSettings(stack, settings, SETTINGS_ROWS, clock)
    batches = feed.steps * feed.at_once
    losses = backend.empty((1 << (batches - 1).bit_length(),), stack.dtype)
    addresses = backend.addresses(feed.sources) if keepable else None
    made = KeptSteps(StepArrays(clock, ahead, losses), form, held, addresses)
    if addresses is not None:
        stack.buffers(feed.own_sizes[0])  # what is kept goes when larger ones are made
        stack.kept = made
    return made


def form_of(settings: TrainingSettings, expected: Array, weighted: bool) -> tuple[Any, ...]:
    """Return what a prepared step has of the settings: all but numbers that it finds in arrays."""
    loss = settings.loss
    return (
        *(kernel_name(loss, expected), settings.optimizer.kernel, weighted),
        *(settings.regularization, settings.average, settings.groups),
        "scheduled" if is_schedule(loss.parameter) else loss.parameter,
        settings.dropout_factor is None,
    )
