"""What an entry of each table names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Temporaries = Callable[[int], Floats]
# (operator, inputs, attributes): an input is "x", the argument; a whole number, the output of that
# node; or a constant. The value of the function is the output of the last node, or x of none.
Node = tuple[str, tuple[str | int | float, ...], dict[str, Any]]


@dataclass(frozen=True)
class Activation:
    """An activation function y = f(x), and all that is said of it outside its kernel.

    Attributes
    ----------
    name : str
        Name of the function, the same in kernels, files and messages.
    forward : callable
        ``forward(x, y, scratch)`` writes y = f(x); y may be x where the derivative reads y.
        ``scratch(i)``, i from 0 to 2, is a temporary array of the same length; nothing else is
        allocated.
    derivative : callable
        ``derivative(kept, slope, scratch)`` writes slope = f'(x), computed from what is kept.
    keeps : {"x", "y"}
        What the derivative is computed from, and so has to be kept: weighted sum or output.
    initializer : str
        What ``initializer="auto"`` takes for a layer with this activation.
    onnx : tuple of Node
        The function in operators of ONNX, opset 17.
    pytorch : str
        PyTorch's class of the same formula; "" where there is none.
    pytorch_settings : dict
        Its settings that change the formula, and the value that each must have: one of several
        where it is a tuple.
    kinks : tuple of float
        Weighted sums at which the derivative jumps.
    peak_slope : float or None
        Largest derivative of a function with two flat ends.
    whole_rows : bool
        Whether an output depends on its whole row. `forward` and the derivative then have a row's
        shape and names for temporaries, and `derivative` is ``derivative(y, dy, dz, scratch)``.
    """

    name: str
    forward: Callable[..., None]
    derivative: Callable[..., None]
    keeps: Literal["x", "y"]
    initializer: str
    onnx: tuple[Node, ...] = field(hash=False)
    pytorch: str = ""
    pytorch_settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    kinks: tuple[float, ...] = ()
    peak_slope: float | None = None
    whole_rows: bool = False


@dataclass(frozen=True)
class LossFunction:
    """A loss of one row, summed over its outputs.

    Attributes
    ----------
    name : str
        Name of the loss, the same in kernels, files and messages.
    function : callable
        ``function(y, expected, dy, rows, parameter, scratch)`` with y, expected and dy of shape
        (batch, outputs), y being the logits where the loss acts on them: writes the loss of every
        row into `rows`, shape (batch,), and its gradient into dy.
    of_classes : callable or None
        The same against class indices, shape (batch,); its kernel is ``class_`` and the name.
    logits_of : str
        The output activation it is fused with and whose logits it acts on; "" when it acts on
        the network's outputs. ``loss="auto"`` takes the first loss of the table for its activation.
    parameter : float
        Its own setting where it has one, by default.
    blind : callable or None
        Its value, by the number of outputs, for a network that knows nothing.
    plain : str
        The loss that is measured where nothing is learnt; "" for this one itself.
    """

    name: str
    function: Callable[..., None]
    of_classes: Callable[..., None] | None = None
    logits_of: str = ""
    parameter: float = 0.0
    blind: Callable[[int], float] | None = None
    plain: str = ""


@dataclass(frozen=True)
class Update:
    """One step of an optimizer.

    Attributes
    ----------
    name : str
        Name of the step, the same in kernels, files and messages.
    function : callable
        ``function(g, p, *state, *scalars, scratch)`` on flat arrays: changes p and the state.
    state : tuple of str
        The arrays it keeps from step to step, each as long as the parameters, zero at the start.
    scalars : tuple of str
        The numbers it is given, which may differ from step to step.
    in_double : tuple of str
        Those of them that a kernel takes in double precision, whatever it computes in.
    """

    name: str
    function: Callable[..., None]
    state: tuple[str, ...]
    scalars: tuple[str, ...]
    in_double: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Return the scalars as a kernel's text takes them from a row `c` of numbers."""
        return [
            f"c[{place}]" if name in self.in_double else f"T(c[{place}])"
            for place, name in enumerate(self.scalars)
        ]
