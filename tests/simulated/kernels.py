"""ElementwiseKernel of the simulated CuPy.

It follows CuPy's rules for arguments (`cupy/_core/_kernel.pyx`, version 14) and runs the text it
was given, compiled by the host compiler. Stricter than CuPy in one thing: arrays that are not
C-contiguous are refused where CuPy would follow their strides, and where a
kernel that takes the address of a raw array's element would go wrong on a GPU.
"""

from __future__ import annotations

import ctypes
import math
import re
from typing import Any

import numpy as np

from gpubp.backends.gpu import addresses
from gpubp.backends.gpu.elementwise import Elementwise, Parameter
from kernel_compilation import (
    CompilationError,
    dtype_of,
    host_source,
    is_letter,
    load_host_library,
    symbol,
)
from simulated.array import ndarray
from simulated.memory import (
    NOWHERE,
    POISON,
    POOL,
    Addressed,
    Guarded,
    IllegalAddressError,
    Place,
    Reference,
)
from simulated.streams import launch

TABLE = "joined_places"  # the parameter that is a table of addresses


class Compiler:
    """Compiles on first use, all kernels made so far in one go."""

    def __init__(self) -> None:
        self._libraries: dict[tuple[str, Elementwise], ctypes.CDLL | None] = {}

    def register(self, preamble: str, kernel: Elementwise) -> None:
        """Remember a kernel for the next compilation."""
        self._libraries.setdefault((preamble, kernel), None)

    def function(self, preamble: str, kernel: Elementwise, types: dict[str, np.dtype]) -> Any:
        """Return the compiled function of a kernel."""
        if self._libraries[preamble, kernel] is None:
            waiting = [
                key
                for key, library in self._libraries.items()
                if library is None and key[0] == preamble
            ]
            try:
                self._compile(waiting)
            except CompilationError:
                self._compile([(preamble, kernel)])  # whose fault it was
        names = {letter: dtype.name for letter, dtype in types.items()}
        return getattr(self._libraries[preamble, kernel], symbol(kernel, names))

    def _compile(self, keys: list[tuple[str, Elementwise]]) -> None:
        kernels = sorted((kernel for _, kernel in keys), key=repr)
        library = load_host_library(host_source(keys[0][0], kernels))
        self._libraries.update(dict.fromkeys(keys, library))


COMPILER = Compiler()


