"""What the classes' signatures have in common."""

from __future__ import annotations

from typing import Any


def take_parameters(estimator: Any, given: dict[str, Any]) -> None:
    """Keep every parameter of the constructor under its name, as scikit-learn demands.

    `given` are the constructor's ``locals()``: its parameters, ``self``, and maybe ``__class__``.
    """
    for name, value in given.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def stochastic(estimator: Any) -> bool:
    """Tell whether training goes in steps, so that there is a partial_fit.

    Raises
    ------
    AttributeError
        When it does not.
    """
    if estimator.solver == "lbfgs" and estimator.optimizer is None:
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True
