"""Kernels of `gpubp.backends.kernel_table` as C++ and CUDA text, compiled without a GPU.

CuPy wraps the operation of a kernel into a loop and hands the text to NVRTC. Here the same
operation is wrapped into an equal loop for the host compiler, which runs it, and for NVRTC, which
shows that it compiles for every architecture. Both read `kernels/*.cuh` as the preamble.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from gpubp.backends.kernel_table import Elementwise, Reduction

Kernel = Elementwise | Reduction

C_TYPES = {
    "float32": "float",
    "float64": "double",
    "int32": "int",
    "int64": "long long",
    "uint32": "unsigned int",
    "uint64": "unsigned long long",
}
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
HOST_FLAGS = ("-O2", "-std=c++14", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror")

_HOST_LOOP = (
    # last element first: an element that counted on another one's result would show
    "#include <cstddef>\n",
    "",
    "for (std::ptrdiff_t i = _size; i-- > 0;)",
)
_CUDA_LOOP = (
    "",
    "__global__ ",
    "for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < _size;"
    " i += (long long)gridDim.x * blockDim.x)",
)


class CompilationError(Exception):
    """A compiler refused the text or warned about it; holds what it said."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel, as CuPy's parameter strings declare it.

    Attributes
    ----------
    name : str
        Its name in the operation.
    dtype : numpy.dtype or None
        Its type where that is fixed; None for a type parameter.
    ctype : str
        What C++ calls its type: ``long long``, or the type parameter's letter.
    raw : bool
        Whether the operation indexes it itself.
    """

    name: str
    dtype: np.dtype | None
    ctype: str
    raw: bool


@cache
def parse_parameters(text: str) -> tuple[Parameter, ...]:
    """Parse one of CuPy's parameter strings, e.g. ``"raw T x, int64 rows"``."""
    return tuple(_parse_parameter(part.split()) for part in text.split(",") if part.strip())


def _parse_parameter(words: list[str]) -> Parameter:
    *keywords, kind, name = words
    if keywords not in ([], ["raw"]):
        raise ValueError(f"unknown keyword in parameter {' '.join(words)!r}")
    if len(kind) == 1:
        return Parameter(name, None, kind, bool(keywords))
    return Parameter(name, np.dtype(kind), C_TYPES[np.dtype(kind).name], bool(keywords))


def symbol(kernel: Kernel, ctype: str) -> str:
    """Name the compiled function of a kernel for ``T`` = `ctype`."""
    return f"{kernel.name}_{hashlib.sha256(repr(kernel).encode()).hexdigest()[:8]}_{ctype}"


def host_source(preamble: str, kernels: Iterable[Kernel]) -> str:
    """Return one C++ translation unit with every kernel for float and for double.

    A function takes the number of elements (or of results) as ``long long``, for a reduction also
    the number of elements a result, then a pointer for each parameter and, for an input that is
    not raw, the step from one element to the next: 1, or 0 for a scalar.
    """
    return _source(preamble, kernels, ("float", "double"), *_HOST_LOOP)


def cuda_source(preamble: str, kernels: Iterable[Kernel]) -> str:
    """Return the same functions as one CUDA translation unit of ``__global__`` functions."""
    return _source(preamble, kernels, ("float", "double"), *_CUDA_LOOP)


def _source(
    preamble: str,
    kernels: Iterable[Kernel],
    ctypes_: Sequence[str],
    include: str,
    space: str,
    loop: str,
) -> str:
    parts = [include, preamble]
    for kernel in kernels:
        for ctype in ctypes_:
            name = symbol(kernel, ctype)
            body = _elementwise_body if isinstance(kernel, Elementwise) else _reduction_body
            parts.append(
                f"namespace {name}_namespace {{\ntypedef {ctype} T;\n"
                f'extern "C" {space}void {name}({", ".join(_declarations(kernel))}) {{\n'
                f"  {loop} {{\n{body(kernel)}  }}\n}}\n}}\n"
            )
    return "\n".join(parts)


