"""A simulated cuBLASLt: takes what the library takes, through the same ctypes calls, on the host.

Stricter than the library where that finds mistakes: a pointer that is less aligned than was said,
an attribute of the wrong size, operands whose layouts do not fit.
"""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from gpubp.backends.gpu import cublaslt as _cublaslt
from gpubp.backends.gpu import cupy_backend as _cupy
from gpubp.backends.gpu.cublaslt import CONSTANTS
from simulated.memory import POOL, Place
from simulated.streams import Stream, launch

VERSION = 130200
NOT_SUPPORTED = 15
REFUSALS = (NOT_SUPPORTED, 7, 0)  # how an epilogue is refused; 0: no algorithm is returned
BIAS_ALIGNMENT = 16  # bytes, of what an epilogue reads or writes
POISONED = 4096  # bytes of the workspace that each product fills with what is no number
SIZES = {  # bytes of each attribute, by CUDA's documentation
    "CUBLASLT_MATMUL_DESC_TRANSA": 4,
    "CUBLASLT_MATMUL_DESC_TRANSB": 4,
    "CUBLASLT_MATMUL_DESC_EPILOGUE": 4,
    "CUBLASLT_MATMUL_DESC_BIAS_POINTER": 8,
    "CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES": 8,
    **{f"CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_{operand}_BYTES": 4 for operand in "ABCD"},
}
DTYPES = {
    CONSTANTS["CUDA_R_16F"]: np.float16,
    CONSTANTS["CUDA_R_16BF"]: np.uint16,
    CONSTANTS["CUDA_R_32F"]: np.float32,
    CONSTANTS["CUDA_R_64F"]: np.float64,
}


@dataclass
class Operation:
    compute: int
    scale: int
    attributes: dict[str, int] = field(default_factory=dict)


@dataclass
class Layout:
    kind: int
    rows: int
    columns: int
    leading: int

    @property
    def bytes(self) -> int:
        """How long it is in memory."""
        return self.leading * self.columns * np.dtype(DTYPES[self.kind]).itemsize

    def view(self, address: int) -> np.ndarray:
        """Return the matrix at an address, as it is stored."""
        dtype = np.dtype(DTYPES[self.kind])
        memory = (ctypes.c_char * self.bytes).from_address(address)
        flat = np.frombuffer(memory, dtype)
        return flat.reshape(self.columns, self.leading)[:, : self.rows].T


class Function:
    """A function of the library, whose prototype can be set."""

    def __init__(self, function: Callable[..., int]) -> None:
        self._function = function
        self.argtypes: Any = None
        self.restype: Any = None

    def __call__(self, *arguments: Any) -> int:
        if self.argtypes is not None:
            assert len(arguments) == len(self.argtypes), "wrong number of arguments"
        return self._function(*arguments)


