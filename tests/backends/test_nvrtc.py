"""Every kernel compiles for every supported GPU: as plain CUDA, and as CuPy itself would write it.

NVRTC needs no GPU and no driver; it comes with the wheels nvidia-cuda-nvrtc and cuda-bindings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gpubp.backends.gpu.addresses import Addressed, by_address
from gpubp.backends.gpu.block_kernel import SHARED, BlockKernel
from gpubp.backends.gpu.elementwise import BLOCK_HEADERS, C_TYPES, Elementwise, Parameter
from gpubp.backends.gpu.joining import joined_kernel
from gpubp.backends.gpu.kernel_table import (
    ELEMENTWISE,
    FIRST_GATHER,
    FIRST_GATHER_FOURS,
    GATHER,
    IN_PLACE,
)
from gpubp.backends.gpu.loss_kernels import LOSS
from gpubp.backends.gpu.noting import Launch
from gpubp.backends.gpu.output_layer import output_kernel
from gpubp.backends.gpu.sources import preamble
from gpubp.backends.gpu.tiled_gradients import ACROSS, Aligned, gradients_kernel
from gpubp.backends.gpu.tiles import ALONG, Forms, forward_kernel, slope_kernel
from kernel_compilation import (
    CompilationError,
    Types,
    combinations,
    cuda_combinations,
    cuda_source,
    dtype_of,
    symbol,
)
from nvrtc_compilation import ARCHITECTURES, compile_nvrtc, spills

pytest.importorskip("cuda.bindings.nvrtc", reason="needs the wheel cuda-bindings")
try:
    compile_nvrtc("", ARCHITECTURES[0])
except Exception as error:
    pytest.skip(f"NVRTC cannot be used: {error}", allow_module_level=True)

# What `CupyBackend` hands over as arrays; any other input that is not raw is a scalar.
ARRAYS = ("x", "y", "dy", "bias", "g", "scaled")
F32 = ("float32", "float32")
# Made when they are used: every loss and every slope once, with rows that weigh or not
OUTPUT_LAYERS = [
    *(output_kernel(name, False, False, "relu", F32, (1, 512, 10), True) for name in LOSS),
    *(
        output_kernel("class_cross_entropy", True, False, slope, dtypes, (4, 30, 3), False)
        for slope in IN_PLACE
        for dtypes in (F32, ("float32", "uint16"), ("float64", "float64"))
    ),
    output_kernel("huber", True, True, "relu", ("float32", "uint16"), (8, 512, 10), True),
]
ALL, NONE = (True, True, True), (False, False, False)


def tiled_kernels(aligned: bool) -> list[BlockKernel]:
    """Return kernels of every tiling, of arrays that can be read by fours or not."""
    found = []
    for dtype, tilings in ALONG.items():
        kind = C_TYPES[dtype]
        for _, tiling in tilings:
            forward, down = (Forms(True, aligned, down, aligned, aligned) for down in (False, True))
            found.append(forward_kernel("relu", tiling, (kind, kind, kind), forward))
            found.append(slope_kernel("gelu", tiling, kind, down))
        for _, tiling in ACROSS:
            forms = (Aligned(*ALL),) * 2 if aligned else (Aligned(*ALL), Aligned(*NONE))
            found.append(gradients_kernel(tiling, kind, forms))
    return found


def block_source(kernels: Sequence[BlockKernel]) -> str:
    """Return one text of them all, each with a name of its own."""
    named = [replace(one, name=f"{one.name}_{place}") for place, one in enumerate(kernels)]
    return preamble(BLOCK_HEADERS) + SHARED + "".join(one.text for one in named)


# Of data that lie where a table says
BY_ADDRESS = [
    by_address(kernel, tuple(Addressed(None, *one) for one in enumerate(dtypes)))[0]
    for kernel, *dtypes in (
        *((GATHER, dtype, "int64") for dtype in ("uint8", "float32", "float64", "int64")),
        *((FIRST_GATHER, dtype, "int64", "int64") for dtype in ("uint8", "float32", "float64")),
        (FIRST_GATHER, "float32", "float32", "int64"),
        *(
            (FIRST_GATHER_FOURS, dtype, "int64", "int64")
            for dtype in ("uint8", "float32", "float64")
        ),
    )
]
KERNELS = (*ELEMENTWISE, *BY_ADDRESS)
ELF = b"\x7fELF"
FAST = ["--Ofast-compile=max"]  # of the compiler, not of what it makes


def share_of_types(kernel: Elementwise, architecture: str) -> list[Types]:
    """Return the combinations that an architecture compiles: one or more, and others each."""
    every, place = cuda_combinations(kernel), ARCHITECTURES.index(architecture)
    return every[place % len(every) :: len(ARCHITECTURES)]


def test_no_combination_of_types_is_left_out() -> None:
    for kernel in KERNELS:
        shares = [share_of_types(kernel, architecture) for architecture in ARCHITECTURES]
        assert min(map(len, shares)) > 0
        compiled = [types for share in shares for types in share]
        assert all(types in compiled for types in cuda_combinations(kernel))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_compiles(architecture: str) -> None:
    """To machine code of every architecture, not much optimised: for the next test it is."""
    source = cuda_source(preamble(), KERNELS, lambda each: share_of_types(each, architecture))
    assert compile_nvrtc(source, architecture, FAST).startswith(ELF)


def widest(kernel: Elementwise) -> list[Types]:
    """Return the combinations whose numbers take two registers each, where there are any."""
    every = cuda_combinations(kernel)
    return [types for types in every if "float64" in types.values()] or every


def test_no_kernel_spills_registers() -> None:
    """On one architecture, for time; all have the same number of registers."""
    bytes_spilled = spills(cuda_source(preamble(), KERNELS, widest), "sm_90")
    assert len(bytes_spilled) >= len(KERNELS)
    assert not {name: count for name, count in bytes_spilled.items() if count}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_of_blocks_compiles(architecture: str) -> None:
    """Those of matrix units too, which the oldest architecture does without."""
    kernels = [*OUTPUT_LAYERS, *tiled_kernels(True), *tiled_kernels(False)]
    share = kernels[ARCHITECTURES.index(architecture) % 3 :: 3]
    assert compile_nvrtc(block_source(share), architecture, FAST).startswith(ELF)


def test_no_kernel_of_blocks_spills_registers() -> None:
    """Of arrays that can be read by fours; others may keep a few numbers elsewhere."""
    kernels = [*OUTPUT_LAYERS[-1:], *tiled_kernels(True)]
    bytes_spilled = spills(block_source(kernels), "sm_90", ["-ftz=true"])
    assert len(bytes_spilled) == len(kernels)
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
        dtype = dtype_of(parameter, types)
        array_like = parameter.raw or parameter.written or parameter.name in ARRAYS
        if not (array_like or parameter.kind in "SKX"):
            return dtype.type(1)
        array = np.zeros((4, 8), dtype)
        return SimpleNamespace(
            **{name: getattr(array, name) for name in ("dtype", "shape", "size", "ndim", "flags")},
            data=SimpleNamespace(ptr=256),
        )

    made = joined_kernel(Launch(kernel, tuple(map(argument, kernel.parameters)), 32))
    return replace(made, name=f"{made.name}_{'_'.join(types.values())}")


def test_every_kernel_for_several_networks_compiles() -> None:
    kernels = [
        joined(kernel, types) for kernel in ELEMENTWISE for types in cuda_combinations(kernel)
    ]
    source = cuda_source(preamble(), kernels)
    assert source.count("joined_places[") == len(kernels) > len(ELEMENTWISE)
    assert compile_nvrtc(source, ARCHITECTURES[0], FAST).startswith(ELF)


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


@pytest.mark.parametrize(
    ("architecture", "wide"), [(ARCHITECTURES[0], False), (ARCHITECTURES[-1], True)]
)
def test_every_kernel_compiles_as_cupy_writes_it(architecture: str, wide: bool) -> None:
    """All in one text, as CuPy's headers are long; wide indices care for no types."""
    options = _cupy_options()
    written = [
        _cupy_elementwise(kernel, types, wide)
        for kernel in KERNELS
        for types in combinations(kernel)[-1 if wide else 0 :]
    ]
    # CuPy's letters stand before the preamble, which therefore must not mind them
    letters = "".join(f"typedef float {letter};\n" for letter in "TSKXY")
    source = "\n".join([_cupy_headers(), letters, preamble(), *written])
    assert compile_nvrtc(source, architecture, [*options, *FAST]).startswith(ELF)


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
    # the last one stands in a kernel's text where it is needed, which must not be in a namespace
    return "".join(f"#include <{header}>\n" for header in [*headers, "cupy/float16.cuh"])


