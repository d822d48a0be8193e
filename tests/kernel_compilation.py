"""Kernels of `gpubp.backends.gpu.kernel_table` as C++ and CUDA text, compiled without a GPU.

CuPy wraps the operation of a kernel into a loop and hands the text to NVRTC. Here the same
operation is wrapped into an equal loop for the host compiler, which runs it, and for NVRTC, which
shows that it compiles for every architecture (`nvrtc_compilation`). Both read `kernels/*.cuh` as
the preamble.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from gpubp.backends.gpu.addresses import TABLE
from gpubp.backends.gpu.elementwise import C_TYPES as ADDRESSED_C_TYPES
from gpubp.backends.gpu.elementwise import Elementwise, Parameter

C_TYPES = ADDRESSED_C_TYPES | {
    "float16": "_Float16",  # of the host compiler; CuPy has a class of its own
    "uint32": "unsigned int",
}
Types = dict[str, str]  # the dtype's name of each type parameter of a kernel
_ARITHMETIC = [
    {"T": computed, "S": stored, "K": kept}
    for computed, stored, kept in (
        ("float32", "float32", "float32"),
        ("float64", "float64", "float64"),
        ("float32", "float16", "float16"),
        ("float32", "float16", "float32"),
        ("float32", "uint16", "uint16"),  # bfloat16
        ("float32", "uint16", "float32"),
    )
]
_STORED = ("float16", "float32", "float64", "uint16")
_READING = [{"X": data, "S": stored} for data in ("uint8", *_STORED) for stored in _STORED]
_READING.append({"X": "int64", "S": "int64"})
_TARGETS = [
    {**types, "Y": expected}
    for types in _READING[:-1]
    for expected in ("int64", "float64" if types["S"] == "float64" else "float32")
]
HOST_FLAGS = ("-O2", "-std=c++14", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror")

_FLUSH = Path(__file__).parents[1].joinpath("kernels/host/flush_subnormals.h")
HOST_FLUSH = "#include <cstddef>\n" + _FLUSH.read_text(encoding="utf-8").replace("#pragma once", "")
_HOST_LOOP = (
    HOST_FLUSH,
    "",
    "gpubp::FlushSubnormals _flush;",  # of float32, as CuPy compiles with -ftz=true
    # last element first: an element that counted on another one's result would show
    "for (std::ptrdiff_t i = _size; i-- > 0;)",
)
_CUDA_LOOP = (
    "",
    "__global__ ",
    "",
    "for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < _size;"
    " i += (long long)gridDim.x * blockDim.x)",
)


class CompilationError(Exception):
    """A compiler refused the text or warned about it; holds what it said."""


def is_letter(parameter: Parameter) -> bool:
    """Tell whether a parameter's type is a letter, which stands for one type or another."""
    return len(parameter.kind) == 1


def dtype_of(parameter: Parameter, types: Mapping[str, Any]) -> np.dtype:
    """Return the dtype of a parameter, where letters stand for these."""
    return np.dtype(types[parameter.kind] if is_letter(parameter) else parameter.kind)


def ctype_of(parameter: Parameter) -> str:
    """Return what C++ calls a parameter's type: ``long long``, or the letter."""
    return parameter.kind if is_letter(parameter) else C_TYPES[np.dtype(parameter.kind).name]


def combinations(kernel: Elementwise) -> list[Types]:
    """Return what the type parameters of a kernel stand for, in every combination that is used."""
    letters = sorted({parameter.kind for parameter in kernel.parameters if is_letter(parameter)})
    if not set(letters) <= {"T", "S", "K", "X", "Y"}:
        return [dict.fromkeys(letters, dtype) for dtype in ("float32", "float64")]
    found: list[Types] = []
    reads = "X" in letters or TABLE in [parameter.name for parameter in kernel.parameters]
    reading = _TARGETS if "Y" in letters else _READING
    for types in reading if reads else _ARITHMETIC:
        wanted = {letter: types[letter] for letter in letters}
        if wanted not in found:
            found.append(wanted)
    return found


def symbol(kernel: Elementwise, types: Types) -> str:
    """Name the compiled function of a kernel for these types."""
    digest = hashlib.sha256(repr(kernel).encode()).hexdigest()[:8]
    return "_".join([kernel.name, digest, *(types[letter] for letter in sorted(types))])


def host_source(preamble: str, kernels: Iterable[Elementwise]) -> str:
    """Return one C++ translation unit with every kernel for every combination of types.

    A function takes the number of elements as ``long long``, then a pointer for each parameter
    and, for an input that is not raw, the step from one element to the next: 1, or 0 for a scalar.
    """
    return _source(preamble, kernels, combinations, *_HOST_LOOP)


