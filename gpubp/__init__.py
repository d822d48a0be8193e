"""Dense neural networks trained by backpropagation on NumPy or CuPy arrays, chosen at run time.

Names are imported when they are first used: the command must be able to set up its process before
NumPy is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gpubp import errors

if TYPE_CHECKING:
    from gpubp import data as data
    from gpubp import interop
    from gpubp import plots as plots
    from gpubp.backends import available_backends, get_backend
    from gpubp.inspection.gradient_checking import gradient_check
    from gpubp.interop.classifier import MLPClassifier as MLPClassifier
    from gpubp.interop.cross_validation import cross_val_predict as cross_val_predict
    from gpubp.interop.cross_validation import cross_validate as cross_validate
    from gpubp.interop.regressor import MLPRegressor as MLPRegressor
    from gpubp.interop.search import search as search
    from gpubp.network import Network
    from gpubp.networks import Networks
    from gpubp.nn import losses as losses
    from gpubp.nn.bins import quantile_bins, tree_bins
    from gpubp.nn.layers.periodic import Periodic
    from gpubp.nn.optimizers import SGD, Adagrad, Adam, AdamW, Lion, Nadam, RMSProp
    from gpubp.nn.parameter_groups import ParameterGroup
    from gpubp.nn.regularization import Regularization
    from gpubp.nn.schedule import Constant
    from gpubp.nn.schedules import (
        Chain,
        CosineDecay,
        CosineWaves,
        ExponentialDecay,
        FlatCosine,
        OneCycle,
        StepDecay,
        WarmUp,
    )
    from gpubp.tables.classifier import TabularClassifier as TabularClassifier
    from gpubp.tables.loading import load as load
    from gpubp.tables.model import TabularModel as TabularModel
    from gpubp.tables.regressor import TabularRegressor as TabularRegressor
    from gpubp.training.callbacks import Callback, HealthWatch, ReduceOnPlateau
    from gpubp.training.each import Each
    from gpubp.training.history import History
    from gpubp.training.logs import CSVLog, ModelCheckpoint, TensorBoard
    from gpubp.training.stopping import EarlyStopping, TimeLimit

    estimators = exchange = interop
    __version__: str

# Estimators and `load` are not among them: `from gpubp import *` must not need other packages.
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
    "CosineWaves",
    "Each",
    "EarlyStopping",
    "ExponentialDecay",
    "FlatCosine",
    "HealthWatch",
    "History",
    "Lion",
    "ModelCheckpoint",
    "Nadam",
    "Network",
    "Networks",
    "OneCycle",
    "ParameterGroup",
    "Periodic",
    "RMSProp",
    "ReduceOnPlateau",
    "Regularization",
    "StepDecay",
    "TensorBoard",
    "TimeLimit",
    "WarmUp",
    "__version__",
    "available_backends",
    "errors",
    "get_backend",
    "gradient_check",
    "quantile_bins",
    "tree_bins",
]

_MODULES = {
    "backends": ("available_backends", "get_backend"),
    "training.callbacks": ("Callback", "HealthWatch", "ReduceOnPlateau"),
    "training.history": ("History",),
    "training.stopping": ("EarlyStopping", "TimeLimit"),
    "interop": ("MLPClassifier", "MLPRegressor", "cross_val_predict", "cross_validate", "search"),
    "tables.classifier": ("TabularClassifier",),
    "tables.regressor": ("TabularRegressor",),
    "tables.model": ("TabularModel",),
    "tables.loading": ("load",),
    "inspection.gradient_checking": ("gradient_check",),
    "training.logs": ("CSVLog", "ModelCheckpoint", "TensorBoard"),
    "network": ("Network",),
    "networks": ("Networks",),
    "training.each": ("Each",),
    "nn.bins": ("quantile_bins", "tree_bins"),
    "nn.layers.periodic": ("Periodic",),
    "nn.optimizers": ("SGD", "Adagrad", "Adam", "AdamW", "Lion", "Nadam", "RMSProp"),
    "nn.parameter_groups": ("ParameterGroup",),
    "nn.regularization": ("Regularization",),
    "nn.schedule": ("Constant",),
    "nn.schedules": (
        "Chain",
        "CosineDecay",
        "CosineWaves",
        "ExponentialDecay",
        "FlatCosine",
        "OneCycle",
        "StepDecay",
        "WarmUp",
    ),
}
# Modules that are reached as attributes, such as gpubp.losses.quantile(0.9), and where they lie
_SUBMODULES = {
    "data": "data",
    "estimators": "interop",
    "exchange": "interop",
    "losses": "nn.losses",
    "plots": "plots",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _SUBMODULES:
        value = importlib.import_module(f"gpubp.{_SUBMODULES[name]}")
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"gpubp.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'gpubp' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*_HOMES, *_SUBMODULES, *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("gpubp")
    except PackageNotFoundError:  # a source tree that was not installed
        return "unknown"
