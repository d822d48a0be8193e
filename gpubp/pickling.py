"""Networks as `pickle` and `copy` take them; files of our own are safetensors, safe to load."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gpubp.errors import BackendUnavailableError
from gpubp.training.callbacks import History

_COUNTERS = ("step", "epoch", "kernel", "updates", "rate_factor")  # of a TrainingState


def reduced(net: Any) -> tuple[Any, ...]:
    """Return what `restored` makes the network from: plain data and NumPy arrays."""
    host, state = net.backend.to_numpy, net._state
    index = getattr(net.backend, "index", 0)
    kept = {
        "backend": f"gpu:{index}" if net.backend.name == "gpu" else "cpu",
        "parameters": host(net.parameters),
        "counters": {name: getattr(state, name) for name in _COUNTERS},
        "moments": [host(moment) for moment in state.moments],
        "average": None if state.average is None else host(state.average),
        "history": asdict(net.history),
        "preprocessing": net.preprocessing,
    }
    return restored, (type(net), net._settings(), kept)


def restored(kind: type, settings: dict[str, Any], kept: dict[str, Any]) -> Any:
    """Return the network; on the CPU where it was on a GPU and there is none."""
    try:
        net = kind(**settings, backend=kept["backend"])
    except BackendUnavailableError:
        net = kind(**settings, backend="cpu")
    backend, state = net.backend, net._state
    with backend.on_device():
        net.parameters[...] = backend.asarray(kept["parameters"])
        moved = []
        for array in [*kept["moments"], kept["average"]]:
            there = None
            if array is not None:
                there = backend.empty(array.shape, net.dtype)
                there[...] = backend.asarray(array)
            moved.append(there)
    *moments, state.average = moved
    state.moments = tuple(moments)
    for name, value in kept["counters"].items():
        setattr(state, name, value)
    net.history, net.preprocessing = History(**kept["history"]), kept["preprocessing"]
    return net
