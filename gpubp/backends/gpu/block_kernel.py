"""Kernels whose threads work together, block by block, as text for CuPy's RawKernel.

Such a kernel is made when it is used, for the dtypes and the shapes that it is used with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gpubp.backends.gpu.elementwise import BLOCK_HEADERS
from gpubp.backends.gpu.sources import preamble
from gpubp.backends.scratch import Array

OPTIONS = ("-std=c++17", "-ftz=true")
SHARED = "\nextern __shared__ float memory[];\n"
MOST_MEMORY = 64 << 10  # bytes that a block may share on every device
SCALARS: dict[str, Callable[[Any], Any]] = {
    "long long": np.int64,
    "float": np.float32,
    "double": np.float64,
}


@dataclass(frozen=True)
class BlockKernel:
    """A kernel as text.

    Attributes
    ----------
    name : str
        Tells it from those that differ in a formula; one of other shapes may have the same.
    parameters : tuple of str
        As C declares them: ``const float* x``, ``float* y`` or ``long long rows``.
    body : str
        What each thread does; `memory` is what its block shares.
    threads : int
        Of a block.
    declarations : str
        What comes before the kernel.
    """

    name: str
    parameters: tuple[str, ...]
    body: str
    threads: int
    declarations: str = ""

    @cached_property
    def text(self) -> str:
        """The kernel without the headers."""
        return (
            f"namespace {self.name}_own {{\n{self.declarations}\n"
            f'extern "C" __global__ void __launch_bounds__({self.threads})\n'
            f"{self.name}({', '.join(self.parameters)}) {{\n{self.body}}}\n}}\n"
        )

    @cached_property
    def source(self) -> str:
        """The whole text that is compiled."""
        return f"{preamble(BLOCK_HEADERS)}{SHARED}{self.text}"


class BlockKernels:
    """Those of a device that have been compiled."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._made: dict[BlockKernel, Any] = {}

    def launch(
        self, kernel: BlockKernel, blocks: int, memory: int, arguments: Sequence[Any]
    ) -> None:
        """Start so many blocks that share `memory` bytes each; none of the arrays is empty."""
        made = self._made.get(kernel)
        if made is None:
            made = self._cupy.RawKernel(kernel.source, kernel.name, options=OPTIONS)
            made.max_dynamic_shared_size_bytes = MOST_MEMORY
            self._made[kernel] = made
        pairs = zip(kernel.parameters, arguments, strict=True)
        given = tuple(_as_declared(*pair) for pair in pairs)
        made((blocks,), (kernel.threads,), given, shared_mem=memory)


def _as_declared(parameter: str, argument: Any) -> Any:
    """Return an array as it is, and a number with the bytes that its C type has."""
    scalar = SCALARS.get(parameter.rpartition(" ")[0])
    return argument if scalar is None else scalar(argument)


def fours(array: Array, pitch: int) -> bool:
    """Tell whether every fourth number of rows so far apart is aligned to four of them."""
    return pitch % 4 == 0 and int(array.data.ptr) % (4 * int(array.dtype.itemsize)) == 0


def literal(value: bool) -> str:
    """Return a truth as C++ writes it."""
    return "true" if value else "false"
