"""Networks from PyTorch: linear layers and activations of an `nn.Sequential`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Backend
from gpubp.backends.formulas.activations import ACTIVATIONS
from gpubp.backends.formulas.entries import Activation
from gpubp.errors import ConfigurationError, ShapeError, brief
from gpubp.network import Network


def from_pytorch(
    module: Any,
    activation: str | Sequence[str] = "relu",
    output: str = "identity",
    backend: str | Backend = "auto",
) -> Network:
    """Return a network with the weights of a PyTorch model.

    Parameters
    ----------
    module : nn.Sequential or its state dict
        `nn.Linear` layers with an activation after each or none; a state dict tells no activations,
        which are then those given.
    activation, output : str
        As for `Network`; not used for a module.

    Raises
    ------
    ConfigurationError, ShapeError
        When it holds other layers, or layers that do not fit each other.
    """
    hidden: str | Sequence[str] = activation
    if not isinstance(module, Mapping):
        names = _activations(list(module.children()))
        *hidden, output = names
        module = module.state_dict()
    pairs = _linear_layers(module)
    sizes = [pairs[0][0].shape[0], *(weight.shape[1] for weight, _ in pairs)]
    for index, (weight, _) in enumerate(pairs):
        if weight.shape[0] != sizes[index]:
            raise ShapeError(
                f"linear layer {index + 1} has {weight.shape[0]} inputs; {sizes[index]}, the"
                " outputs of the one before, are needed"
            )
    wide = any(weight.dtype == np.float64 for weight, _ in pairs)
    dtype = "float64" if wide else "float32"
    net = Network(sizes, hidden, output, backend, dtype)
    with net.backend.on_device():
        for layer, (weight, bias) in zip(net.layers, pairs, strict=True):
            layer.weight[...] = net.backend.asarray(weight, net.dtype)
            layer.bias[...] = net.backend.asarray(bias, net.dtype)
    return net


def _linear_layers(state: Mapping[str, Any]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return weight (inputs, outputs) and bias of every linear layer, in the dict's order."""
    layers: dict[str, dict[str, NDArray[Any]]] = {}
    for key, tensor in state.items():
        name, _, kind = key.rpartition(".")
        array = _as_numpy(tensor)
        if kind not in ("weight", "bias") or array.ndim != (2 if kind == "weight" else 1):
            raise ConfigurationError(
                f"{key!r} of shape {array.shape} is no weight or bias of a linear layer; nothing"
                " else can be taken over"
            )
        layers.setdefault(name, {})[kind] = array
    if not layers:
        raise ConfigurationError("the state dict is empty; one linear layer at least is needed")
    pairs = []
    for name, parts in layers.items():
        if "weight" not in parts:
            raise ConfigurationError(f"{name!r} has no weight; a linear layer needs one")
        weight = parts["weight"].T
        pairs.append((weight, parts.get("bias", np.zeros(weight.shape[1], weight.dtype))))
    return pairs


def _as_numpy(tensor: Any) -> NDArray[Any]:
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if str(tensor.dtype) in ("torch.bfloat16", "torch.float16"):
            tensor = tensor.float()
    return np.asarray(tensor)


def _activations(modules: list[Any]) -> list[str]:
    """Return the function after each linear layer."""
    names: list[str] = []
    for module in modules:
        kind = type(module).__name__
        if kind == "Linear":
            names.append("identity")
        elif _of_class(kind) and names and names[-1] == "identity":
            names[-1] = _named(module, kind)
        elif kind not in ("Dropout", "Flatten"):
            raise ConfigurationError(
                f"{module} cannot be taken over; Linear, one activation after each, and Dropout can"
            )
    return names


def _of_class(kind: str) -> list[Activation]:
    return [activation for activation in ACTIVATIONS.values() if activation.pytorch == kind]


def _named(module: Any, kind: str) -> str:
    """Return the name of the function with the settings of this module."""
    wrong = ""
    for activation in _of_class(kind):
        settings = activation.pytorch_settings
        differing = [name for name in settings if not _fits(getattr(module, name), settings[name])]
        if not differing:
            return activation.name
        name = differing[0]
        wrong = f"{module} has {name} {getattr(module, name)!r}; {brief(settings[name])} is needed"
    raise ConfigurationError(wrong)


def _fits(value: Any, wanted: Any) -> bool:
    return bool(value in wanted if isinstance(wanted, tuple) else value == wanted)
