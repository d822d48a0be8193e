"""Dense neural networks trained by backpropagation on NumPy or CuPy arrays, chosen at run time."""

from importlib.metadata import PackageNotFoundError, version

from gpubp import errors
from gpubp.backends import available_backends, get_backend
from gpubp.callbacks import Callback, EarlyStopping, History
from gpubp.gradient_checking import gradient_check
from gpubp.network import Network
from gpubp.optimizers import SGD, Adam, AdamW, RMSProp

try:
    __version__ = version("gpubp")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "unknown"

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Callback",
    "EarlyStopping",
    "History",
    "Network",
    "RMSProp",
    "__version__",
    "available_backends",
    "errors",
    "get_backend",
    "gradient_check",
]
