"""Measures of the validation data besides the loss, for callbacks that go by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.checks import checked_name
from gpubp.data.feeds import HeldOut
from gpubp.errors import ConfigurationError, DataError, brief
from gpubp.nn.backprop import LayerStack
from gpubp.training.evaluation import expected_and_outputs

Values = NDArray[Any]
# expected values, class indices (rows,) or numbers (rows, outputs); outputs (rows, outputs)
Metric = Callable[[Values, Values], float]


def rmse(expected: Values, outputs: Values) -> float:
    """Return the root of the mean square of all errors."""
    return math.sqrt(float(np.mean(np.square(_errors(expected, outputs)))))


def mae(expected: Values, outputs: Values) -> float:
    """Return the mean size of all errors."""
    return float(np.mean(np.abs(_errors(expected, outputs))))


def auc(expected: Values, outputs: Values) -> float:
    """Return the area under the curve of yes or no (ROC), by one output or the second of two.

    It is the share of the pairs of a yes and a no in which the yes has the larger output, ties
    counting half (Mann and Whitney 1947).

    Raises
    ------
    ConfigurationError, DataError
        When expected values are no yes or no, or all of them the same.
    """
    classes = outputs.shape[1]
    if classes > 2 or (classes == 2 and expected.ndim == 2):
        raise ConfigurationError(
            f"auc with {classes} outputs and expected values of shape {expected.shape}; one output,"
            " or two and class indices, are needed"
        )
    yes = expected.reshape(-1) > 0.5
    count, others = int(yes.sum()), int((~yes).sum())
    if not count or not others:
        raise DataError(f"auc of {count} rows of yes and {others} of no; some of both are needed")
    _, place, ties = np.unique(outputs[:, -1], return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[place.reshape(-1)]  # the mean rank of equals
    return float((ranks[yes].sum() - count * (count + 1) / 2) / (count * others))


def _errors(expected: Values, outputs: Values) -> Values:
    if expected.ndim == 1:
        raise ConfigurationError(
            "rmse and mae with class indices as expected values; numbers, or another metric, are"
            " needed"
        )
    return outputs.astype(np.float64) - expected


METRICS: dict[str, Metric] = {"rmse": rmse, "mae": mae, "auc": auc}
ACCURACY = "accuracy"  # is measured along with the loss
MODES = {ACCURACY: "max", "rmse": "min", "mae": "min", "auc": "max"}


def checked_metric(metric: str | Metric, mode: str | None) -> str:
    """Return whether the smallest or the largest value is best: "min" or "max".

    Raises
    ------
    UnknownNameError, ConfigurationError
        When there is no such metric or mode, or one's own metric has no mode.
    """
    if isinstance(metric, str):
        mode = mode or MODES[checked_name("metric", metric, MODES)]
    if mode not in ("min", "max"):
        raise ConfigurationError(f"mode is {brief(mode)}; 'min' or 'max' is needed")
    return mode


def metric_name(metric: str | Metric) -> str:
    """Return the name under which `History` keeps a metric."""
    return metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)


def as_metrics(metrics: str | Metric | Iterable[str | Metric]) -> list[str | Metric]:
    """Return a list of metrics, of one that stands by itself too.

    Raises
    ------
    UnknownNameError
        When there is none of a name.
    ConfigurationError
        When one is neither a name nor a function.
    """
    alone = isinstance(metrics, str) or callable(metrics) or not isinstance(metrics, Iterable)
    listed: list[Any] = [metrics] if alone else list(metrics)  # type: ignore[arg-type]
    for metric in listed:
        if isinstance(metric, str):
            checked_name("metric", metric, MODES)
        if not isinstance(metric, str) and not callable(metric):
            raise ConfigurationError(
                f"metrics holds {brief(metric, 80)}; names, or functions of expected values and"
                " outputs, are needed"
            )
    return listed


def wanted_metrics(
    metrics: Iterable[str | Metric], callbacks: Iterable[Any], validation: object
) -> dict[str, str | Metric]:
    """Return the metrics that were asked for and those that callbacks go by, by name.

    Raises
    ------
    ConfigurationError
        When there are no validation data to measure them on, or two have one name.
    """
    wanted: dict[str, str | Metric] = {}
    of_callbacks = (getattr(callback, "metric", None) for callback in callbacks)
    for metric in (*metrics, *of_callbacks):
        if metric is None:
            continue
        name = metric_name(metric)
        if validation is None:
            raise ConfigurationError(
                f"metric {name!r} without validation data; fit(validation=...) is needed"
            )
        if wanted.setdefault(name, metric) != metric:
            raise ConfigurationError(
                f"two metrics are called {name!r}; functions of different names are needed"
            )
    return wanted


def measure(
    stack: LayerStack,
    validation: HeldOut,
    wanted: dict[str, str | Metric],
    measures: dict[str, float],
) -> dict[str, float]:
    """Return the values of metrics; `measures` are those of `evaluate`, which has some already.

    Raises
    ------
    ConfigurationError, DataError
        When a metric does not suit the outputs or the expected values.
    """
    if ACCURACY in wanted and ACCURACY not in measures:
        raise ConfigurationError(
            f"accuracy of a network with output {stack.output.name!r}; classes, or 'sigmoid', are"
            " needed"
        )
    values = {name: measures[name] for name in wanted if name == ACCURACY}
    others = {name: metric for name, metric in wanted.items() if name not in values}
    if others:
        expected, outputs = expected_and_outputs(stack, validation)
        for name, metric in others.items():
            function = METRICS[metric] if isinstance(metric, str) else metric
            values[name] = float(function(expected, outputs))
    return {name: values[name] for name in wanted}
