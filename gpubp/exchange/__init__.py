"""Networks to and from other libraries: ONNX, a NumPy-only file, scikit-learn, PyTorch."""

from gpubp.exchange.numpy_file import write_numpy_predictor
from gpubp.exchange.onnx_file import write_onnx
from gpubp.exchange.pytorch import from_pytorch
from gpubp.exchange.scikit_learn import from_scikit_learn

__all__ = ["from_pytorch", "from_scikit_learn", "write_numpy_predictor", "write_onnx"]