def _cupy_elementwise(kernel: Elementwise, types: Types, wide: bool) -> str:
    """Return CuPy's text of a kernel, without the preamble that all of them share."""
    info, type_map, code, parameters = _cupy_private(
        "_kernel", "_ArgInfo", "_TypeMap", "_get_elementwise_kernel_code", "ElementwiseKernel"
    )
    arguments = [_argument(info, each, types, wide) for each in kernel.parameters]
    arguments.append(_indexer(info, 1, wide))
    made = parameters(kernel.inputs, kernel.outputs, kernel.operation, kernel.name)
    chosen = tuple((letter, np.dtype(name)) for letter, name in types.items())
    name = symbol(kernel, types)
    text = code(tuple(arguments), type_map(chosen), made.params, kernel.operation, name, "")
    return f"namespace {name}_namespace {{\n{text}\n}}"


def _argument(info: type, parameter: Parameter, types: Types, wide: bool) -> object:
    import cupy

    dtype = dtype_of(parameter, types)
    if parameter.written or parameter.raw or parameter.name in ARRAYS:
        dimensions = 2 if parameter.raw else 1
        return info(1, cupy.ndarray, dtype, dimensions, True, not wide)
    return info(3, _scalar_type(), dtype, 0, True, True)


def _scalar_type() -> type:
    (scalar,) = _cupy_private("_scalar", "CScalar")
    return scalar


def _indexer(info: type, dimensions: int, wide: bool = False) -> object:
    (indexer,) = _cupy_private("_carray", "Indexer")
    return info(2, indexer, None, dimensions, True, not wide)
