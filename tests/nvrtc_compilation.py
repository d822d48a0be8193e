"""CUDA text compiled by NVRTC, which needs no GPU and no driver, only its wheels."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kernel_compilation import CompilationError

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")


def compile_nvrtc(source: str, architecture: str, options: Sequence[str] = ()) -> bytes:
    """Compile CUDA text with NVRTC and return the machine code for an architecture.

    Raises
    ------
    CompilationError
        When NVRTC refuses the text or warns about it.
    """
    from cuda.bindings import nvrtc

    program, said = _compiled(source, architecture, options)
    if said:
        raise CompilationError(f"{architecture}: {said}")
    code = bytearray(_checked(nvrtc.nvrtcGetCUBINSize(program)))
    nvrtc.nvrtcGetCUBIN(program, code)
    nvrtc.nvrtcDestroyProgram(program)
    return bytes(code)


def spills(source: str, architecture: str, options: Sequence[str] = ()) -> dict[str, int]:
    """Return for each kernel how many bytes it moves from registers to memory and back.

    A kernel that needs more registers than it can have keeps numbers in memory instead.

    Raises
    ------
    CompilationError
        When NVRTC refuses the text.
    """
    from cuda.bindings import nvrtc

    program, said = _compiled(source, architecture, [*options, "--ptxas-options=-v"])
    nvrtc.nvrtcDestroyProgram(program)
    properties = re.compile(
        r"Function properties for (\w+)\n.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
    )
    return {name: int(stores) + int(loads) for name, stores, loads in properties.findall(said)}


def _compiled(source: str, architecture: str, options: Sequence[str]) -> tuple[object, str]:
    """Compile, and return the program and what NVRTC said."""
    from cuda.bindings import nvrtc

    program = _checked(nvrtc.nvrtcCreateProgram(source.encode(), b"kernels.cu", 0, [], []))
    arguments = [f"--gpu-architecture={architecture}", "--std=c++17", *options]
    (error,) = nvrtc.nvrtcCompileProgram(
        program, len(arguments), [argument.encode() for argument in arguments]
    )
    log = bytearray(_checked(nvrtc.nvrtcGetProgramLogSize(program)))
    nvrtc.nvrtcGetProgramLog(program, log)
    said = log.rstrip(b"\0 \n").decode()
    if error != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise CompilationError(f"{architecture}: {said or error}")
    return program, said


def _checked(returned: tuple) -> object:
    error, value = returned
    if int(error):
        raise CompilationError(str(error))
    return value
