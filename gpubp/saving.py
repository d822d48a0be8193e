"""Networks that are saved, loaded, moved to another backend, copied and pickled."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gpubp import model_files
from gpubp.backends import Array, Backend, get_backend
from gpubp.errors import (
    BackendUnavailableError,
    DeviceError,
    DeviceMemoryError,
    ModelFileError,
)
from gpubp.inspection.memory import on_device
from gpubp.inspection.methods import InspectedNetwork
from gpubp.nn.backprop import LayerStack
from gpubp.nn.buffers import Buffers
from gpubp.nn.spec import NetworkSpec
from gpubp.training.history import History
from gpubp.training.state import TrainingState

_COUNTERS = ("step", "epoch", "kernel", "updates", "rate_factor")  # of a TrainingState
FEW = 1_000_000  # neurons, a description of which does no harm


def _check_sizes(sizes: Any, count: int) -> None:
    """Refuse layers larger than all parameters together, before anything of their size is made.

    Raises
    ------
    ValueError
        Names the size.
    """
    for size in sizes if isinstance(sizes, list) else ():
        if isinstance(size, int) and size > max(count, FEW):
            raise ValueError(f"sizes hold {size!s:.20} and the file has {count} parameters")


class SavedNetwork(InspectedNetwork):
    """The part of a network's face that writes it, reads it and moves it."""

    history: History

    def __init__(
        self, spec: NetworkSpec, backend: Backend, parameters: NDArray[Any] | None = None
    ) -> None:
        self.stack = LayerStack(spec, backend, parameters)
        self.history = History()
        self.preprocessing = None
        self._state = TrainingState()
        self._last: Buffers | None = None

    @classmethod
    def _of(
        cls, spec: NetworkSpec, backend: Backend, parameters: NDArray[Any] | None = None
    ) -> Self:
        """Return a network of this description, with these parameters or its initial ones."""
        net = cls.__new__(cls)
        SavedNetwork.__init__(net, spec, backend, parameters)
        return net

    @on_device
    def to(self, backend: str | Backend) -> Self:
        """Move the network to another backend, in place, and return it.

        Parameters and optimizer state move along; views taken before stay on the old one.

        Raises
        ------
        BackendUnavailableError, UnknownNameError
            When there is no such backend here.
        """
        target = get_backend(backend)
        source, state = self.backend, self._state
        kept = state.moments if state.average is None else (*state.moments, state.average)
        hosts = [source.to_numpy(array) for array in kept]
        self.stack.place(target, source.to_numpy(self.parameters))
        moved = [_placed(self.stack, host) for host in hosts]
        if state.average is not None:
            state.average = moved.pop()
        state.moments = tuple(moved)
        state.scaling = state.gathered = state.gathered_weight = None
        self._last = None
        return self

    @on_device
    def lie_in(self, place: Array) -> None:
        """Move the parameters to a place (count,) on the network's backend, in place."""
        self.stack.lie_in(place)
        self._last = None

    @on_device
    def copy(self, dtype: Any = None) -> Self:
        """Return a network with a copy of the parameters, in another dtype if one is given."""
        spec = self.spec if dtype is None else self.spec.with_dtype(dtype)
        twin = self._of(spec, self.backend)
        twin.parameters[...] = self.parameters
        twin.preprocessing = self.preprocessing
        return twin

    def save(
        self,
        path: str | os.PathLike[str],
        preprocessing: dict[str, Any] | None = None,
        history: bool = True,
    ) -> None:
        """Write a model file (safetensors); an existing one is replaced only when it is complete.

        Parameters
        ----------
        preprocessing : dict or None
            What JSON can hold, stored with the model and loaded as ``net.preprocessing``.
        history : bool
            Whether the losses of the last `fit`, without their times, go along, of up to 10,000
            epochs; loaded as ``net.history``.

        Raises
        ------
        OutputPathError, MissingExtraError
            When the file cannot be written, or safetensors is not installed.
        """
        kept = self.preprocessing if preprocessing is None else preprocessing
        save_networks([self], path, kept, history)

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: str | Backend = "auto") -> Self:
        """Read a model file.

        Raises
        ------
        ModelFileError
            When there is none, or it is torn, foreign or of a newer version, or holds several
            networks.
        BackendUnavailableError, MissingExtraError
            When the backend cannot be had, or safetensors is not installed.
        """
        nets = cls.load_all(path, backend)
        if len(nets) > 1:
            raise ModelFileError(
                f"{path} holds {len(nets)} networks that answer together; Network.load_all gives"
                " them, gpubp.load their common answer"
            )
        return nets[0]

    @classmethod
    def load_all(cls, path: str | os.PathLike[str], backend: str | Backend = "auto") -> list[Self]:
        """Read all networks of a model file, of which there is mostly one; see `load`."""
        chosen = get_backend(backend)
        parameters, description, histories = model_files.read(path)
        preprocessing = description.pop("preprocessing", None)
        described = [description, *description.pop(model_files.MEMBERS, [])]
        nets = [
            cls._described(path, each, values, preprocessing, chosen)
            for each, values in zip(described, parameters, strict=True)
        ]
        for net, history in zip(nets, histories, strict=True):
            net.history = history
        return nets

    @classmethod
    def _described(
        cls,
        path: Any,
        description: dict[str, Any],
        parameters: NDArray[Any],
        preprocessing: dict[str, Any] | None,
        backend: Backend,
    ) -> Self:
        """Return the network of a description with the parameters that a file holds."""
        try:
            _check_sizes(description.get("sizes"), parameters.size)
            spec = NetworkSpec.from_dict(description)
            # their number is compared before anything of that size is allocated
            net = cls._of(spec, backend, parameters)
        except (BackendUnavailableError, DeviceError, DeviceMemoryError):
            raise
        except Exception as error:  # a stranger's description can be wrong in any way
            raise ModelFileError(f"{path} describes no network: {error!s:.300}") from error
        if parameters.dtype != net.dtype:
            raise ModelFileError(
                f"{path} holds parameters of {parameters.dtype}; its network needs {net.dtype}"
            )
        finite = np.isfinite(parameters)
        if not finite.all():
            place = int(np.argmin(finite))
            raise ModelFileError(
                f"{path} has {parameters[place]} as parameter {place}; finite numbers are needed"
            )
        net.preprocessing = preprocessing
        return net

    @on_device
    def learnt(self) -> dict[str, Any]:
        """Return all that training has changed, as plain data and NumPy arrays; see `take_over`."""
        host, state = self.backend.to_numpy, self._state
        return {
            "parameters": host(self.parameters),
            "counters": {name: getattr(state, name) for name in _COUNTERS},
            "moments": [host(moment) for moment in state.moments],
            "average": None if state.average is None else host(state.average),
            "history": self.history.to_dict(),
        }

    @on_device
    def take_over(self, learnt: dict[str, Any]) -> None:
        """Put what a network of the same shape has learnt in the place of one's own, in place."""
        state = self._state
        self.parameters[...] = self.backend.asarray(learnt["parameters"])
        state.moments = tuple(_placed(self.stack, moment) for moment in learnt["moments"])
        state.average = None
        if learnt["average"] is not None:
            state.average = _placed(self.stack, learnt["average"])
        state.scaling = state.gathered = state.gathered_weight = None
        for name, value in learnt["counters"].items():
            setattr(state, name, value)
        self.history, self._last = History(**learnt["history"]), None

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what `restored` makes the network from: plain data and NumPy arrays."""
        index = getattr(self.backend, "index", 0)
        kept = self.learnt() | {
            "backend": f"gpu:{index}" if self.backend.name == "gpu" else "cpu",
            "preprocessing": self.preprocessing,
        }
        return restored, (type(self), self.spec.to_dict(), kept)


def save_networks(
    networks: Sequence[SavedNetwork],
    path: str | os.PathLike[str],
    preprocessing: dict[str, Any] | None,
    history: bool = True,
) -> None:
    """Write networks that answer together, or a single one, to a model file.

    Raises
    ------
    OutputPathError, MissingExtraError
        When the file cannot be written, or safetensors is not installed.
    """
    first, *others = networks
    description = first.spec.to_dict() | {"preprocessing": preprocessing}
    if others:
        description[model_files.MEMBERS] = [each.spec.to_dict() for each in others]
    parameters = []
    for net in networks:
        with net.backend.on_device():
            parameters.append(net.backend.to_numpy(net.parameters))
    histories = [net.history for net in networks] if history else ()
    model_files.write(path, parameters, description, histories)


def restored(kind: type[SavedNetwork], described: dict[str, Any], kept: dict[str, Any]) -> Any:
    """Return a pickled network; on the CPU where it was on a GPU and there is none."""
    try:
        backend = get_backend(kept["backend"])
    except BackendUnavailableError:
        backend = get_backend("cpu")
    net = kind._of(NetworkSpec.from_dict(described), backend)
    net.take_over(kept)
    net.preprocessing = kept["preprocessing"]
    return net


def _placed(stack: LayerStack, host: NDArray[Any]) -> Array:
    """Return a copy of a host's array where the network lies."""
    with stack.backend.on_device():
        array = stack.backend.empty(host.shape, stack.dtype)
        array[...] = stack.backend.asarray(host)
    return array
