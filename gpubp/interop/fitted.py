"""What a fitted estimator offers of its network: outputs, weights, a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from gpubp.interop.arguments import checked
from gpubp.network import Network


class FittedNetwork:
    """The part of an estimator that looks at ``network_``, which fit makes."""

    network_: Network
    _dtype_reason: str

    def _outputs(self, X: Any) -> Any:
        """Return the network's outputs (rows, outputs) for inputs that are checked first."""
        check_is_fitted(self)
        return self.network_.predict(checked(self, X))

    def _gradient(self, X: Any) -> Any:
        check_is_fitted(self)
        return self.network_.input_gradient(checked(self, X))

    def _report(self) -> None:
        net = self.network_
        self.history_ = net.history
        self.backend_report_ = {
            "backend": net.backend.name,
            "device": net.backend.device,
            "reason": net.backend.reason,
            "dtype": net.dtype.name,
            "dtype_reason": self._dtype_reason,
            "precision": net.precision.name,
            "notes": list(net.backend.notes),
            "seconds": sum(net.history.seconds),
        }

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    @property
    def coefs_(self) -> list[NDArray[Any]]:
        """Weights of every layer, (inputs, outputs); on a CPU the network's own memory."""
        net = self._fitted_network("coefs_")
        return [net.backend.to_numpy(layer.weight) for layer in net.layers]

    @coefs_.setter
    def coefs_(self, weights: Sequence[Any]) -> None:
        net = self._fitted_network("coefs_")
        for layer, weight in zip(net.layers, weights, strict=True):
            layer.weight[...] = net.backend.asarray(weight, net.dtype)

    @property
    def intercepts_(self) -> list[NDArray[Any]]:
        """Biases of every layer, (outputs,); on a CPU the network's own memory."""
        net = self._fitted_network("intercepts_")
        return [net.backend.to_numpy(layer.bias) for layer in net.layers]

    @intercepts_.setter
    def intercepts_(self, biases: Sequence[Any]) -> None:
        net = self._fitted_network("intercepts_")
        for layer, bias in zip(net.layers, biases, strict=True):
            layer.bias[...] = net.backend.asarray(bias, net.dtype)

    def _fitted_network(self, name: str) -> Network:
        if not hasattr(self, "network_"):
            raise AttributeError(f"{type(self).__name__} has no {name} before fit")
        return self.network_
