"""Every kernel compiles for every supported GPU: as plain CUDA, and as CuPy itself would write it.

NVRTC needs no GPU and no driver; it comes with the wheels nvidia-cuda-nvrtc and cuda-bindings.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gpubp.backends.gpu.addresses import Addressed, by_address
from gpubp.backends.gpu.elementwise import Elementwise
from gpubp.backends.gpu.joining import joined_kernel
from gpubp.backends.gpu.kernel_table import ELEMENTWISE, FIRST_GATHER, GATHER, IN_PLACE, LOSS
from gpubp.backends.gpu.noting import Launch
from gpubp.backends.gpu.output_layer import output_kernel
from gpubp.backends.gpu.sources import preamble
from kernel_compilation import (
    C_TYPES,
    CompilationError,
    Parameter,
    Types,
    combinations,
    cuda_source,
    parse_parameters,
)
from nvrtc_compilation import ARCHITECTURES, compile_nvrtc, spills

pytest.importorskip("cuda.bindings.nvrtc", reason="needs the wheel cuda-bindings")
try:
    compile_nvrtc("", ARCHITECTURES[0])
except Exception as error:
    pytest.skip(f"NVRTC cannot be used: {error}", allow_module_level=True)

# What `CupyBackend` hands over as arrays; any other input that is not raw is a scalar.
ARRAYS = ("x", "y", "dy", "bias", "g", "scaled")
# Made when they are used: every loss and every slope once, with rows that weigh or not
OUTPUT_LAYERS = {
    *(output_kernel(name, False, False, "relu") for name in LOSS),
    *(output_kernel("class_cross_entropy", True, False, slope) for slope in IN_PLACE),
    output_kernel("huber", True, True, "relu"),
}
# Of data that lie where a table says
BY_ADDRESS = [
    by_address(kernel, tuple(Addressed(None, *one) for one in enumerate(dtypes)))[0]
    for kernel, *dtypes in (
        *((GATHER, dtype, "int64") for dtype in ("uint8", "float32", "float64", "int64")),
        *((FIRST_GATHER, dtype, "int64", "int64") for dtype in ("uint8", "float32", "float64")),
        (FIRST_GATHER, "float32", "float32", "int64"),
    )
]
KERNELS = (*ELEMENTWISE, *sorted(OUTPUT_LAYERS, key=repr), *BY_ADDRESS)
ELF = b"\x7fELF"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_compiles(architecture: str) -> None:
    """To machine code of every architecture, not much optimised: what CuPy writes is, below."""
    source = cuda_source(preamble(), KERNELS)
    assert compile_nvrtc(source, architecture, ["--Ofast-compile=max"]).startswith(ELF)


def test_no_kernel_spills_registers() -> None:
    """On one architecture, for time; all have the same number of registers."""
    bytes_spilled = spills(cuda_source(preamble(), KERNELS), "sm_90")
    assert len(bytes_spilled) >= len(KERNELS)
    assert not {name: count for name, count in bytes_spilled.items() if count}


def test_a_kernel_that_spills_is_seen() -> None:
    source = """extern "C" __global__ void many(const float* x, float* y) {
      float sums[64];
      for (int i = 0; i < 64; i++) sums[i] = x[i * threadIdx.x];
      __syncthreads();
      for (int i = 0; i < 64; i++) y[i * threadIdx.x] = sums[63 - i] * sums[i] + x[i];
    }"""
    assert spills(source, ARCHITECTURES[0])["many"] == 0
    assert spills(source, ARCHITECTURES[0], ["--maxrregcount=24"])["many"] > 0


def joined(kernel: Elementwise, types: Types) -> Elementwise:
    """Return the kernel for several networks whose arrays have these types."""

    def argument(parameter: Parameter) -> object:
        dtype = parameter.dtype or np.dtype(types[parameter.ctype])
        if not (parameter.raw or parameter.name in arrays or parameter.ctype in "SKX"):
            return dtype.type(1)
        array = np.zeros((4, 8), dtype)
        return SimpleNamespace(
            **{name: getattr(array, name) for name in ("dtype", "shape", "size", "ndim", "flags")},
            data=SimpleNamespace(ptr=256),
        )

    arrays = [*ARRAYS, *(parameter.name for parameter in parse_parameters(kernel.outputs))]
    given = (*parse_parameters(kernel.inputs), *parse_parameters(kernel.outputs))
    made = joined_kernel(Launch(kernel, tuple(map(argument, given)), 32))
    return replace(made, name=f"{made.name}_{'_'.join(types.values())}")


def test_every_kernel_for_several_networks_compiles() -> None:
    kernels = [
        joined(kernel, types)
        for kernel in ELEMENTWISE
        for types in combinations(kernel)
        if "float16" not in types.values()
    ]
    source = cuda_source(preamble(), kernels)
    assert source.count("joined_places[") == len(kernels) > len(ELEMENTWISE)
    assert compile_nvrtc(source, ARCHITECTURES[0], ["--Ofast-compile=max"]).startswith(ELF)


def test_compiling_writes_to_no_object_that_others_share() -> None:
    """Python keeps one bytes object for each single byte: an empty log must not end up in it."""
    compile_nvrtc("__global__ void nothing() {}", ARCHITECTURES[0])
    assert list(chr(32).encode()) == [32]


def test_a_wrong_operation_is_refused() -> None:
    wrong = Elementwise("gpubp_wrong", "T x", "T y", "y = gpubp::no_such_function(x)")
    with pytest.raises(CompilationError, match="no_such_function"):
        compile_nvrtc(cuda_source(preamble(), [wrong]), ARCHITECTURES[0])


def test_a_warning_is_an_error() -> None:
    wrong = Elementwise("gpubp_wrong", "T x", "T y", "int unused; y = x")
    with pytest.raises(CompilationError, match="unused"):
        compile_nvrtc(cuda_source(preamble(), [wrong]), ARCHITECTURES[0])


SETS = sorted({tuple(types.items()) for kernel in KERNELS for types in combinations(kernel)})


@pytest.mark.parametrize(
    ("architecture", "wide", "types"),
    [
        *((ARCHITECTURES[0], False, types) for types in SETS),
        *((ARCHITECTURES[-1], True, types) for types in SETS if "T" in dict(types)),
    ],
    ids=lambda value: "-".join(map("".join, value)) if isinstance(value, tuple) else str(value),
)
def test_every_kernel_compiles_as_cupy_writes_it(
    architecture: str, wide: bool, types: tuple[tuple[str, str], ...]
) -> None:
    options, chosen = _cupy_options(), dict(types)
    written = [kernel for kernel in KERNELS if chosen in combinations(kernel)]
    kernels = "".join(_cupy_elementwise(kernel, chosen, wide) for kernel in written)
    source = f"{_cupy_headers()}{_typedefs(chosen)}{preamble()}\n{kernels}"
    assert compile_nvrtc(source, architecture, options).startswith(ELF)


def _cupy_private(module: str, *names: str) -> list:
    """Get parts of CuPy's code generator, which are private and may go."""
    pytest.importorskip("cupy", reason="needs CuPy; a GPU is not needed")
    generator = pytest.importorskip(f"cupy._core.{module}")
    missing = [name for name in names if not hasattr(generator, name)]
    if missing:
        pytest.skip(f"this CuPy has no {', '.join(missing)}")
    return [getattr(generator, name) for name in names]


