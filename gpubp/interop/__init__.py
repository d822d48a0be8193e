"""Other libraries: scikit-learn's estimators; networks to and from ONNX, NumPy files, PyTorch.

Names are imported when they are first used: only the estimators need scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gpubp.errors import import_extra

if TYPE_CHECKING:
    from gpubp.interop.classifier import MLPClassifier
    from gpubp.interop.cross_validation import cross_val_predict, cross_validate
    from gpubp.interop.from_sklearn import from_scikit_learn
    from gpubp.interop.numpy_file import write_numpy_predictor
    from gpubp.interop.onnx_file import write_onnx
    from gpubp.interop.pytorch import from_pytorch
    from gpubp.interop.regressor import MLPRegressor
    from gpubp.interop.search import search

__all__ = [
    "MLPClassifier",
    "MLPRegressor",
    "cross_val_predict",
    "cross_validate",
    "from_pytorch",
    "from_scikit_learn",
    "search",
    "write_numpy_predictor",
    "write_onnx",
]

_HOMES = {
    "MLPClassifier": "classifier",
    "MLPRegressor": "regressor",
    "cross_val_predict": "cross_validation",
    "cross_validate": "cross_validation",
    "from_pytorch": "pytorch",
    "from_scikit_learn": "from_sklearn",
    "search": "search",
    "write_numpy_predictor": "numpy_file",
    "write_onnx": "onnx_file",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gpubp.interop' has no attribute {name!r}")
    if name.startswith(("MLP", "cross_", "search")):
        import_extra("sklearn", "sklearn")
    value = getattr(importlib.import_module(f"gpubp.interop.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
