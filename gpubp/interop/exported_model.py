"""A model as plain NumPy arrays and settings: what every form of export is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends.protocol import NORM_EPSILON
from gpubp.errors import ConfigurationError
from gpubp.network import Network
from gpubp.nn.layers import Dense


@dataclass(frozen=True)
class PlainLayer:
    """One layer y = f(x @ weight + bias), or y = f(gamma * normalised(x @ weight) + bias).

    Attributes
    ----------
    weight, bias, gamma : array
        float32, (inputs, outputs) and twice (outputs,); gamma is None without layer normalisation.
    activation : str
        Name of the function f.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    activation: str
    gamma: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class PlainModel:
    """A network, and what goes before and after it.

    Attributes
    ----------
    layers : list of PlainLayer
        First to last; batch normalisation is part of their weights.
    input_scale : float
        What inputs are multiplied by.
    preprocessing : dict or None
        `gpubp.tables.preprocessing.Preprocessing.to_dict` of a model that `gpubp train` made.
    labels : list or None
        Labels in the order of the outputs, of a classifier.
    """

    layers: list[PlainLayer]
    input_scale: float
    preprocessing: dict[str, Any] | None
    labels: list[Any] | None


def plain_model(model: Any) -> PlainModel:
    """Return a network, a table's model or an estimator as plain data.

    Raises
    ------
    ConfigurationError
        When it is none of them, or not fitted.
    """
    labels, preprocessing = None, None
    net = model
    if hasattr(model, "preprocessing") and hasattr(model, "net"):  # a TabularModel
        net, preprocessing = model.net, model.preprocessing.to_dict()
        labels = model.preprocessing.classes or None
    elif hasattr(model, "get_params"):  # an estimator
        net = getattr(model, "network_", None)
        if hasattr(model, "classes_") and not model._labels.several:
            labels = model.classes_.tolist()
    elif isinstance(model, Network):
        preprocessing = model.preprocessing
        if preprocessing is not None:
            labels = preprocessing.get("classes")
    if not isinstance(net, Network):
        raise ConfigurationError(
            f"a {type(model).__name__} cannot be exported; a Network, a model of `gpubp train` or a"
            " fitted estimator is needed"
        )
    return PlainModel(_layers(net), net.input_scale, preprocessing, labels)


def _layers(net: Network) -> list[PlainLayer]:
    def host(array: Any) -> NDArray[np.float32]:
        return np.array(net.backend.to_numpy(array), np.float32)

    layers = []
    for layer in net.layers:
        assert isinstance(layer, Dense)
        weight, bias, gamma = host(layer.weight), host(layer.bias), None
        if layer.normalization == "layer":
            gamma = host(layer.gamma)
        elif layer.normalization == "batch":
            mean, variance = net.backend.to_numpy(layer.running).astype(float)
            factor = host(layer.gamma) / np.sqrt(variance + NORM_EPSILON)
            bias = (bias - mean * factor).astype(np.float32)
            weight = (weight * factor).astype(np.float32)
        layers.append(PlainLayer(weight, bias, layer.activation.name, gamma))
    return layers