class Library:
    """The library's functions; descriptions are kept here and named by number.

    Parameters
    ----------
    refused : int
        In how many of 8 cases an epilogue is refused, chosen by shape, precision and `seed`.
    """

    def __init__(self, refused: int = 0, seed: int = 0) -> None:
        self._refused, self._seed = refused, seed
        self._things: list[Any] = [None]
        self.calls: list[str] = []  # epilogue of each product
        for name in dir(self):
            if name.startswith("_cublasLt"):
                setattr(self, name[1:], Function(getattr(self, name)))

    def _new(self, target: Any, thing: Any) -> int:
        self._things.append(thing)
        target._obj.value = len(self._things) - 1
        return 0

    def _of(self, pointer: Any) -> Any:
        return self._things[pointer.value]

    def _cublasLtGetVersion(self) -> int:  # noqa: N802
        return VERSION

    def _cublasLtCreate(self, handle: Any) -> int:  # noqa: N802
        return self._new(handle, "handle")

    def _cublasLtMatmulDescCreate(self, target: Any, compute: int, scale: int) -> int:  # noqa: N802
        return self._new(target, Operation(compute, scale))

    def _set(self, thing: Any, prefix: str, attribute: int, value: Any, size: int) -> int:
        names = [n for n, code in CONSTANTS.items() if n.startswith(prefix) and code == attribute]
        (name,) = names
        assert size == SIZES[name] == ctypes.sizeof(value._obj), f"{name} has {size} bytes"
        thing[name.removeprefix(prefix)] = value._obj.value
        return 0

    def _cublasLtMatmulDescSetAttribute(  # noqa: N802
        self, operation: Any, attribute: int, value: Any, size: int
    ) -> int:
        attributes = self._of(operation).attributes
        return self._set(attributes, "CUBLASLT_MATMUL_DESC_", attribute, value, size)

    def _cublasLtMatrixLayoutCreate(  # noqa: N802
        self, target: Any, kind: int, rows: int, columns: int, leading: int
    ) -> int:
        assert leading >= rows > 0, "an empty matrix"
        assert columns > 0, "an empty matrix"
        return self._new(target, Layout(kind, rows, columns, leading))

    def _cublasLtMatmulPreferenceCreate(self, target: Any) -> int:  # noqa: N802
        return self._new(target, {})

    def _cublasLtMatmulPreferenceSetAttribute(  # noqa: N802
        self, preference: Any, attribute: int, value: Any, size: int
    ) -> int:
        thing = self._of(preference)
        return self._set(thing, "CUBLASLT_MATMUL_PREF_", attribute, value, size)

    def _cublasLtMatmulAlgoGetHeuristic(  # noqa: N802
        self, handle: Any, operation: Any, *rest: Any
    ) -> int:
        a, b, c, d, preference, most, results, count = rest
        assert self._of(handle) == "handle"
        assert c is d
        described, layouts = self._of(operation), [self._of(layout) for layout in (a, b, d)]
        epilogue = described.attributes["EPILOGUE"]
        plain = epilogue == CONSTANTS["CUBLASLT_EPILOGUE_DEFAULT"]
        kinds = [layout.kind for layout in layouts]
        if kinds[0] != kinds[1]:
            return NOT_SUPPORTED
        allowed = self._of(preference)
        least = [allowed[f"MIN_ALIGNMENT_{operand}_BYTES"] for operand in "ABD"]
        assert all(least), "an alignment of 0 bytes"
        if not plain:
            refusal = self._refusal(described, layouts)
            if refusal is not None:
                return refusal
            least += [min(256, place & -place) for place in besides(described.attributes)]
        # two for any alignment, and one more that is offered where all is aligned to 16 bytes
        count._obj.value = min(most, 3 if min(least) >= 16 else 2)
        for place in range(count._obj.value):
            # an algorithm that asks for the alignment that was promised, and is bound to it
            results[place].algorithm.data[0] = place + 1
            results[place].algorithm.data[1 : 1 + len(least)] = least
            results[place].workspace = allowed["MAX_WORKSPACE_BYTES"]
        return 0

    def _refusal(self, described: Operation, layouts: list[Layout]) -> int | None:
        """Return the status with which an epilogue is refused; None where it is offered."""
        wide = layouts[2].kind == CONSTANTS["CUDA_R_64F"]
        if wide or not all(
            place and place % BIAS_ALIGNMENT == 0 for place in besides(described.attributes)
        ):
            return NOT_SUPPORTED
        key = f"{self._seed} {described.compute} {described.attributes['EPILOGUE']} {layouts}"
        chance = zlib.crc32(key.encode())
        return REFUSALS[chance // 8 % len(REFUSALS)] if chance % 8 < self._refused else None

    def _cublasLtMatmul(self, handle: Any, operation: Any, *rest: Any) -> int:  # noqa: N802
        alpha, a, layout_a, b, layout_b, beta, c, layout_c, d, layout_d = rest[:10]
        algorithm, workspace, size, stream = rest[10:]
        assert beta._obj.value == 0
        scale = alpha._obj.value  # the library reads it as it is called
        assert (c, self._of(layout_c)) == (d, self._of(layout_d))
        assert stream == Stream.stack[-1].ptr, "not the current stream"
        assert workspace
        assert size
        described = self._of(operation)
        attributes = dict(described.attributes)
        layouts = [self._of(layout) for layout in (layout_a, layout_b, layout_d)]
        reads = [POOL.place(a, layouts[0].bytes), POOL.place(b, layouts[1].bytes)]
        writes = [POOL.place(d, layouts[2].bytes), POOL.place(workspace, size)]
        aligned = [a, b, d]
        name = epilogue_name(attributes["EPILOGUE"])
        if name != "DEFAULT":
            aligned += besides(attributes)
        if "BIAS_POINTER" in needed(attributes):
            (writes if name == "BGRADA" else reads).append(_bias(name, attributes, layouts))
        for address, alignment in zip(aligned, algorithm._obj.data[1:6], strict=False):
            assert address % alignment == 0, f"{address} is not aligned to {alignment} bytes"
        tf32 = described.compute == CONSTANTS["CUBLAS_COMPUTE_32F_FAST_TF32"]

        def run() -> None:
            ctypes.memset(workspace, 0xFF, min(size, POISONED))
            self._multiply(name, attributes, layouts, (a, b, d), tf32, scale)

        launch(f"{name} {algorithm._obj.data[0]} {layouts}", run, reads, writes)
        return 0

    def _multiply(
        self,
        name: str,
        attributes: dict[str, int],
        layouts: list[Layout],
        places: Any,
        tf32: bool,
        scale: float,
    ) -> None:
        a, b, d = (layout.view(place) for layout, place in zip(layouts, places, strict=True))
        left = widened(a.T if attributes["TRANSA"] else a)
        right = widened(b.T if attributes["TRANSB"] else b)
        if tf32:
            left, right = rounded_to_tf32(left), rounded_to_tf32(right)
        result = left.dtype.type(scale) * (left @ right)
        self.calls.append(name)
        if name == "BGRADA":
            store(left.sum(axis=1), vector(attributes["BIAS_POINTER"], len(left), d.dtype))
        elif name != "DEFAULT":
            bias = widened(vector(attributes["BIAS_POINTER"], len(d), d.dtype))
            result = result + bias[:, None]
            result = np.maximum(result, 0) if name.startswith("RELU") else result
        store(result, d)


def needed(attributes: dict[str, int]) -> list[str]:
    """Return the attributes that point to what an epilogue reads or writes besides matrices."""
    name = epilogue_name(attributes["EPILOGUE"])
    return [] if name == "DEFAULT" else ["BIAS_POINTER"]


def besides(attributes: dict[str, int]) -> list[int]:
    """Return where what an epilogue reads or writes besides matrices lies."""
    return [attributes[name] for name in needed(attributes)]


@cache
def epilogue_name(code: int) -> str:
    """Name an epilogue as the header does, after EPILOGUE."""
    prefix = "CUBLASLT_EPILOGUE_"
    (name,) = [key for key, value in CONSTANTS.items() if key.startswith(prefix) and value == code]
    return name.removeprefix(prefix)


def _bias(name: str, attributes: dict[str, int], layouts: list[Layout]) -> Place:
    """Return the memory that an epilogue reads or writes."""
    a, _, d = layouts
    rows = (a.columns if attributes["TRANSA"] else a.rows) if name == "BGRADA" else d.rows
    return POOL.place(attributes["BIAS_POINTER"], rows * np.dtype(DTYPES[d.kind]).itemsize)


def vector(address: int, length: int, dtype: np.dtype) -> np.ndarray:
    """Return the vector at an address."""
    (code,) = [code for code, kind in DTYPES.items() if dtype == kind]
    return Layout(code, length, 1, length).view(address)[:, 0]


def widened(array: np.ndarray) -> np.ndarray:
    """Return what is computed with: float32 for the half formats."""
    if array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def store(result: np.ndarray, target: np.ndarray) -> None:
    """Write a result, rounded to what the target stores."""
    if target.dtype != np.uint16:
        with np.errstate(over="ignore"):
            target[...] = result
        return
    bits = np.ascontiguousarray(result, np.float32).view(np.uint32)
    target[...] = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16


def rounded_to_tf32(array: np.ndarray) -> np.ndarray:
    """Return float32 numbers with 10 bits after the point."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~np.uint32(0x1FFF)).view(np.float32)


def install(monkeypatch: Any, there: bool = True, refused: int = 0, seed: int = 0) -> Library:
    """Put the simulated library in the place of the real one until the test ends."""
    library = Library(refused, seed)

    def load() -> Any:
        if not there:
            raise OSError("libcublasLt.so.13: cannot open shared object file")
        return library

    monkeypatch.setattr(_cublaslt, "_load", load)
    # a cache of its own: the real library's is back when the test ends, with nothing of this one
    monkeypatch.setattr(_cupy, "cublaslt", cache(lambda index: _cublaslt.CublasLt()))
    return library
