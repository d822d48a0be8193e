"""Dense neural networks trained by backpropagation on NumPy or CuPy arrays, chosen at run time.

Names are imported when they are first used: the command must be able to set up its process before
NumPy is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gpubp import errors

if TYPE_CHECKING:
    from gpubp import exchange as exchange
    from gpubp import losses as losses
    from gpubp.backends import available_backends, get_backend
    from gpubp.callbacks import (
        Callback,
        EarlyStopping,
        HealthWatch,
        History,
        ReduceOnPlateau,
    )
    from gpubp.estimators import MLPClassifier as MLPClassifier
    from gpubp.estimators import MLPRegressor as MLPRegressor
    from gpubp.gradient_checking import gradient_check
    from gpubp.log_callbacks import CSVLog, ModelCheckpoint, TensorBoard
    from gpubp.network import Network
    from gpubp.optimizers import SGD, Adagrad, Adam, AdamW, Lion, Nadam, RMSProp
    from gpubp.regularization import Regularization
    from gpubp.schedules import (
        Chain,
        Constant,
        CosineDecay,
        ExponentialDecay,
        OneCycle,
        StepDecay,
        WarmUp,
    )

    __version__: str

# The estimators are not among them: `from gpubp import *` must not need scikit-learn.
__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "CSVLog",
    "Callback",
    "Chain",
    "Constant",
    "CosineDecay",
    "EarlyStopping",
    "ExponentialDecay",
    "HealthWatch",
    "History",
    "Lion",
    "ModelCheckpoint",
    "Nadam",
    "Network",
    "OneCycle",
    "RMSProp",
    "ReduceOnPlateau",
    "Regularization",
    "StepDecay",
    "TensorBoard",
    "WarmUp",
    "__version__",
    "available_backends",
    "errors",
    "get_backend",
    "gradient_check",
]

_MODULES = {
    "backends": ("available_backends", "get_backend"),
    "callbacks": (
        "Callback",
        "EarlyStopping",
        "HealthWatch",
        "History",
        "ReduceOnPlateau",
    ),
    "estimators": ("MLPClassifier", "MLPRegressor"),
    "gradient_checking": ("gradient_check",),
    "log_callbacks": ("CSVLog", "ModelCheckpoint", "TensorBoard"),
    "network": ("Network",),
    "optimizers": ("SGD", "Adagrad", "Adam", "AdamW", "Lion", "Nadam", "RMSProp"),
    "regularization": ("Regularization",),
    "schedules": (
        "Chain",
        "Constant",
        "CosineDecay",
        "ExponentialDecay",
        "OneCycle",
        "StepDecay",
        "WarmUp",
    ),
}
# Modules that are reached as attributes: gpubp.losses.quantile(0.9)
_SUBMODULES = ("exchange", "losses")
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _SUBMODULES:
        value = importlib.import_module(f"gpubp.{name}")
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"gpubp.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'gpubp' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_SUBMODULES, *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("gpubp")
    except PackageNotFoundError:  # a source tree that was not installed
        return "unknown"
