"""What validation data say at the end of an epoch, of the parameters or of their running mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gpubp.data.feeds import HeldOut
from gpubp.training.epoch_steps import Training
from gpubp.training.evaluation import evaluate
from gpubp.training.history import History
from gpubp.training.metrics import Metric, measure


@contextmanager
def validated(
    training: Training,
    history: History,
    validation: HeldOut | None,
    metrics: dict[str, str | Metric],
) -> Iterator[None]:
    """Note the loss and the metrics of the validation data, where there are some.

    Of the parameters and their running mean, where one is kept, those with the lower loss are
    measured, and they are the network's parameters until the end.
    """
    if validation is None:
        yield
        return
    with _better_in_place(training, validation) as measures:
        history.validation_loss.append(measures["loss"])
        values = measure(training.stack, validation, metrics, measures)
        for name, value in values.items():
            history.metrics.setdefault(name, []).append(value)
        yield


@contextmanager
def _better_in_place(training: Training, validation: HeldOut) -> Iterator[dict[str, float]]:
    """Have the parameters or their running mean in place, and return the measures of these."""
    loss, group = training.settings.loss.plain, training.group
    measures = evaluate(training.stack, validation, loss, group)
    if training.state.average is not None:
        with _mean_in_place(training):
            of_mean = evaluate(training.stack, validation, loss, group)
            if of_mean["loss"] < measures["loss"]:
                yield of_mean
                return
    yield measures


@contextmanager
def _mean_in_place(training: Training) -> Iterator[None]:
    """Let the network have its running mean for parameters; what changes them changes the mean."""
    parameters, average = training.stack.parameters, training.state.average
    assert average is not None
    own = parameters.copy()
    parameters[...] = average
    try:
        yield
    finally:
        average[...] = parameters
        parameters[...] = own