def _declarations(kernel: Kernel) -> list[str]:
    counts = ["long long _size"]
    if isinstance(kernel, Reduction):
        counts.append("long long _count")
    for parameter in parse_parameters(kernel.inputs):
        if parameter.raw:
            counts.append(f"const {parameter.ctype}* {parameter.name}")
        else:
            counts.append(f"const {parameter.ctype}* _raw_{parameter.name}")
            counts.append(f"long long _step_{parameter.name}")
    for parameter in parse_parameters(kernel.outputs):
        prefix = "" if parameter.raw else "_raw_"
        counts.append(f"{parameter.ctype}* {prefix}{parameter.name}")
    return counts


def _elementwise_body(kernel: Elementwise) -> str:
    inputs = "".join(
        f"    const {p.ctype}& {p.name} = _raw_{p.name}[i * _step_{p.name}];\n"
        for p in parse_parameters(kernel.inputs)
        if not p.raw
    )
    return f"{inputs}{_output_references(kernel)}    {kernel.operation};\n"


def _reduction_body(kernel: Reduction) -> str:
    kind = parse_parameters(kernel.outputs)[0].ctype
    inputs = "".join(
        f"      const {p.ctype} {p.name} = _raw_{p.name}[(_j * _size + i) * _step_{p.name}];\n"
        for p in parse_parameters(kernel.inputs)
    )
    return (
        f"    {kind} a = {kind}({kernel.identity});\n"
        f"    for (long long _j = 0; _j < _count; ++_j) {{\n{inputs}"
        f"      const {kind} b = static_cast<{kind}>({kernel.map});\n"
        f"      a = ({kernel.reduce});\n    }}\n"
        f"{_output_references(kernel)}    {kernel.post_map};\n"
    )


def _output_references(kernel: Kernel) -> str:
    return "".join(
        f"    {p.ctype}& {p.name} = _raw_{p.name}[i];\n"
        for p in parse_parameters(kernel.outputs)
        if not p.raw
    )


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
    if not library.exists():
        # a test run beside this one may be at the same: write elsewhere, then rename
        with tempfile.TemporaryDirectory(dir=folder) as own:
            text, built = Path(own, "kernels.cpp"), Path(own, "kernels.so")
            text.write_text(source, encoding="utf-8")
            done = subprocess.run(
                [*command, str(text), "-o", str(built)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise CompilationError(done.stderr)
            built.replace(library)
    return ctypes.CDLL(str(library))


def compile_nvrtc(source: str, architecture: str, options: Sequence[str] = ()) -> bytes:
    """Compile CUDA text with NVRTC and return the machine code for an architecture.

    Raises
    ------
    CompilationError
        When NVRTC refuses the text or warns about it.
    """
    from cuda.bindings import nvrtc

    program = _checked(nvrtc.nvrtcCreateProgram(source.encode(), b"kernels.cu", 0, [], []))
    arguments = [f"--gpu-architecture={architecture}", "--std=c++17", *options]
    (error,) = nvrtc.nvrtcCompileProgram(
        program, len(arguments), [argument.encode() for argument in arguments]
    )
    log = b" " * _checked(nvrtc.nvrtcGetProgramLogSize(program))
    nvrtc.nvrtcGetProgramLog(program, log)
    said = log.rstrip(b"\0 \n").decode()
    if error != nvrtc.nvrtcResult.NVRTC_SUCCESS or said:
        raise CompilationError(f"{architecture}: {said or error}")
    code = b" " * _checked(nvrtc.nvrtcGetCUBINSize(program))
    nvrtc.nvrtcGetCUBIN(program, code)
    nvrtc.nvrtcDestroyProgram(program)
    return code


def _checked(returned: tuple) -> object:
    error, value = returned
    if int(error):
        raise CompilationError(str(error))
    return value
