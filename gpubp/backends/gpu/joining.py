"""Launches of several networks done as one: kernels with one more axis, products by one call.

The launches of networks with the same layers are alike but for where their arrays lie and for
numbers such as a seed. A kernel is made anew around the same operation: thread by thread it finds
its member, and in a table where that member's arrays lie and what its numbers are.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpubp.backends.gpu.cublas import Cublas
from gpubp.backends.gpu.cublaslt import CONSTANTS
from gpubp.backends.gpu.elementwise import C_TYPES, LANES, Elementwise, Parameter
from gpubp.backends.gpu.noting import Launch, Noted, NotJoinable, Product, is_array, loop_shape
from gpubp.backends.gpu.products import KINDS, alignment, kinds, transposed
from gpubp.backends.precision import Precision
from gpubp.backends.scratch import Array

ALIGNMENT = 16  # bytes, of what products in fewer than 32 bits read and write


def likeness(launch: Noted) -> tuple[Any, ...]:
    """Return what launches that can be done as one have in common."""
    if isinstance(launch, Product):
        return ("product", kinds_of(launch), launch.scale)
    pairs = zip(launch.kernel.parameters, launch.arguments, strict=True)
    described = (_likeness_of(*pair) if is_array(pair[1]) else None for pair in pairs)
    return (launch.kernel.name, launch.size, *described)


def _likeness_of(parameter: Parameter, array: Array) -> tuple[Any, ...]:
    """Return what an array says of a launch: one that is raw may be of any length, as data are."""
    return (array.dtype.name, None if parameter.raw else tuple(array.shape))


def kinds_of(product: Product) -> str:
    """Name dtypes, shapes and order of a product, and nothing of where it lies."""
    arrays = (product.a, product.b, product.out)
    return " ".join(kinds(one).partition("@")[0] for one in arrays)


def element_text(launch: Launch) -> str:
    """Return a kernel's operation on element `i`, whose parameters `joined_own` lists.

    Raises
    ------
    NotJoinable
        When an array lies as it cannot be found by its address.
    """
    kernel = launch.kernel
    pairs = list(zip(kernel.parameters, launch.arguments, strict=True))
    shape = loop_shape(kernel, launch.arguments)
    letters: dict[str, str] = {}
    for parameter, argument in reversed(pairs):  # outputs first, as CuPy finds them
        if is_array(argument) and len(parameter.kind) == 1:
            letters.setdefault(parameter.kind, _c_type(argument.dtype.name))
    lines = [f"typedef {ctype} {letter};" for letter, ctype in letters.items()]
    for place, (parameter, argument) in enumerate(pairs):
        lines.append(_declared(parameter, argument, place, letters, shape))
    return f"{' '.join(lines)} {kernel.operation};"


def joined_kernel(launch: Launch) -> Elementwise:
    """Make the kernel that does launches like this one for several networks; see `element_text`."""
    operation = (
        "const gpubp::int64 joined_at = i;"
        " { const gpubp::int64 i = joined_at % joined_padded; if (i < joined_size) {"
        " const unsigned long long* joined_own ="
        f" &joined_places[joined_at / joined_padded * {len(launch.arguments)}];"
        f" {element_text(launch)} }} }}"
    )
    return Elementwise(
        f"{launch.kernel.name}_joined",
        "int64 joined_padded, int64 joined_size",
        "raw uint64 joined_places",
        operation,
    )


def _declared(
    parameter: Parameter, argument: Any, place: int, letters: dict[str, str], shape: tuple[int, ...]
) -> str:
    """Return the text by which an operation finds one of its parameters."""
    ctype = parameter.kind if parameter.kind in letters else _c_type(parameter.kind)
    name, unused = parameter.name, f"(void){parameter.name};"
    if not is_array(argument):
        return f"const {ctype} {name} = *(const {ctype}*)(joined_own + {place}); {unused}"
    const = "" if parameter.written else "const "
    pointer = f"({const}{ctype}*)joined_own[{place}]"
    if not argument.flags.c_contiguous:
        raise NotJoinable(f"{name} of a kernel does not lie row by row")
    if parameter.raw:
        return f"{const}{ctype}* {name} = {pointer}; {unused}"
    if argument.size != 1 and argument.shape != shape[len(shape) - argument.ndim :]:
        raise NotJoinable(f"{name} of a kernel is not the same for each row")
    element = "i" if argument.shape == shape else f"i % {argument.size}"
    return f"{const}{ctype}& {name} = ({pointer})[{element}]; {unused}"


def _c_type(dtype: str) -> str:
    if dtype not in C_TYPES:
        raise NotJoinable(f"kernels for several networks know no {dtype}")
    return C_TYPES[dtype]


def table_of(launches: Sequence[Launch]) -> np.ndarray[Any, Any]:
    """Return where the arrays of launches that are alike lie, and their numbers, 8 bytes each."""
    parameters = launches[0].kernel.parameters
    letters = {
        parameter.kind: argument.dtype.name
        for parameter, argument in zip(parameters, launches[0].arguments, strict=True)
        if is_array(argument)
    }
    rows = [
        [
            _bits(argument, letters.get(parameter.kind, parameter.kind))
            for parameter, argument in zip(parameters, launch.arguments, strict=True)
        ]
        for launch in launches
    ]
    return np.array(rows, np.uint64)


def _bits(argument: Any, dtype: str) -> int:
    """Return an address, or the 8 bytes that begin with a number of this dtype."""
    if is_array(argument):
        return int(argument.data.ptr)
    packed = np.array(argument).astype(dtype).tobytes()
    return int(struct.unpack("<Q", packed.ljust(8, b"\0"))[0])


class Joiner:
    """Makes of launches that are alike one call that does them all.

    Parameters
    ----------
    make : callable
        Makes a kernel to call of its text.
    cublas : Cublas
        Does products.
    workspace : callable
        Returns memory for products on the current stream.
    precision : Precision
        What products may be computed in.
    """

    def __init__(
        self,
        cupy: Any,
        make: Callable[[Elementwise], Any],
        cublas: Cublas,
        workspace: Callable[[], Array],
        precision: Precision,
    ) -> None:
        self._cupy, self._make, self._cublas = cupy, make, cublas
        self._workspace, self._tf32 = workspace, precision.tf32
        self._kernels: dict[Elementwise, Any] = {}

    def join(self, launches: Sequence[Noted]) -> Callable[[], object]:
        """Return the call; the launches are to be kept as long as it is.

        Raises
        ------
        NotJoinable
            When these cannot be done as one.
        """
        first = launches[0]
        if isinstance(first, Product):
            return self._products([one for one in launches if isinstance(one, Product)])
        return self._launches([one for one in launches if isinstance(one, Launch)])

    def _launches(self, launches: Sequence[Launch]) -> Callable[[], object]:
        text, size = joined_kernel(launches[0]), launches[0].size
        kernel = self._kernels.get(text)
        if kernel is None:
            kernel = self._kernels[text] = self._make(text)
        table = self._cupy.asarray(table_of(launches))
        padded = -(-size // LANES) * LANES  # no warp serves two members
        return partial(kernel, padded, size, table, size=padded * len(launches))

    def _products(self, products: Sequence[Product]) -> Callable[[], None]:
        first, wide = products[0], products[0].out.dtype == np.float64
        tf32 = self._tf32 and first.a.dtype == np.float32
        arrays = [array for one in products for array in (one.a, one.b, one.out)]
        aligned = min(map(alignment, arrays)) >= ALIGNMENT
        if first.a.dtype.itemsize < 4 and not aligned:
            raise NotJoinable("a product of 16 bits is not aligned")
        compute = "CUBLAS_COMPUTE_64F" if wide else "CUBLAS_COMPUTE_32F"
        compute += "_FAST_TF32" if tf32 and aligned else ""
        number = (ctypes.c_double if wide else ctypes.c_float)(first.scale)
        # by columns a matrix is its transpose, so out.T = b.T @ a.T is asked for
        named = [[getattr(one, name) for one in products] for name in ("b", "a", "out")]
        tables = [self._addresses(each) for each in named]
        kinds_of_operands = [(KINDS[each[0].dtype.name], _leading(each[0])) for each in named]
        rows, columns = first.out.shape
        ways = int(transposed(first.b)), int(transposed(first.a))
        shape = columns, rows, first.a.shape[1]

        def multiply() -> None:
            operands = [
                (table.data.ptr, *kind)
                for table, kind in zip(tables, kinds_of_operands, strict=True)
            ]
            memory = self._workspace()
            stream = self._cupy.cuda.get_current_stream().ptr
            self._cublas.use(stream, memory.data.ptr, memory.nbytes)
            self._cublas.multiply_all(
                ways, shape, number, operands, len(products), CONSTANTS[compute]
            )

        return multiply

    def _addresses(self, arrays: Sequence[Array]) -> Array:
        return self._cupy.asarray(np.array([one.data.ptr for one in arrays], np.uint64))


def _leading(array: Array) -> int:
    """Return how many numbers lie from one row to the next, or one column if transposed."""
    return int(array.shape[0] if transposed(array) else array.shape[1])
