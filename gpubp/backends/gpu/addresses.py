"""Where arrays lie, in a table on the device: a recorded step looks there for what it reads.

So the data of another training may take the place of those that a step was recorded with, and the
recording keeps none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from gpubp.backends.gpu.elementwise import C_TYPES, Elementwise
from gpubp.backends.program import Operation
from gpubp.backends.scratch import Array

TABLE = "addresses"  # the parameter of a kernel that is the table


class Addressed(NamedTuple):
    """An array that a kernel finds by the table.

    Attributes
    ----------
    table : array of uint64
        Where arrays lie.
    number : int
        Which of them this one is.
    dtype : str
        The name of its dtype.
    """

    table: Array
    number: int
    dtype: str


class Addresses:
    """Where those arrays lie that others may take the place of.

    Parameters
    ----------
    arrays : sequence of array
        Those that steps read at first; none of them is kept.
    """

    def __init__(self, cupy: Any, arrays: Sequence[Array]) -> None:
        self._form = _form(arrays)
        self._table = cupy.empty(len(arrays), np.uint64)
        self._pointers: list[int] = []
        self.lead_to(arrays)

    @staticmethod
    def possible(arrays: Sequence[Array]) -> bool:
        """Tell whether kernels can find arrays like these by their addresses."""
        return all(one.dtype.name in C_TYPES and one.flags.c_contiguous for one in arrays)

    def lead_to(self, arrays: Sequence[Array]) -> bool:
        """Let steps read these from now on; return False, and change nothing, where they cannot.

        They can where dtypes and columns are the same, whatever the number of rows.
        """
        if _form(arrays) != self._form or not self.possible(arrays):
            return False
        self._pointers = [int(one.data.ptr) for one in arrays]
        self._table.set(np.array(self._pointers, np.uint64))
        return True

    def instead(self, operations: Iterable[Operation]) -> list[Operation]:
        """Return operations that look for these arrays in the table."""
        known = {
            pointer: Addressed(self._table, number, self._form[number][0])
            for number, pointer in reversed(list(enumerate(self._pointers)))
        }
        return [
            one._replace(arguments=tuple(known.get(_pointer(each), each) for each in one.arguments))
            for one in operations
        ]


def _form(arrays: Sequence[Array]) -> list[tuple[str, tuple[int, ...], int]]:
    """Return dtypes and columns of arrays, and the first that lies where each does."""
    pointers = [_pointer(one) for one in arrays]
    return [
        (one.dtype.name, tuple(one.shape[1:]), pointers.index(pointer))
        for one, pointer in zip(arrays, pointers, strict=True)
    ]


def _pointer(argument: Any) -> int:
    return int(getattr(getattr(argument, "data", None), "ptr", 0))


def by_address(
    kernel: Elementwise, arguments: tuple[Any, ...]
) -> tuple[Elementwise, tuple[Any, ...]]:
    """Return a kernel that finds by the table what is `Addressed`, and what it is called with."""
    found = tuple(
        (number, one.number, one.dtype)
        for number, one in enumerate(arguments)
        if isinstance(one, Addressed)
    )
    if not found:
        return kernel, arguments
    table = arguments[found[0][0]].table
    others = (one for one in arguments if not isinstance(one, Addressed))
    return _kernel_by_address(kernel, found), (table, *others)


@cache
def _kernel_by_address(kernel: Elementwise, found: tuple[tuple[int, int, str], ...]) -> Elementwise:
    """Make the kernel whose raw inputs at these places are of these numbers and dtypes."""
    inputs, lines, name = [f"raw uint64 {TABLE}"], "", kernel.name
    addressed = {place: (number, dtype) for place, number, dtype in found}
    for place, (text, one) in enumerate(
        zip(kernel.inputs.split(","), kernel.parameters, strict=False)
    ):
        if place not in addressed:
            inputs.append(text.strip())
            continue
        number, dtype = addressed[place]
        ctype = C_TYPES[dtype]
        lines += f"const {ctype}* {one.name} = (const {ctype}*){TABLE}[{number}]; "
        name += f"_{one.name}{number}_{dtype}"
    return Elementwise(name, ", ".join(inputs), kernel.outputs, lines + kernel.operation)
