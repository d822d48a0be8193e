"""The simulated CuPy refuses what CuPy refuses; and the package asks for nothing CuPy lacks."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

import gpubp
import simulated.cupy
from kernel_compilation import CompilationError, ctype_of, host_compiler, is_letter

pytestmark = pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> simulated.cupy.SimulatedCupy:
    return simulated.cupy.install(monkeypatch)


@pytest.fixture
def scale(cupy):
    return cupy.ElementwiseKernel("T x, T factor", "T y", "y = x * factor", "scale")


@pytest.fixture
def double_raw(cupy):
    return cupy.ElementwiseKernel("raw T x", "raw T y", "y[i] = x[i] + x[i]", "double_raw")


def test_arrays_do_not_turn_into_numpy_arrays(cupy) -> None:
    array = cupy.arange(3)
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(array)
    with pytest.raises(TypeError, match="Unsupported type"):
        np.add(array, np.ones(3))
    assert isinstance(np.add(array, 1), cupy.ndarray)  # NumPy hands it to CuPy
    with pytest.raises(TypeError, match="Unsupported type"):
        array + np.ones(3)
    with pytest.raises(TypeError, match="Unsupported type"):
        np.ones(3) + array
    with pytest.raises(TypeError, match="Unsupported type"):
        cupy.add(array, np.ones(3))
    with pytest.raises((BufferError, RuntimeError)):
        np.from_dlpack(array)
    assert array.get().tolist() == [0, 1, 2]
    assert cupy.asnumpy(array + 1).tolist() == [1, 2, 3]


def test_reductions_give_arrays_not_scalars(cupy) -> None:
    total = cupy.ones(3).sum()
    assert isinstance(total, cupy.ndarray)
    assert total.shape == ()
    assert float(total) == 3


def test_elementwise_broadcasts_and_scalars_are_weak(cupy, scale) -> None:
    x = cupy.ones((2, 3), cupy.float32)
    y = scale(x, 2)
    assert y.dtype == np.float32
    assert y.get().tolist() == [[2, 2, 2], [2, 2, 2]]
    assert scale(x, cupy.asarray([1, 2, 3], cupy.float32)).get().tolist() == [[1, 2, 3]] * 2
    assert scale(x, np.float64(0.5)).dtype == np.float32
    assert scale(x, 3.0, x) is x
    assert x.get().tolist() == [[3, 3, 3], [3, 3, 3]]


def test_elementwise_refuses_what_cupy_refuses(cupy, scale, double_raw) -> None:
    x = cupy.ones((2, 3), cupy.float32)
    with pytest.raises(TypeError, match=r"Wrong number of arguments for 'scale'.*2 or 3"):
        scale(x)
    with pytest.raises(TypeError, match="Type is mismatched"):
        scale(x, cupy.ones(3, cupy.float64))
    with pytest.raises(TypeError, match="Type is mismatched"):
        scale(x, 2, cupy.ones((2, 3), cupy.float64))
    with pytest.raises(ValueError, match="Out shape is mismatched"):
        scale(x, 2, cupy.ones(3, cupy.float32))
    with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy.ndarray'>"):
        scale(x, np.ones(3, np.float32))
    with pytest.raises(TypeError, match="Output arguments type"):
        scale(x, 2, 3)
    with pytest.raises(ValueError, match="only if all of the ndarray are 'raw'"):
        scale(x, 2, x, size=6)
    with pytest.raises(ValueError, match="Loop size is undecided"):
        double_raw(x, x)
    with pytest.raises(ValueError, match="Can not use 'i'"):
        cupy.ElementwiseKernel("T i", "T y", "y = i", "wrong")
    with pytest.raises(ValueError, match="Invalid kernel name"):
        cupy.ElementwiseKernel("T x", "T y", "y = x", "not a name")


def test_types_that_are_fixed_must_match(cupy) -> None:
    kernel = cupy.ElementwiseKernel("int64 n", "T y", "y = T(n)", "convert")
    out = cupy.empty(2, cupy.float32)
    assert kernel(cupy.asarray([4, 5]), out).get().tolist() == [4, 5]
    assert kernel(7, out).get().tolist() == [7, 7]
    with pytest.raises(TypeError, match=r"Type is mismatched\. n int32 int64"):
        kernel(cupy.ones(2, cupy.int32), out)


def test_raw_parameters_need_a_size(cupy, double_raw) -> None:
    x = cupy.arange(4, dtype=cupy.float64)
    assert double_raw(x, x, size=3).get().tolist() == [0, 2, 4, 3]
    with pytest.raises(NotImplementedError, match="not C-contiguous"):
        double_raw(cupy.ones((2, 3)).T, x, size=3)


def test_kernels_run_the_text_they_were_given(cupy) -> None:
    """Kernels of one name and different text are different kernels."""
    x = cupy.asarray([3.0])
    first = cupy.ElementwiseKernel("T x", "T y", "y = x + 1", "same")
    second = cupy.ElementwiseKernel("T x", "T y", "y = f(x)", "same", preamble="#define f(x) -x\n")
    assert first(x).get().tolist() == [4]
    assert second(x).get().tolist() == [-3]


def test_a_text_that_does_not_compile_is_refused(cupy) -> None:
    wrong = cupy.ElementwiseKernel("T x", "T y", "y = no_such_function(x)", "wrong")
    right = cupy.ElementwiseKernel("T x", "T y", "y = x * x", "right")
    with pytest.raises(CompilationError, match="no_such_function"):
        wrong(cupy.ones(1))
    assert right(cupy.asarray([3.0])).get().tolist() == [9]


def test_dot_and_take_follow_cupy_on_out(cupy) -> None:
    a = cupy.ones((2, 3), cupy.float32)
    with pytest.raises(ValueError, match="Output array must be C-contiguous"):
        cupy.dot(a, a.T, out=cupy.empty((2, 2), cupy.float32)[:, ::-1])
    with pytest.raises(ValueError, match="Not supported dtype combination"):
        cupy.dot(a, a.T, out=cupy.empty((2, 2)))
    with pytest.raises(ValueError, match="Axis dimension mismatch"):
        cupy.dot(a, a, out=cupy.empty((2, 3), cupy.float32))
    with pytest.raises(TypeError, match="mode"):
        cupy.take(a, cupy.arange(1), axis=0, mode="clip")
    with pytest.raises(TypeError, match="Output dtype mismatch"):
        cupy.take(a, cupy.arange(1), axis=0, out=cupy.empty((1, 3)))


def test_parameters_are_parsed_as_cupy_parses_them() -> None:
    """Against CuPy's own parser, where CuPy is installed."""
    real = pytest.importorskip("cupy._core._kernel", reason="needs CuPy; a GPU is not needed")
    from gpubp.backends.gpu.kernel_table import ELEMENTWISE

    for kernel in ELEMENTWISE:
        theirs = real.ElementwiseKernel(kernel.inputs, kernel.outputs, "", kernel.name)
        for our, their in zip(kernel.parameters, theirs.params, strict=False):
            assert (our.name, ctype_of(our), our.raw) == (their.name, their.ctype, their.raw)
            assert their.dtype == (None if is_letter(our) else np.dtype(our.kind))


def test_cupy_has_every_function_the_package_asks_for() -> None:
    real = pytest.importorskip("cupy", reason="needs CuPy; a GPU is not needed")
    folder = Path(gpubp.__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    used = set(re.findall(r"\bxp\.([a-z_]\w*)", text)) | {"ElementwiseKernel"}
    assert {"dot", "empty", "cuda"} <= used
    importlib.import_module("cupy.cuda")
    assert {name for name in used if not hasattr(real, name)} == set()
