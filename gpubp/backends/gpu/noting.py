"""What a step asks of a GPU, noted launch by launch instead of done.

A kernel or a product is noted with its arrays and numbers. So the steps of several networks can be
compared, and done together (`gpubp.backends.gpu.joining`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpubp.backends.formulas.operations import ArrayOperations
from gpubp.backends.gpu.dense import DenseLayers
from gpubp.backends.gpu.elementwise import Elementwise
from gpubp.backends.gpu.kernel_table import ELEMENTWISE
from gpubp.backends.program import Operation
from gpubp.backends.scratch import Array


class NotJoinable(Exception):  # noqa: N818  no error: it says why networks go one after the other
    """Work that several networks cannot do together; says why."""


@dataclass(frozen=True)
class Launch:
    """A kernel with what it is called with, inputs first.

    Attributes
    ----------
    size : int
        How often it runs its operation.
    """

    kernel: Elementwise
    arguments: tuple[Any, ...]
    size: int


@dataclass(frozen=True)
class Product:
    """A product out = scale a @ b; a and b may be transposed views."""

    a: Array
    b: Array
    out: Array
    scale: float


Noted = Launch | Product


def is_array(argument: Any) -> bool:
    """Tell whether an argument of a kernel lies on the device."""
    return hasattr(argument, "data") and hasattr(argument.data, "ptr")


def loop_shape(kernel: Elementwise, arguments: Sequence[Any]) -> tuple[int, ...]:
    """Return the shape that a kernel's operation runs over, unless its size is given."""
    pairs = zip(kernel.parameters, arguments, strict=True)
    shapes = [each.shape for parameter, each in pairs if is_array(each) and not parameter.raw]
    return np.broadcast_shapes(*shapes)


class Notes:
    """Stands in for kernels and products, and notes what is asked of them."""

    def __init__(self) -> None:
        self.noted: list[Noted] = []

    def kernel(self, kernel: Elementwise) -> Callable[..., None]:
        """Return what notes the launches of a kernel."""

        def launch(*arguments: Any, size: int = -1) -> None:
            count = math.prod(loop_shape(kernel, arguments)) if size == -1 else size
            if count:
                self.noted.append(Launch(kernel, arguments, count))

        return launch

    def multiply(self, a: Array, b: Array, out: Array, scale: float) -> None:
        """Note a product."""
        self.noted.append(Product(a, b, out, scale))


class _Kernels:
    """What a dense layer asks of a backend besides products; see `gpubp.backends.gpu.dense`."""

    def __init__(self, backend: Any, notes: Notes) -> None:
        self.plain_multiply = notes.multiply
        self.activate = backend.activate
        self.activate_backward = backend.activate_backward
        self.derivative = backend.derivative
        self.offers_tiles = backend.offers_tiles
        self.tiled_forward = backend.tiled_forward
        self.tiled_multiply = backend.tiled_multiply


class _NoArrayFunctions:
    """Stands where CuPy's functions are, none of which would be noted."""

    def __getattr__(self, name: str) -> Any:
        raise NotJoinable(f"cupy.{name} is no kernel of gpubp's")


def noted(backend: Any, operations: Iterable[Operation]) -> list[Noted]:
    """Return the launches of operations of the CuPy backend, none of which is done.

    Raises
    ------
    NotJoinable
        When an operation is more than kernels and products.
    """
    notes, backend = Notes(), copy(backend)
    backend.xp = _NoArrayFunctions()
    backend.kernel = notes.kernel
    backend._kernels = {kernel.name: notes.kernel(kernel) for kernel in ELEMENTWISE}
    backend._dense = DenseLayers(_Kernels(backend, notes), None, None)
    for operation in operations:
        expressed = getattr(ArrayOperations, operation.name, None)
        if getattr(type(backend), operation.name) is expressed:
            raise NotJoinable(f"{operation.name} is done by array expressions")
        getattr(backend, operation.name)(*operation.arguments)
    return notes.noted
