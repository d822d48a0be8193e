"""The table of activation functions; formulas and error bounds are in `kernels/README.md`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gpubp.errors import UnknownNameError


@dataclass(frozen=True)
class Activation:
    """What the library needs to know of an activation function besides its kernel.

    Attributes
    ----------
    name : str
        Name of the function, the same in kernels, files and messages.
    keeps : {"x", "y"}
        What the derivative is computed from, and so has to be kept: weighted sum or output.
    initializer : str
        What ``initializer="auto"`` takes for a layer with this activation.
    kinks : tuple of float
        Weighted sums at which the derivative jumps.
    """

    name: str
    keeps: Literal["x", "y"]
    initializer: str
    kinks: tuple[float, ...] = ()


_TABLE = (
    Activation("identity", "y", "glorot_uniform"),
    Activation("sigmoid", "y", "glorot_uniform"),
    Activation("tanh", "y", "glorot_uniform"),
    Activation("exp", "y", "glorot_uniform"),
    Activation("relu", "y", "he_uniform", (0.0,)),
    Activation("leaky_relu", "y", "he_uniform", (0.0,)),
    Activation("elu", "y", "he_uniform"),
    Activation("selu", "y", "lecun_normal", (0.0,)),
    Activation("softplus", "y", "he_uniform"),
    Activation("silu", "x", "he_uniform"),
    Activation("gelu", "x", "he_uniform"),
    Activation("gelu_tanh", "x", "he_uniform"),
    Activation("softsign", "y", "glorot_uniform"),
    Activation("hard_sigmoid", "y", "glorot_uniform", (-3.0, 3.0)),
    Activation("mish", "x", "he_uniform"),
    Activation("softmax", "y", "glorot_uniform"),
)
ACTIVATIONS: dict[str, Activation] = {activation.name: activation for activation in _TABLE}


def get_activation(name: str) -> Activation:
    """Return the activation of this name.

    Raises
    ------
    UnknownNameError
        When there is none; lists the known names.
    """
    if name not in ACTIVATIONS:
        raise UnknownNameError("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]
