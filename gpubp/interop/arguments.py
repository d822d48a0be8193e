"""The constructor's parameters, checked: what each may be, in one table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any

from gpubp.errors import ConfigurationError
from gpubp.nn.activations import ACTIVATIONS, get_activation

# scikit-learn's names of what has another one here
OTHER_NAMES = {"logistic": "sigmoid"}
SOLVERS = ("adam", "sgd", "lbfgs")
DTYPES = ("auto", "float32", "float64")


def _whole(least: int) -> tuple[Callable[[Any], bool], str]:
    def fits(value: Any) -> bool:
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        return whole and int(value) >= least

    return fits, f"a whole number from {least}"


def _number(
    least: float, most: float = math.inf, open_least: bool = False, open_most: bool = True
) -> tuple[Callable[[Any], bool], str]:
    def fits(value: Any) -> bool:
        if not isinstance(value, Real) or isinstance(value, bool):
            return False
        number = float(value)
        above = number > least if open_least else number >= least
        return above and (number < most if open_most else number <= most)

    lower = f"above {least:g}" if open_least else f"from {least:g}"
    upper = "" if most == math.inf else f" {'to below' if open_most else 'to'} {most:g}"
    return fits, f"a finite number {lower}{upper}"


def _one_of(*names: str) -> tuple[Callable[[Any], bool], str]:
    return lambda value: isinstance(value, str) and value in names, f"one of {', '.join(names)}"


_FLAG = (lambda value: isinstance(value, bool), "True or False")
_ONE_OR_MORE = _whole(1)
CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "solver": _one_of(*SOLVERS),
    "alpha": _number(0),
    "batch_size": (
        lambda value: value == "auto" or _ONE_OR_MORE[0](value),
        "'auto' or a whole number from 1",
    ),
    "learning_rate": _one_of("constant", "invscaling", "adaptive"),
    "learning_rate_init": _number(0, open_least=True),
    "power_t": _number(0),
    "max_iter": _whole(1),
    "shuffle": _FLAG,
    "tol": _number(0),
    "warm_start": _FLAG,
    "momentum": _number(0, 1, open_most=False),
    "nesterovs_momentum": _FLAG,
    "early_stopping": _FLAG,
    "validation_fraction": _number(0, 1),
    "beta_1": _number(0, 1),
    "beta_2": _number(0, 1),
    "epsilon": _number(0, open_least=True),
    "n_iter_no_change": (
        lambda value: value == math.inf or _ONE_OR_MORE[0](value),
        "a whole number from 1, or infinity",
    ),
    "max_fun": _whole(1),
    "label_smoothing": _number(0, 1),
    "layer_norm": _FLAG,
    "batch_norm": _FLAG,
    "max_norm": (
        lambda value: value is None or _number(0, open_least=True)[0](value),
        "None or a finite number above 0",
    ),
}


def check_parameters(parameters: dict[str, Any]) -> None:
    """Check the parameters of an estimator, each by itself.

    Raises
    ------
    ConfigurationError
        When one is not what it may be; a ValueError, as scikit-learn's tools expect.
    """
    for name, (fits, needed) in CHECKS.items():
        if name in parameters and not fits(parameters[name]):
            raise ConfigurationError(f"{name} is {parameters[name]!r}; {needed} is needed")
    if parameters["batch_norm"] and parameters["layer_norm"]:
        raise ConfigurationError("batch_norm and layer_norm are both True; one of them is needed")


def hidden_sizes(hidden_layer_sizes: Any) -> list[int]:
    """Return the number of neurons of each hidden layer, one number standing for one layer.

    Raises
    ------
    ConfigurationError
        When they are no whole numbers above 0.
    """
    given = hidden_layer_sizes
    sizes = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if not all(_ONE_OR_MORE[0](size) for size in sizes):
        raise ConfigurationError(
            f"hidden_layer_sizes must be > 0, got {sizes}; whole numbers from 1 are needed"
        )
    return [int(size) for size in sizes]


def hidden_activations(activation: Any, layers: int) -> list[str]:
    """Return the name of each hidden layer's function here, one name standing for all.

    Raises
    ------
    ConfigurationError
        When a name is not known, or there is not one for each layer.
    """
    names = [activation] * layers if isinstance(activation, str) else list(activation)
    if len(names) != layers:
        raise ConfigurationError(
            f"activation has {len(names)} entries; one, or one for each of the {layers} hidden"
            " layers, is needed"
        )
    if isinstance(activation, str) and not layers:
        get_activation(OTHER_NAMES.get(activation, activation))
    return [get_activation(OTHER_NAMES.get(str(name), str(name))).name for name in names]


def known_activations() -> list[str]:
    """Return the names that `activation` may hold."""
    return sorted({*ACTIVATIONS, *OTHER_NAMES} - {"softmax"})
