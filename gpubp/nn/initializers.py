"""Initial weights: name -> function (generator, inputs, outputs) -> weight (inputs, outputs)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import UnknownNameError

Initializer = Callable[[np.random.Generator, int, int], NDArray[np.float64]]


def _scaled(normal: bool, variance: Callable[[int, int], float]) -> Initializer:
    """Make an initializer that draws with a given variance, normally or uniformly."""

    def draw(generator: np.random.Generator, inputs: int, outputs: int) -> NDArray[np.float64]:
        deviation = float(np.sqrt(variance(inputs, outputs)))
        if normal:
            return generator.normal(0.0, deviation, (inputs, outputs))
        limit = deviation * float(np.sqrt(3.0))
        return generator.uniform(-limit, limit, (inputs, outputs))

    return draw


def _glorot(inputs: int, outputs: int) -> float:
    """Glorot and Bengio 2010: 2 / (inputs + outputs)."""
    return 2.0 / (inputs + outputs)


def _he(inputs: int, outputs: int) -> float:
    """He et al. 2015: 2 / inputs."""
    return 2.0 / inputs


def _lecun(inputs: int, outputs: int) -> float:
    """LeCun et al. 1998: 1 / inputs."""
    return 1.0 / inputs


def _zeros(generator: np.random.Generator, inputs: int, outputs: int) -> NDArray[np.float64]:
    return np.zeros((inputs, outputs))


INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": _scaled(False, _glorot),
    "glorot_normal": _scaled(True, _glorot),
    "he_uniform": _scaled(False, _he),
    "he_normal": _scaled(True, _he),
    "lecun_uniform": _scaled(False, _lecun),
    "lecun_normal": _scaled(True, _lecun),
    "zeros": _zeros,
}


def get_initializer(name: str, automatic: str) -> Initializer:
    """Return the initializer of this name; ``"auto"`` stands for `automatic`.

    Raises
    ------
    UnknownNameError
        When there is none; lists the known names.
    """
    wanted = automatic if name == "auto" else name
    if not isinstance(wanted, str) or wanted not in INITIALIZERS:
        raise UnknownNameError("initializer", name, ["auto", *INITIALIZERS])
    return INITIALIZERS[wanted]