def _cupy_options() -> list[str]:
    cupy = pytest.importorskip("cupy", reason="needs CuPy; a GPU is not needed")

    headers = Path(cupy.__file__).parent / "_core" / "include"
    bundled = [headers / "cupy" / "_cccl" / part for part in ("cub", "thrust", "libcudacxx")]
    pathfinder = pytest.importorskip("cuda.pathfinder")
    toolkit = pathfinder.find_nvidia_header_directory("cudart")
    if toolkit is None:
        pytest.skip("needs CUDA's headers: the wheel nvidia-cuda-runtime")
    folders = [*bundled, headers, Path(toolkit)]
    return ["-ftz=true", "-DCUPY_JITIFY_MODE", *(f"-I{folder}" for folder in folders)]


def _cupy_headers() -> str:
    (headers,) = _cupy_private("core", "_cupy_header_list")
    return "".join(f"#include <{header}>\n" for header in headers)


def _typedefs(types: Types) -> str:
    ctypes = C_TYPES | {"float16": "float16"}
    return "".join(f"typedef {ctypes[name]} {letter};\n" for letter, name in types.items())


def _cupy_elementwise(kernel: Elementwise, types: Types, wide: bool) -> str:
    """Return CuPy's text of a kernel, without the preamble that all of them share."""
    info, type_map, code, parameters = _cupy_private(
        "_kernel", "_ArgInfo", "_TypeMap", "_get_elementwise_kernel_code", "ElementwiseKernel"
    )
    declared = parse_parameters(kernel.inputs) + parse_parameters(kernel.outputs)
    outputs = [p.name for p in parse_parameters(kernel.outputs)]
    arguments = [_argument(info, p, types, wide, p.name in outputs) for p in declared]
    arguments.append(_indexer(info, 1, wide))
    made = parameters(kernel.inputs, kernel.outputs, kernel.operation, kernel.name)
    chosen = tuple((letter, np.dtype(name)) for letter, name in types.items())
    return code(tuple(arguments), type_map(chosen), made.params, kernel.operation, kernel.name, "")


def _argument(
    info: type, parameter: Parameter, types: Types, wide: bool, is_output: bool
) -> object:
    import cupy

    dtype = parameter.dtype or np.dtype(types[parameter.ctype])
    if is_output or parameter.raw or parameter.name in ARRAYS:
        dimensions = 2 if parameter.raw else 1
        return info(1, cupy.ndarray, dtype, dimensions, True, not wide)
    return info(3, _scalar_type(), dtype, 0, True, True)


def _scalar_type() -> type:
    (scalar,) = _cupy_private("_scalar", "CScalar")
    return scalar


def _indexer(info: type, dimensions: int, wide: bool = False) -> object:
    (indexer,) = _cupy_private("_carray", "Indexer")
    return info(2, indexer, None, dimensions, True, not wide)
