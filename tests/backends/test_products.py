"""Matrix products by the simulated cuBLASLt, and what is asked of the real one where it is."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import numpy as np
import pytest

import simulated.cublaslt
import simulated.cupy
from gpubp.backends import Scratch, get_backend
from gpubp.backends.gpu import cublas as _cublas
from gpubp.backends.gpu import cublaslt as _cublaslt
from gpubp.backends.gpu.products import SMALL_WORKSPACE, WORKSPACE, workspace_bytes
from gpubp.backends.precision import PRECISIONS
from gpubp.errors import BackendUnavailableError
from kernel_compilation import host_compiler
from simulated.ways import WAYS, taken

needs_compiler = pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)


@pytest.fixture
def library(monkeypatch):
    simulated.cupy.install(monkeypatch)
    return simulated.cublaslt.install(monkeypatch)


def stored(values, precision):
    """Return numbers as a precision stores them, and what they then are."""
    values = values.astype(np.float32) if precision.stored != np.float64 else values
    kept = np.empty(values.shape, precision.stored)
    simulated.cublaslt.store(values, kept)
    return kept, simulated.cublaslt.widened(kept).astype(np.float64)


@needs_compiler
@pytest.mark.parametrize("name", PRECISIONS)
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("scale", [1.0, 0.7])
def test_products(library, name, transposed, scale):
    precision = PRECISIONS[name]
    backend = get_backend("gpu").for_precision(precision)
    random = np.random.default_rng(0)
    shapes = [(5, 7), (7, 3)]
    arrays, exact = [], []
    for shape, turned in zip(shapes, transposed, strict=True):
        values, wide = stored(random.standard_normal(shape[::-1] if turned else shape), precision)
        array = backend.asarray(values)
        arrays.append(array.T if turned else array)
        exact.append(wide.T if turned else wide)
    out = backend.empty((5, 3), precision.dtype)
    backend.multiply(*arrays, out, scale)
    error = np.abs(backend.to_numpy(out) - scale * (exact[0] @ exact[1])).max()
    assert error < {"float64": 1e-14, "tf32": 5e-3}.get(name, 1e-5)
    assert (error > 1e-5) == (name == "tf32")


@needs_compiler
@pytest.mark.parametrize("name", ["relu", "identity", "tanh"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_every_way_to_do_a_layer_gives_the_same(library, monkeypatch, name, way, scale):
    """Forward and backward with separate kernels, by the products' own epilogues and by tiles."""
    backend = get_backend("gpu")
    monkeypatch.setattr(backend._tuner, "choose", lambda key, ways: taken(way, ways))
    scratch, random = Scratch(backend.xp), np.random.default_rng(0)
    x, weight, bias, dy = (
        random.standard_normal(shape).astype(np.float32) for shape in ((6, 5), (5, 4), (4,), (6, 4))
    )
    y = backend.empty((6, 4), np.dtype(np.float32))
    there = [backend.asarray(array) for array in (x, weight, bias)]
    biases = (there[2], there[2])
    backend.dense_forward(there[0], there[1], biases, name, y, y, scratch, scale)
    z = scale * (x.astype(np.float64) @ weight) + bias
    f = {"relu": np.maximum(z, 0), "identity": z, "tanh": np.tanh(z)}[name]
    np.testing.assert_allclose(backend.to_numpy(y), f, rtol=1e-5, atol=1e-6)
    delta = backend.asarray(dy)
    dweight, dbias = backend.xp.empty((5, 4), np.float32), backend.xp.empty(4, np.float32)
    backend.dense_backward(name, y, delta, there[0], dweight, dbias, scratch, scale)
    slope = {"relu": f > 0, "identity": 1, "tanh": 1 - f**2}[name]
    np.testing.assert_allclose(backend.to_numpy(delta), dy * slope, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(backend.to_numpy(dbias), (dy * slope).sum(0), rtol=1e-4, atol=1e-5)
    exact = scale * (x.T @ (dy * slope))
    np.testing.assert_allclose(backend.to_numpy(dweight), exact, rtol=1e-4, atol=1e-5)
    forward = {"relu": "RELU_BIAS", "identity": "BIAS", "tanh": "DEFAULT"}[name]
    used = {"apart": {"DEFAULT"}, "epilogues": {forward, "BGRADA"}, "tiles": {"BGRADA"}}[way]
    assert set(library.calls) == used


@needs_compiler
@pytest.mark.parametrize(("offset", "fused"), [(0, True), (2, False), (4, True)])
def test_a_bias_in_an_odd_place_is_left_to_the_kernels(library, monkeypatch, offset, fused):
    backend = get_backend("gpu")
    offered = []
    monkeypatch.setattr(
        backend._tuner, "choose", lambda key, ways: (offered.extend(ways), next(iter(ways)))[1]
    )
    buffer = backend.xp.zeros(20, np.float32)
    bias, dbias = buffer[offset : offset + 4], buffer[10 + offset : 14 + offset][:4]
    x, weight = backend.xp.ones((6, 5), np.float32), backend.xp.ones((5, 4), np.float32)
    y = backend.empty((6, 4), np.dtype(np.float32))
    scratch = Scratch(backend.xp)
    backend.dense_forward(x, weight, (bias, bias), "relu", y, y, scratch)
    assert any(way.startswith("RELU_BIAS") for way in offered) == fused
    offered.clear()
    backend.dense_backward("relu", y, y.copy(), x, weight.copy(), dbias, scratch)
    assert any(way.startswith("BGRADA") for way in offered) == (dbias.data.ptr % 16 == 0)


@needs_compiler
def test_without_cublaslt_products_are_left_to_cupy(monkeypatch):
    simulated.cupy.install(monkeypatch, cublaslt=False)
    backend = get_backend("gpu")
    (note,) = backend.notes
    assert "libcublasLt.so.13" in note
    a = backend.asarray(np.arange(6.0).reshape(2, 3))
    out = backend.xp.empty((2, 2))
    backend.multiply(a, a.T, out)
    assert backend.to_numpy(out).tolist() == [[5, 14], [14, 50]]
    with pytest.raises(BackendUnavailableError, match="precision 'bfloat16' needs cuBLASLt"):
        backend.for_precision(PRECISIONS["bfloat16"])


def test_a_failing_call_is_named(library):
    lt = _cublaslt.CublasLt(library)
    library.cublasLtMatmulDescCreate = simulated.cublaslt.Function(lambda *arguments: 7)
    with pytest.raises(_cublaslt.CublasLtError, match=r"MatmulDescCreate failed: invalid value"):
        lt.operation(68, 0, (False, False))


def test_workspace_grows_with_the_architecture():
    assert workspace_bytes(7) == workspace_bytes(8) == SMALL_WORKSPACE
    assert workspace_bytes(9) == workspace_bytes(12) == WORKSPACE[9]


def _headers() -> Path:
    pathfinder = pytest.importorskip("cuda.pathfinder", reason="needs cuda-pathfinder")
    folder = pathfinder.find_nvidia_header_directory("cublas")
    if folder is None:
        pytest.skip("needs cuBLAS's headers: the wheel nvidia-cublas, of 440 MB")
    return Path(folder)


def test_constants_are_those_of_the_header():
    folder = _headers()
    names = [folder / "cublasLt.h", folder / "cublas_api.h", folder / "library_types.h"]
    text = "".join(path.read_text() for path in names if path.exists())
    bits = re.findall(r"\b(CU\w+)\s*=\s*(\d+(?: \| \d+)*)\b", text)
    found = {name: sum(map(int, value.split(" | "))) for name, value in bits}
    shared = set(found) & set(_cublaslt.CONSTANTS)
    assert len(shared) >= 10
    assert {name: found[name] for name in shared} == {
        name: _cublaslt.CONSTANTS[name] for name in shared
    }


def test_prototypes_of_cublas_are_those_of_the_header():
    text = " ".join((_headers() / "cublas_api.h").read_text().split())
    real = _cublaslt.load_library("cublas")
    for name, given in _cublas._PROTOTYPES.items():
        declared = re.search(rf"\b{name}\(([^)]*)\);", text)
        assert declared is not None, name
        kinds = [
            ctypes.c_void_p
            if "*" in one or "[]" in one or "Handle_t" in one or "Stream_t" in one
            else ctypes.c_size_t
            if "size_t" in one
            else ctypes.c_int
            for one in declared[1].split(",")
        ]
        ours = [ctypes.c_void_p if one is ctypes.POINTER(ctypes.c_void_p) else one for one in given]
        assert ours == kinds, name
        assert hasattr(real, name)
    assert re.search(rf"CUBLAS_GEMM_DEFAULT = {_cublas.DEFAULT_ALGORITHM}\b", text)


def test_the_real_library_takes_our_descriptions(monkeypatch):
    """It describes products without a GPU, and checks the size of every attribute."""
    _headers()
    real = _cublaslt._load()

    class WithoutHandle(_cublaslt.CublasLt):
        def _call(self, name, *arguments):
            if name != "cublasLtCreate":  # which needs a GPU
                super()._call(name, *arguments)

    library = WithoutHandle(real)
    operation = library.operation(_cublaslt.CONSTANTS["CUBLAS_COMPUTE_32F"], 0, (True, False))
    library.describe(operation, "EPILOGUE", ctypes.c_int32(6))
    library.describe(operation, "BIAS_POINTER", ctypes.c_void_p(4096))
    assert library.layout(0, 10, 20, 10)
    assert library.preference(1 << 20, (4, 16, 256))
    with pytest.raises(_cublaslt.CublasLtError, match="invalid value"):
        library.describe(operation, "EPILOGUE", ctypes.c_int64(6))