def cuda_combinations(kernel: Elementwise) -> list[Types]:
    """Return the combinations without float16: that type comes with CuPy's headers."""
    return [types for types in combinations(kernel) if "float16" not in types.values()]


def cuda_source(
    preamble: str,
    kernels: Iterable[Elementwise],
    chosen: Callable[[Elementwise], list[Types]] = cuda_combinations,
) -> str:
    """Return the same functions as one CUDA translation unit of ``__global__`` functions."""
    return _source(preamble, kernels, chosen, *_CUDA_LOOP)


def _source(
    preamble: str,
    kernels: Iterable[Elementwise],
    chosen: Callable[[Elementwise], list[Types]],
    include: str,
    space: str,
    flush: str,
    loop: str,
) -> str:
    parts = [include, preamble]
    for kernel in kernels:
        for types in chosen(kernel):
            name = symbol(kernel, types)
            typedefs = "".join(f"typedef {C_TYPES[types[key]]} {key};\n" for key in types)
            parts.append(
                f"namespace {name}_namespace {{\n{typedefs}"
                f'extern "C" {space}void {name}({", ".join(_declarations(kernel))}) {{\n'
                f"  {flush if 'float32' in types.values() else ''}\n"
                f"  {loop} {{\n{_body(kernel)}  }}\n}}\n}}\n"
            )
    return "\n".join(parts)


def _declarations(kernel: Elementwise) -> list[str]:
    declared = ["long long _size"]
    for parameter in kernel.parameters:
        prefix = "" if parameter.raw else "_raw_"
        declared.append(f"{_pointed_to(parameter)}* {prefix}{parameter.name}")
        if not (parameter.raw or parameter.written):
            declared.append(f"long long _step_{parameter.name}")
    return declared


def _body(kernel: Elementwise) -> str:
    references = "".join(
        f"    {_pointed_to(p)}& {p.name} ="
        f" _raw_{p.name}[{'i' if p.written else f'i * _step_{p.name}'}];\n"
        for p in kernel.parameters
        if not p.raw
    )
    return f"{references}    {kernel.operation};\n"


def _pointed_to(parameter: Parameter) -> str:
    return f"{'' if parameter.written else 'const '}{ctype_of(parameter)}"


def host_compiler() -> str | None:
    """Return the path of a C++ compiler for this machine, or None."""
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    return next((path for path in map(shutil.which, filter(None, names)) if path), None)


@cache
def load_host_library(source: str) -> ctypes.CDLL:
    """Compile C++ text with the host compiler and load it; the library is kept between runs.

    Raises
    ------
    CompilationError
        When the compiler refuses the text or warns about it.
    """
    compiler = host_compiler()
    assert compiler is not None, "no host compiler"
    command = [compiler, *HOST_FLAGS]
    digest = hashlib.sha256("\0".join([*command, source]).encode()).hexdigest()[:24]
    user = getattr(os, "getuid", lambda: 0)()
    folder = Path(tempfile.gettempdir(), f"gpubp-host-kernels-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{digest}.so"
    with _one_at_a_time(folder / f"{digest}.lock"):
        if not library.exists():
            _compile(command, source, library)
    return ctypes.CDLL(str(library))


def load_host_header(code: str, header: str, *others: str) -> ctypes.CDLL:
    """Compile C++ text on a header of `kernels/host/`; others are those that this one includes.

    Raises
    ------
    CompilationError
        When the compiler refuses the text or warns about it.
    """
    folder = Path(str(files("gpubp.kernels") / "host"))
    content = b"".join((folder / name).read_bytes() for name in (header, *others))
    include = f'#include "{(folder / header).as_posix()}"\n'
    return load_host_library(f"{include}// {hashlib.sha256(content).hexdigest()}\n{code}")


def _one_at_a_time(lock: Path) -> AbstractContextManager[Any]:
    """Return the context in which one worker compiles and the others wait, where they can."""
    try:
        from filelock import FileLock
    except ImportError:  # both compile then, and the later one's library takes the other's place
        return nullcontext()
    return FileLock(lock)


def _compile(command: list[str], source: str, library: Path) -> None:
    """Compile the text into a library, which is there whole or not at all."""
    with tempfile.TemporaryDirectory(dir=library.parent) as own:
        text, built = Path(own, "kernels.cpp"), Path(own, "kernels.so")
        text.write_text(source, encoding="utf-8")
        done = subprocess.run(
            [*command, str(text), "-o", str(built)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CompilationError(done.stderr)
        built.replace(library)
