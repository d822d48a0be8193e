"""What a fitted estimator offers of its network: outputs, weights, a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from gpubp.interop.arguments import checked
from gpubp.interop.labels import module_of
from gpubp.network import Network


class FittedNetwork:
    """The part of an estimator that looks at ``network_``, which fit makes."""

    network_: Network
    _dtype_reason: str

    def _outputs(self, X: Any) -> Any:
        """Return the mean outputs (rows, outputs) for inputs that are checked first."""
        answers = self._answers(X)
        return answers[0] if len(answers) == 1 else self._stacked(answers).mean(axis=0)

    def _spread(self, X: Any) -> Any:
        """Return the standard deviations of the outputs among the members, (rows, outputs)."""
        return self._stacked(self._answers(X)).std(axis=0)

    def _answers(self, X: Any) -> list[Any]:
        """Return the outputs (rows, outputs) of every member."""
        check_is_fitted(self)
        x = checked(self, X)
        return [net.predict(x) for net in self._networks]

    @staticmethod
    def _stacked(answers: list[Any]) -> Any:
        return module_of(answers[0]).stack(answers)

    def _gradient(self, X: Any) -> Any:
        """Return the derivatives of the mean outputs by the features."""
        check_is_fitted(self)
        x = checked(self, X)
        first, *others = (net.input_gradient(x) for net in self._networks)
        return sum(others, first) / (len(others) + 1)

    @property
    def _networks(self) -> list[Network]:
        """The networks that answer together: one, or that of each member."""
        return [self.network_, *(other.network_ for other in getattr(self, "others_", ()))]

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
