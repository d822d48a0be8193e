"""How much memory training takes, said in advance and when it has run out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from math import prod
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from gpubp.backends import Backend
from gpubp.checks import checked_whole
from gpubp.errors import DeviceMemoryError
from gpubp.nn.backprop import LayerStack
from gpubp.nn.layers import Room
from gpubp.nn.view import NetworkView
from gpubp.text import ShownAsText, size_text

P = ParamSpec("P")
R = TypeVar("R")
Net = TypeVar("Net", bound=NetworkView)


@dataclass(frozen=True)
class MemoryPlan(ShownAsText):
    """What training keeps in memory, in bytes; the data themselves come on top.

    So do copies of the parameters to go back to when a loss is not finite, which a GPU without
    memory to spare leaves to the host.

    Attributes
    ----------
    batch_size : int
        Rows a step.
    weights, gradients, moments : int
        Of all parameters, in the network's dtype.
    half_weights : int
        Their copy in half precision, where that is used.
    activations : int
        Outputs, weighted sums and gradients of all layers for a batch, and the batch itself.
    workspace : int
        What matrix products may use besides.
    """

    batch_size: int
    weights: int
    gradients: int
    moments: int
    half_weights: int
    activations: int
    workspace: int

    @property
    def total(self) -> int:
        """All of it together."""
        return self._fixed + self.activations

    @property
    def _fixed(self) -> int:
        kept = self.weights + self.gradients + self.moments
        return kept + self.half_weights + self.workspace

    def largest_batch(self, available: int) -> int:
        """Return the largest batch for which so many bytes are enough; 0 where none is."""
        return max(0, available - self._fixed) * self.batch_size // self.activations

    def __str__(self) -> str:
        parts = {
            "weights": self.weights,
            "gradients": self.gradients,
            "moments": self.moments,
            "half weights": self.half_weights,
            f"activations for {self.batch_size} rows": self.activations,
            "workspace": self.workspace,
            "total": self.total,
        }
        width = max(map(len, parts))
        return "\n".join(
            f"{name:<{width}}  {size_text(size):>14}" for name, size in parts.items() if size
        )


def plan(stack: LayerStack, batch_size: int, moments: int) -> MemoryPlan:
    """Return the plan for batches of so many rows and so many moments a parameter.

    Raises
    ------
    ConfigurationError
        When the batch size is no whole number above 0.
    """
    batch_size = checked_whole("batch_size", batch_size)
    full, parameters = stack.dtype.itemsize, stack.gradients.size
    activations = stack.sizes[0] * stack.stored.itemsize * batch_size

    def count(shape: tuple[int, ...], dtype: np.dtype[Any]) -> object:
        nonlocal activations
        activations += prod(shape) * dtype.itemsize
        return object()

    for layer in stack.layers:
        layer.arrays(Room(batch_size, count, stack.dtype, stack.stored))
    return MemoryPlan(
        batch_size,
        parameters * full,
        parameters * full,
        parameters * full * moments,
        0 if stack.half is None else parameters * stack.stored.itemsize,
        activations,
        stack.backend.workspace,
    )


def on_device(method: Callable[Concatenate[Net, P], R]) -> Callable[Concatenate[Net, P], R]:
    """Run a network's method on its device, and say more when the device's memory runs out."""

    @wraps(method)
    def run(self: Net, /, *arguments: P.args, **options: P.kwargs) -> R:
        with self.backend.on_device():
            try:
                return method(self, *arguments, **options)
            except DeviceMemoryError:
                raise  # said already, by a method that this one called
            except MemoryError as error:
                if not self.backend.free_memory():
                    raise  # how much of the host's memory is free is not known
                rows: Any = options.get("batch_size") or self.stack.largest_rows or 1
                raise out_of_memory(self.stack, int(rows), error) from error

    return run


def out_of_memory(stack: LayerStack, rows: int, error: MemoryError) -> DeviceMemoryError:
    """Return the error that names the plan and the largest batch that fits."""
    needed = plan(stack, rows, moments=2)
    backend: Backend = stack.backend
    available = backend.free_memory() + needed.weights + needed.gradients
    said = " ".join(str(error).split())[:100]
    return DeviceMemoryError(
        f"memory ran out on {backend.device} ({said}): training on {rows} rows at a time takes"
        f" {needed.total / 2**20:,.0f} MiB besides the data, {available / 2**20:,.0f} MiB are free;"
        f" a batch_size of {max(1, needed.largest_batch(available))} at most fits"
    )
