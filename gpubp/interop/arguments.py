"""What the estimators are given, checked: their parameters, by one table, and their data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from gpubp.backends import Backend
from gpubp.backends.interchange import is_cupy
from gpubp.checks import checked_list, is_number
from gpubp.errors import ConfigurationError, DataError, NonFiniteError, ShapeError, brief
from gpubp.nn.activations import get_activation
from gpubp.training.side_by_side import MOST_MEMBERS

# scikit-learn's names of what has another one here
OTHER_NAMES = {"logistic": "sigmoid"}
SOLVERS = ("adam", "sgd", "lbfgs")
DTYPES = ("auto", "float32", "float64")
# Kept as they are until a batch is read; anything else becomes the first of them.
KEPT = [np.float64, np.float32, np.float16, np.uint8]
FEW_NUMBERS = 100_000  # of which a look at each takes little beside a prediction
# Numbers in X from which on dtype="auto" is float32: training takes long enough to want it fast.
MANY_NUMBERS = 10_000_000
NO_TARGETS: Any = object()


def _whole(least: int, most: float = math.inf) -> tuple[Callable[[Any], bool], str]:
    def fits(value: Any) -> bool:
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        return whole and least <= int(value) <= most

    return fits, f"a whole number from {least}" + (f" to {most}" if most < math.inf else "")


def _number(
    least: float, most: float = math.inf, open_least: bool = False, open_most: bool = True
) -> tuple[Callable[[Any], bool], str]:
    def fits(value: Any) -> bool:
        if not is_number(value):
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
    "members": _whole(1, MOST_MEMBERS),
    "batch_norm": _FLAG,
    "max_norm": (
        lambda value: value is None or _number(0, open_least=True)[0](value),
        "None or a finite number above 0",
    ),
}


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
    if getattr(estimator, "members", 1) != 1:
        raise AttributeError("partial_fit is only available for a single network: members=1.")
    return True


def check_parameters(parameters: dict[str, Any]) -> None:
    """Check the parameters of an estimator, each by itself.

    Raises
    ------
    ConfigurationError
        When one is not what it may be; a ValueError, as scikit-learn's tools expect.
    """
    for name, (fits, needed) in CHECKS.items():
        if name in parameters and not fits(parameters[name]):
            raise ConfigurationError(f"{name} is {brief(parameters[name])}; {needed} is needed")
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
            f"hidden_layer_sizes must be > 0, got {brief(sizes)}; whole numbers from 1 are needed"
        )
    return [int(size) for size in sizes]


def hidden_activations(activation: Any, layers: int) -> list[str]:
    """Return the name of each hidden layer's function here, one name standing for all.

    Raises
    ------
    ConfigurationError
        When a name is not known, or there is not one for each layer.
    """
    one = isinstance(activation, str)
    names = [activation] * layers if one else checked_list("activation", activation)
    if len(names) != layers:
        raise ConfigurationError(
            f"activation has {len(names)} entries; one, or one for each of the {layers} hidden"
            " layers, is needed"
        )
    if one and not layers:
        get_activation(OTHER_NAMES.get(activation, activation))
    return [get_activation(OTHER_NAMES.get(str(name), str(name))).name for name in names]


def checked(estimator: Any, x: Any, y: Any = NO_TARGETS, reset: bool = False, **how: Any) -> Any:
    """Return x, or x and y, as validated arrays; CuPy arrays stay where they are.

    A sparse matrix becomes CSR. The estimator learns the number and names of the features where
    `reset`, and else compares them.

    Raises
    ------
    ValueError
        scikit-learn's own, or one of ours for CuPy arrays.
    """
    if is_cupy(x):
        return _checked_on_device(estimator, x, y, reset)
    if y is NO_TARGETS and not reset and not how and _passes(estimator, x):
        return x
    settings = {"accept_sparse": "csr", "dtype": KEPT, "reset": reset} | how
    if y is NO_TARGETS:
        return validate_data(estimator, x, **settings)
    return validate_data(estimator, x, y, multi_output=True, **settings)


def _passes(estimator: Any, x: Any) -> bool:
    """Tell whether a few rows are what `validate_data` would return as they are.

    It takes 80 us whatever it is given, several times as long as a prediction of one row.
    """
    return (
        type(x) is np.ndarray
        and x.ndim == 2
        and 0 < x.size <= FEW_NUMBERS
        and x.dtype in KEPT
        and x.shape[1] == getattr(estimator, "n_features_in_", None)
        and not hasattr(estimator, "feature_names_in_")  # it warns where names are missing
        and bool(np.isfinite(x).all())
    )


def _checked_on_device(estimator: Any, x: Any, y: Any, reset: bool) -> Any:
    if x.ndim != 2:
        raise ShapeError(f"X has shape {x.shape}; two dimensions are needed: rows, features")
    if len(x) == 0:
        raise DataError("X has 0 rows; at least one is needed")
    if x.dtype.kind == "f" and not bool(abs(x).max() < np.inf):
        raise NonFiniteError("X holds NaN or infinity; finite numbers are needed")
    if reset:
        estimator.n_features_in_ = x.shape[1]
    elif x.shape[1] != estimator.n_features_in_:
        raise ShapeError(
            f"X has {x.shape[1]} features, but {type(estimator).__name__} is expecting"
            f" {estimator.n_features_in_} features as input"
        )
    if y is NO_TARGETS:
        return x
    if y.shape[:1] != x.shape[:1]:
        raise ShapeError(f"X has {len(x)} rows and y has shape {y.shape}; as many are needed")
    return x, y


def training_dtype(dtype: str, x: Any, on_gpu: bool) -> tuple[str, str]:
    """Return the dtype to train in, and why."""
    if dtype != "auto":
        return dtype, "asked for"
    if on_gpu:
        return "float32", "a GPU works, where float64 is slow; dtype='float64' asks for it"
    if x.dtype != np.float64:
        return "float32", f"X is {x.dtype.name}"
    if x.shape[0] * x.shape[1] > MANY_NUMBERS:
        return "float32", f"X holds more than {MANY_NUMBERS:,} numbers; float32 is twice as fast"
    return "float64", "as X; dtype='float32' is twice as fast"


def used_backend(backend: str | Backend, *arrays: Any) -> str | Backend:
    """Return the backend asked for, or with "auto" the GPU that CuPy arrays lie on."""
    if backend == "auto" and any(map(is_cupy, arrays)):
        return "gpu"
    return backend
