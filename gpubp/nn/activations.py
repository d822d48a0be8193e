"""Activation functions by name; `gpubp.backends.formulas` says all about each."""

from __future__ import annotations

from gpubp.backends.formulas.activations import ACTIVATIONS
from gpubp.backends.formulas.entries import Activation
from gpubp.checks import checked_name

__all__ = ["ACTIVATIONS", "Activation", "get_activation"]


def get_activation(name: str) -> Activation:
    """Return the activation of this name.

    Raises
    ------
    UnknownNameError
        When there is none; lists the known names.
    """
    checked_name("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]
