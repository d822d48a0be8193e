"""RawKernel of the simulated CuPy: kernels whose threads work together, block by block."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import numpy as np

from kernel_compilation import C_TYPES, HOST_FLUSH, load_host_library
from simulated.array import ndarray
from simulated.kernels import address_of, contiguous
from simulated.memory import Guarded, IllegalAddressError, Reference
from simulated.streams import launch

HOST_WORDS = """#include <cstring>
#define __global__
#define __shared__
#define __launch_bounds__(...)
static struct { long long x; } blockIdx;
"""
# Shared memory holds NaN when a block begins; what lies behind it must not be written to.
HOST_LAUNCH = """
enum {{ FLOATS = {floats}, BEHIND = 64 }};
alignas(16) float memory[FLOATS + BEHIND];
extern "C" int launch(long long blocks{declared}) {{
  gpubp::FlushSubnormals flush;
  int written = 0;
  for (blockIdx.x = blocks; blockIdx.x-- > 0;) {{
    std::memset(memory, 0xff, sizeof memory);
    {name}_own::{name}({names});
    for (int at = FLOATS; at < FLOATS + BEHIND; ++at)
      written += gpubp::bits_of(memory[at]) != 0xffffffffu;
  }}
  return written;
}}
"""
SCALARS = {
    "long long": ctypes.c_longlong,
    "int": ctypes.c_int,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
}


class RawKernel:
    """Takes what `cupy.RawKernel` takes of what gpubp uses.

    Blocks run one after the other, the last one first, and of each block one thread does for all.
    """

    def __init__(self, code: str, name: str, options: tuple[str, ...] = ()) -> None:
        declared = re.search(rf"\b{name}\(([^)]*)\)", code)
        assert declared is not None
        self.name, self.code, self.options = name, code, options
        self.max_dynamic_shared_size_bytes = 48 << 10
        self._parameters = [each.strip().rpartition(" ") for each in declared[1].split(",")]
        self._function: Any = None
        self._declared = declared[1]

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: tuple[Any, ...],
        *,
        shared_mem: int = 0,
    ) -> None:
        (blocks,), (threads,) = grid, block
        assert threads % 32 == 0, "warps are whole"
        assert f"__launch_bounds__({threads})" in self.code
        if not 0 < blocks < 1 << 31 or shared_mem > self.max_dynamic_shared_size_bytes:
            raise ValueError(f"{self.name}: {blocks} blocks, {shared_mem} bytes of shared memory")
        given = [
            self._argument(kind, name, value)
            for (kind, _, name), value in zip(self._parameters, args, strict=True)
        ]
        read, written = (
            [
                place
                for (kind, _, _), value in zip(self._parameters, given, strict=True)
                if isinstance(value, Reference) and kind.startswith("const ") is const
                for place in value.places
            ]
            for const in (True, False)
        )

        def run() -> None:
            guarded = Guarded(written)
            hosts = [each.host() if isinstance(each, Reference) else each for each in given]
            written_behind = self._compiled(shared_mem)(
                blocks, *(address_of(each) if hasattr(each, "ctypes") else each for each in hosts)
            )
            guarded.check(self.name)
            if written_behind:
                raise IllegalAddressError(f"{self.name} wrote beyond {shared_mem} shared bytes")

        launch(self.name, run, read, written)

    def _argument(self, kind: str, name: str, value: Any) -> Any:
        """Return an array's reference, or a number as C takes it."""
        if kind.endswith("*"):
            assert isinstance(value, ndarray), f"{self.name}: {name} is no array"
            assert value.size, f"{self.name}: {name} is empty, its address 0"
            wanted = kind.removeprefix("const ").removesuffix("*")
            assert C_TYPES[value.dtype.name] == wanted, f"{name}: {value.dtype} as {wanted}"
            host = value._host
            turned = host if host.flags.c_contiguous else host.T
            return Reference(contiguous(turned, name))
        assert np.dtype(type(value)).itemsize == ctypes.sizeof(SCALARS[kind]), f"{name}: {value!r}"
        return SCALARS[kind](value.item())

    def _compiled(self, shared: int) -> Any:
        """Return the function of the text, which may use so many bytes of shared memory."""
        words = [name for _, _, name in self._parameters]
        run = HOST_LAUNCH.format(
            floats=shared // 4,
            declared=f", {self._declared}",
            name=self.name,
            names=", ".join(words),
        )
        library = load_host_library(f"{HOST_FLUSH}{HOST_WORDS}{self.code}{run}")
        function = library.launch
        function.restype = ctypes.c_int
        kinds = [SCALARS.get(kind, ctypes.c_void_p) for kind, _, _ in self._parameters]
        function.argtypes = [ctypes.c_longlong, *kinds]
        return function