class _SimulatedKernel:
    def __init__(self, kernel: Elementwise, preamble: str, launch_error: Exception | None) -> None:
        if not re.fullmatch(r"[a-zA-Z_]\w*", kernel.name):
            raise ValueError(f'Invalid kernel name: "{kernel.name}"')
        self._kernel = kernel
        self._preamble = preamble
        self._launch_error = launch_error
        self.name = kernel.name
        self._inputs = [each for each in kernel.parameters if not each.written]
        self._outputs = [each for each in kernel.parameters if each.written]
        COMPILER.register(preamble, kernel)

    def _split(self, args: tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
        inputs, all_ = len(self._inputs), len(self._inputs) + len(self._outputs)
        if len(args) not in (inputs, all_):
            raise TypeError(
                f"Wrong number of arguments for {self.name!r}. It must be either {inputs} or"
                f" {all_} (with outputs), but given {len(args)}."
            )
        for arg in args:
            if not isinstance(arg, ndarray | bool | int | float | complex | np.generic):
                raise TypeError(f"Unsupported type {type(arg)}")
        for out in args[inputs:]:
            if not isinstance(out, ndarray):
                raise TypeError("Output arguments type must be cupy.ndarray")
        return list(args[:inputs]), list(args[inputs:])

    def _types(self, inputs: list[Any], outputs: list[Any]) -> dict[str, np.dtype]:
        """Find the type parameters: outputs first, then arrays among the inputs."""
        found: dict[str, np.dtype] = {}
        arguments = [*zip(self._outputs, outputs, strict=False)]
        arguments += zip(self._inputs, inputs, strict=True)
        for parameter, argument in arguments:
            if isinstance(argument, ndarray):
                if is_letter(parameter):
                    found.setdefault(parameter.kind, argument.dtype)
                wanted = dtype_of(parameter, found)
                if wanted != argument.dtype:
                    raise TypeError(
                        f"Type is mismatched. {parameter.name} {argument.dtype} {wanted}"
                        f" {parameter.kind}"
                    )
        for parameter in (*self._inputs, *self._outputs):
            if is_letter(parameter) and parameter.kind not in found:
                raise KeyError(parameter.kind)
        return found

    def _launch(
        self,
        shape: tuple[int, ...],
        inputs: list[Any],
        outputs: list[np.ndarray],
        types: dict[str, np.dtype],
    ) -> None:
        if self._launch_error is not None:
            raise self._launch_error
        function = COMPILER.function(self._preamble, self._kernel, types)
        function.restype = None
        given = [
            Reference(value) if isinstance(value, np.ndarray) else _scalar(value, parameter, types)
            for parameter, value in zip(self._inputs, inputs, strict=True)
        ]
        written = [Reference(output) for output in outputs]
        arrays = [value for value in given if isinstance(value, Reference)]
        listed = [
            place
            for parameter, output in zip(self._outputs, outputs, strict=False)
            if parameter.name == TABLE
            for place in _listed(output)
        ]
        addressed = [
            Addressed(value)
            for parameter, value in zip(self._inputs, given, strict=True)
            if parameter.name == addresses.TABLE
        ]
        launch(
            self.name,
            lambda: self._run(function, shape, given, written, listed),
            [*(place for array in arrays for place in array.places), *addressed],
            [*(place for array in written for place in array.places), *listed],
        )

    def _run(
        self,
        function: Any,
        shape: tuple[int, ...],
        inputs: list[Any],
        outputs: list[Reference],
        listed: list[Place],
    ) -> None:
        """Call the compiled function, and find what it has written where it should not."""
        arguments: list[Any] = [ctypes.c_longlong(math.prod(shape))]
        alive = []  # raw pointers do not keep what they point to
        for parameter, value in zip(self._inputs, inputs, strict=True):
            is_array = isinstance(value, Reference)
            array = value.host() if is_array else value
            if is_array and not parameter.raw:  # broadcast now: a replay reads what is there then
                array = np.ascontiguousarray(np.broadcast_to(array, shape))
            alive.append(array)
            arguments.append(address_of(array))
            if not parameter.raw:
                arguments.append(ctypes.c_longlong(int(is_array)))
        arguments += [address_of(output.host()) for output in outputs]
        guarded = Guarded([*(place for output in outputs for place in output.places), *listed])
        function(*arguments)
        guarded.check(self.name)
        if not all(output.places for output in outputs) and bytes(NOWHERE).strip(POISON):
            ctypes.memset(NOWHERE, POISON[0], len(NOWHERE))
            raise IllegalAddressError(f"{self.name} wrote to an array of no elements, address 0")


def _listed(table: np.ndarray) -> list[Place]:
    """Return the memory of the arrays whose addresses a table holds among other numbers."""
    places = {int(value): POOL.block_of(int(value)) for value in table.ravel()}
    return [place for place in places.values() if place is not None]


def address_of(array: np.ndarray) -> ctypes.c_void_p:
    """Return where the host's function finds an array; a harmless place for address 0."""
    return ctypes.c_void_p(array.ctypes.data if array.size else ctypes.addressof(NOWHERE))


class ElementwiseKernel(_SimulatedKernel):
    """Takes what `cupy.ElementwiseKernel` takes of what gpubp uses."""

    def __init__(
        self,
        in_params: str,
        out_params: str,
        operation: str,
        name: str = "kernel",
        preamble: str = "",
        launch_error: Exception | None = None,
    ) -> None:
        kernel = Elementwise(name, in_params, out_params, operation)
        super().__init__(kernel, preamble, launch_error)
        if "i" in [parameter.name for parameter in (*self._inputs, *self._outputs)]:
            raise ValueError("Can not use 'i' as a parameter name")

    def __call__(self, *args: Any, size: int = -1) -> Any:
        inputs, outputs = self._split(args)
        shape = self._shape(inputs, outputs, size)
        types = self._types(inputs, outputs)
        outputs = self._checked_outputs(outputs, shape, types, size != -1)
        if 0 not in shape:
            hosts = [out._host for out in outputs]
            self._launch(
                shape,
                [
                    _placed(value, parameter, shape, hosts)
                    for value, parameter in zip(inputs, self._inputs, strict=True)
                ],
                [contiguous(host, self.name) for host in hosts],
                types,
            )
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _shape(self, inputs: list[Any], outputs: list[Any], size: int) -> tuple[int, ...]:
        arguments = zip((*self._inputs, *self._outputs), (*inputs, *outputs), strict=False)
        shapes = [a.shape for p, a in arguments if not p.raw and isinstance(a, ndarray)]
        if size != -1:
            if shapes:
                raise ValueError(
                    "Specified 'size' can be used only if all of the ndarray are 'raw'."
                )
            return (size,)
        if not shapes:
            raise ValueError("Loop size is undecided.")
        return np.broadcast_shapes(*shapes)

    def _checked_outputs(
        self,
        outputs: list[ndarray],
        shape: tuple[int, ...],
        types: dict[str, np.dtype],
        sized: bool,
    ) -> list[ndarray]:
        if not outputs:
            if not sized and any(parameter.raw for parameter in self._outputs):
                raise ValueError("Output array size is Undecided")
            return [ndarray(np.empty(shape, dtype_of(p, types))) for p in self._outputs]
        for parameter, out in zip(self._outputs, outputs, strict=True):
            if not parameter.raw and out.shape != shape:
                raise ValueError("Out shape is mismatched")
        return outputs


def _scalar(value: Any, parameter: Parameter, types: dict[str, np.dtype]) -> np.ndarray:
    """Convert a scalar to the parameter's type, whatever its own type was."""
    return np.array(value, dtype=dtype_of(parameter, types))


def _placed(
    value: Any, parameter: Parameter, shape: tuple[int, ...], outputs: list[np.ndarray]
) -> Any:
    if not isinstance(value, ndarray):
        if parameter.raw:
            raise TypeError(f"raw parameter {parameter.name} needs an array")
        return value
    host = value._host
    if parameter.raw or (host.shape == shape and host.flags.c_contiguous):
        return contiguous(host, parameter.name)
    if any(np.may_share_memory(host, out) for out in outputs):
        raise NotImplementedError(f"{parameter.name} overlaps an output and is broadcast")
    return host


def contiguous(host: np.ndarray, name: str) -> np.ndarray:
    if not host.flags.c_contiguous:
        raise NotImplementedError(f"{name}: an array is not C-contiguous")
    return host
