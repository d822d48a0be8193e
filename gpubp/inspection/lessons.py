"""Small networks to learn from, each with the numbers that show one thing.

What is said of them stands in `page/messages/`, in every language, under ``lesson_NAME``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpubp.backends import get_backend
from gpubp.checks import checked_name
from gpubp.data.batches import take_data
from gpubp.inspection.page import PageNames, trace_model, write_page
from gpubp.inspection.trace import Trace, trace
from gpubp.nn.backprop import LayerStack
from gpubp.nn.losses import LOSSES
from gpubp.nn.spec import NetworkSpec

# first the corner in which every weight has something to read
_CORNERS = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0))


@dataclass(frozen=True)
class Lesson:
    """One network with its rows.

    Attributes
    ----------
    activation, output, loss : str
        Of the hidden layers, of the last layer, and what is to become small.
    learning_rate : float
        Size of a step.
    x, expected : tuple of tuple of float
        Rows of inputs and of expected values.
    layers : tuple of (weight, bias)
        Weights, a row an input, and biases of each layer.
    trained : tuple of str
        What a step changes.
    """

    activation: str
    output: str
    loss: str
    learning_rate: float
    x: tuple[tuple[float, ...], ...]
    expected: tuple[tuple[float, ...], ...]
    layers: tuple[tuple[tuple[tuple[float, ...], ...], tuple[float, ...]], ...]
    trained: tuple[str, ...] = ("weight", "bias")

    def step(self) -> Trace:
        """Return one step of the network, in float64 on the CPU."""
        sizes = [len(self.x[0]), *(len(bias) for _, bias in self.layers)]
        spec = NetworkSpec.of(
            sizes, activation=self.activation, output=self.output, dtype="float64"
        )
        stack, loss = LayerStack(spec, get_backend("cpu")), LOSSES[self.loss]
        for layer, (weight, bias) in zip(stack.layers, self.layers, strict=True):
            layer.weight[...], layer.bias[...] = np.array(weight), np.array(bias)
        data = take_data(stack, self.x, self.expected, loss)
        return trace(stack, data, loss, self.learning_rate, apply=False)


LESSONS: dict[str, Lesson] = {
    # Matt Mazur, "A Step by Step Backpropagation Example" (2015)
    "worked_example": Lesson(
        *("sigmoid", "sigmoid", "squared_error", 0.5),
        *(((0.05, 0.10),), ((0.01, 0.99),)),
        (
            (((0.15, 0.25), (0.20, 0.30)), (0.35, 0.35)),
            (((0.40, 0.50), (0.45, 0.55)), (0.60, 0.60)),
        ),
        trained=("weight",),  # the text leaves the biases as they are
    ),
    "one_neuron": Lesson(
        *("sigmoid", "sigmoid", "squared_error", 1.0),
        *(((0.2, 0.7), (0.9, 0.3), (0.4, 0.6), (0.8, 0.1)), ((0,), (1,), (0,), (1,))),
        ((((0.3,), (0.5,)), (-0.1,)),),
    ),
    "xor": Lesson(
        *("tanh", "sigmoid", "binary_cross_entropy", 0.5),
        *(_CORNERS, ((0,), (1,), (1,), (0,))),
        (
            (((0.9, -0.7, 0.4), (-0.8, 0.9, 0.5)), (0.1, -0.1, 0.3)),
            (((0.6,), (0.5,), (-0.4,)), (0.0,)),
        ),
    ),
    "saturation": Lesson(
        *("sigmoid", "sigmoid", "squared_error", 0.5),
        *(((1.0, 0.5),), ((0.2,),)),
        ((((8.0, -9.0), (6.0, -7.0)), (2.0, -3.0)), (((0.9,), (-0.6,)), (0.3,))),
    ),
    "dead_relu": Lesson(
        *("relu", "identity", "squared_error", 0.1),
        *(_CORNERS, ((2,), (1,), (1,), (0,))),
        ((((0.5, 0.6), (0.4, 0.7)), (-3.0, 0.1)), (((0.8,), (0.5,)), (0.0,))),
    ),
    "too_large_rate": Lesson(
        *("identity", "identity", "squared_error", 1.5),
        *(((1.0, 0.5), (-0.5, 1.2), (0.8, -1.0), (1.4, 0.9)), ((1.0,), (0.2,), (0.1,), (1.6,))),
        ((((0.4,), (0.2,)), (0.0,)),),
    ),
}


def lesson_model(name: str) -> dict[str, Any]:
    """Return what a page reads of a lesson."""
    lesson = LESSONS[name]
    said = {"id": name, "lesson": name, "trained": list(lesson.trained)}
    return trace_model(lesson.step(), PageNames()) | said


def write_lessons(path: str | os.PathLike[str], name: str = "", language: str = "en") -> None:
    """Write a page of one lesson, or of all.

    Raises
    ------
    UnknownNameError, OutputPathError
        When there is no such lesson or language, or the file cannot be written.
    """
    if name:
        checked_name("lesson", name, LESSONS)
    write_page(path, [lesson_model(each) for each in ([name] if name else LESSONS)], language)
