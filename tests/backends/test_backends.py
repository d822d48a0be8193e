"""Every method of a backend on every backend, and the choice between them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import gpubp
import simulated.cupy
from conftest import compiled
from gpubp.backends import Backend, Scratch, available_backends, get_backend
from gpubp.backends.gpu.elementwise import CHUNK_ROWS
from gpubp.backends.interchange import give_back, on_gpu, take_in
from gpubp.errors import BackendUnavailableError, DataError, DeviceError, UnknownNameError
from kernel_compilation import host_compiler

needs_compiler = pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)


def test_backend_keeps_the_protocol(backend: Backend) -> None:
    assert isinstance(backend, Backend)
    assert backend.name in ("cpu", "gpu")
    assert backend.device
    assert backend.reason
    assert get_backend(backend) is backend
    backend.synchronize()


@pytest.mark.parametrize("order", ["C", "F"])
def test_asarray_and_back(backend: Backend, dtype: np.dtype, order: str) -> None:
    host = np.arange(12, dtype=np.float32).reshape(3, 4, order=order)
    array = backend.asarray(host, dtype)
    assert isinstance(array, backend.xp.ndarray)
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert backend.asarray(array, dtype) is array
    result = backend.to_numpy(array)
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, host)


def test_asarray_takes_lists_and_scalars(backend: Backend) -> None:
    assert backend.to_numpy(backend.asarray([[1, 2]], np.float64)).tolist() == [[1.0, 2.0]]
    assert backend.to_numpy(backend.asarray([1, 2])).dtype == np.int64


def test_gather(backend: Backend, scratch: Scratch, dtype: np.dtype) -> None:
    host = np.random.default_rng(0).standard_normal((50, 3)).astype(dtype)
    rows = np.random.default_rng(1).permutation(50)[:20]
    out = backend.xp.empty((20, 3), dtype)
    backend.gather(backend.asarray(host), backend.asarray(rows), out, 1.0, scratch)
    np.testing.assert_array_equal(backend.to_numpy(out), host[rows])


def test_gather_of_classes(backend: Backend, scratch: Scratch) -> None:
    host = np.arange(10, 20)
    out = backend.xp.empty(3, np.int64)
    backend.gather(backend.asarray(host), backend.asarray(np.array([2, 0, 9])), out, 1.0, scratch)
    assert backend.to_numpy(out).tolist() == [12, 10, 19]


def test_no_rows_give_no_error(backend: Backend, scratch: Scratch, dtype: np.dtype) -> None:
    z = backend.xp.empty((0, 3), dtype)
    backend.activate("tanh", z, backend.xp.zeros(3, dtype), z, scratch)
    dbias = backend.xp.ones(3, dtype)
    backend.activate_backward("tanh", z, z, z, dbias, scratch)
    assert backend.to_numpy(dbias).tolist() == [0, 0, 0]


@pytest.mark.parametrize("rows", [1, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 1000])
def test_two_runs_give_the_same_bits(backend: Backend, scratch: Scratch, rows: int) -> None:
    rng = np.random.default_rng(2)
    kept = backend.asarray(rng.random((rows, 9), dtype=np.float32))
    dy = backend.asarray(rng.standard_normal((rows, 9)).astype(np.float32))
    results = []
    for _ in range(2):
        dz, dbias = backend.xp.empty_like(dy), backend.xp.empty(9, np.float32)
        backend.activate_backward("sigmoid", kept, dy, dz, dbias, scratch)
        results.append(backend.to_numpy(dbias).tobytes())
    assert results[0] == results[1]


def test_a_network_learns(backend: Backend) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((256, 4)).astype(np.float32)
    classes = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    net = gpubp.Network([4, 32, 2], "tanh", backend=backend, dropout=0.05, seed=1)
    history = net.fit(x, classes, optimizer=gpubp.Adam(0.02), epochs=30, batch_size=32)
    assert history.loss[-1] < 0.3 < history.loss[0]
    assert type(net.predict(x)) is np.ndarray


@needs_compiler
def test_training_is_the_same_on_the_simulated_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Same initial weights, same batches, same dropout: losses differ by rounding alone."""
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((100, 5)), rng.standard_normal((100, 2))
    simulated.cupy.install(monkeypatch)
    losses = []
    for name in ("cpu", "gpu"):
        net = gpubp.Network(
            [5, 16, 2], "gelu", output="identity", backend=name, dtype="float64", dropout=0.2
        )
        losses.append(net.fit(x, y, epochs=5, batch_size=32).loss)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)


def test_scratch_is_kept(backend: Backend, scratch: Scratch) -> None:
    first = scratch("a", (2, 3), np.dtype(np.float32))
    assert first.shape == (2, 3)
    assert scratch("a", (2, 3), np.dtype(np.float32)) is first
    assert scratch("a", (2, 3), np.dtype(np.float64)) is not first
    assert backend.to_numpy(scratch.arange(4)).tolist() == [0, 1, 2, 3]
    assert scratch.arange(4) is scratch.arange(4)


def test_own_arrays_in_and_out(backend: Backend) -> None:
    array = backend.asarray(np.ones((2, 2), np.float32))
    assert on_gpu(array) == (backend.name == "gpu")
    assert take_in(array, backend, "x") is array
    back = give_back(array, backend, like=array)
    assert isinstance(back, backend.xp.ndarray)
    assert type(give_back(array, backend, like=np.ones(1))) is np.ndarray


def test_host_arrays_are_taken_in(backend: Backend) -> None:
    taken = take_in([[1, 2], [3, 4]], backend, "x")
    assert isinstance(taken, backend.xp.ndarray)
    with pytest.raises(DataError, match=r"^x has dtype"):
        take_in(np.array(["a"]), backend, "x")


@needs_compiler
def test_gpu_arrays_are_refused_by_a_cpu_network(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = simulated.cupy.install(monkeypatch)
    with pytest.raises(DeviceError, match="x lies on a GPU and the network on the CPU"):
        take_in(cupy.ones((2, 2)), get_backend("cpu"), "x")


@needs_compiler
def test_a_gpu_is_chosen_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything a network has lies on its own device, and the current one stays as it was."""
    cupy = simulated.cupy.install(monkeypatch, count=2)
    net = gpubp.Network([3, 4, 2], output="softmax", backend="gpu:1")
    net.fit(np.ones((20, 3)), np.zeros(20, int), epochs=3, batch_size=5)
    buffers = net.stack.buffers(5)
    arrays = (
        net.parameters,
        net.gradients,
        *net._state.arrays,
        *(each.y for each in buffers.layers),
    )
    assert {array.device.id for array in arrays} == {1}
    assert net.backend.index == 1
    assert cupy.cuda.Device().id == 0
    assert net.copy().parameters.device.id == 1
    assert net.to("gpu:0").parameters.device.id == 0
    assert type(net.predict(np.ones((2, 3)))) is np.ndarray
    with pytest.raises(BackendUnavailableError, match="GPU 2 was asked for and there are 2: a num"):
        get_backend("gpu:2")
    with pytest.raises(UnknownNameError, match="unknown backend 'gpu:x'"):
        get_backend("gpu:x")
    monkeypatch.setenv("GPUBP_BACKEND", "gpu:1")
    assert get_backend("auto").index == 1
    assert get_backend("auto").reason == "GPUBP_BACKEND=gpu:1; a GPU works"


@needs_compiler
def test_auto_takes_a_gpu_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPUBP_BACKEND", raising=False)
    simulated.cupy.install(monkeypatch)
    backend = get_backend("auto")
    assert (backend.name, backend.device) == ("gpu", simulated.cupy.DEVICE)
    assert available_backends() == {"cpu": "", "gpu": ""}
    monkeypatch.setenv("GPUBP_BACKEND", "cpu")
    assert get_backend("auto").name == "cpu"
    assert get_backend("auto").reason == "GPUBP_BACKEND=cpu"


@pytest.mark.parametrize(
    ("failures", "message"),
    [
        ({"devices": simulated.cupy.NO_DRIVER}, "no NVIDIA driver.*install a driver"),
        ({"devices": simulated.cupy.NO_DEVICE}, "no NVIDIA GPU is visible"),
        ({"devices": "cudaErrorUnknown: unknown error"}, "driver does not answer.*nvidia-smi"),
        ({"count": 0}, "no NVIDIA GPU is visible.*CUDA_VISIBLE_DEVICES"),
        ({"memory": False}, "the memory of Simulated GPU is exhausted"),
        (
            {"launch": ImportError("libnvrtc.so.13: cannot open shared object file")},
            r"a CUDA library was not found.*libnvrtc.*\[ctk\]",
        ),
        (
            {"launch": RuntimeError("Failed to find CUDA headers. Please install CUDA toolkit")},
            "Please install CUDA toolkit",
        ),
    ],
)
def test_a_gpu_that_cannot_work_is_named_with_the_fix(
    monkeypatch: pytest.MonkeyPatch, failures: dict, message: str
) -> None:
    monkeypatch.delenv("GPUBP_BACKEND", raising=False)
    simulated.cupy.install(monkeypatch, **failures)
    _assert_unavailable(message)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("No module named 'cupy'", name="cupy"), "CuPy is not installed: pip"),
        (ImportError("libcudart.so.13: cannot open shared object file"), r"libcudart.*\[ctk\]"),
    ],
)
def test_cupy_that_cannot_be_imported_is_named_with_the_fix(
    monkeypatch: pytest.MonkeyPatch, error: ImportError, message: str
) -> None:
    monkeypatch.delenv("GPUBP_BACKEND", raising=False)
    simulated.cupy.install_import_error(monkeypatch, error)
    _assert_unavailable(message)


@pytest.mark.parametrize("folder", ["cupy", "cupy/cuda"])
def test_a_folder_called_cupy_beside_a_script_is_no_cupy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    monkeypatch.delenv("GPUBP_BACKEND", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "cupy"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    try:
        _assert_unavailable("CuPy is not installed: pip")
    finally:
        sys.modules.pop("cupy", None)
        sys.modules.pop("cupy.cuda", None)


def _assert_unavailable(message: str) -> None:
    with pytest.raises(BackendUnavailableError, match=message) as caught:
        get_backend("gpu")
    assert "\n" not in str(caught.value)
    automatic = get_backend("auto")
    assert automatic.name == "cpu"
    assert automatic.reason == f"no GPU: {caught.value}"
    assert available_backends() == {"cpu": "", "gpu": str(caught.value)}


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown backend 'gqu'; did you mean 'gpu'"):
        get_backend("gqu")


def test_the_cpu_backend_does_not_import_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    simulated.cupy.install_import_error(monkeypatch, ImportError("must not be imported"))
    get_backend("cpu")
    assert "cupy" not in sys.modules


def test_kernels_that_are_not_there_are_no_missing_cuda_library(monkeypatch) -> None:
    """As in a checkout, where they lie beside the package."""
    from gpubp.backends.gpu import cupy_backend

    def preamble() -> str:
        raise ModuleNotFoundError("No module named 'gpubp.kernels'", name="gpubp.kernels")

    simulated.cupy.install(monkeypatch)
    monkeypatch.setattr(cupy_backend, "preamble", preamble)
    with pytest.raises(BackendUnavailableError, match=r"^gpubp.kernels was not found, .*pip inst"):
        get_backend("gpu")


@pytest.mark.parametrize("columns", [1, 3, 10, 32, 33])
def test_softmax_of_rows_side_by_side_has_the_bits_of_each_row_alone(dtype, columns):
    random = np.random.default_rng(columns)
    z = (20 * random.standard_normal((41, columns))).astype(dtype)  # 16 abreast twice, and 9
    z[2], z[5, -1], z[7, 0] = -np.inf, np.nan, np.inf
    bias = random.standard_normal(columns).astype(dtype)
    backend, scratch = compiled(), Scratch(np)

    def softmax(rows):
        sums, y = rows.copy(), np.empty_like(rows)
        backend.activate("softmax", sums, bias, y, scratch)
        return sums, y

    alone = [softmax(z[row : row + 1]) for row in range(len(z))]
    for found, expected in zip(softmax(z), zip(*alone, strict=True), strict=True):
        np.testing.assert_array_equal(found, np.concatenate(expected))
    rows, allowed = np.isfinite(z).all(axis=1), 1e-5 if dtype == "float32" else 1e-12
    exact = np.exp((z + bias)[rows].astype(np.float64))
    exact /= exact.sum(axis=1, keepdims=True)
    least = np.finfo(dtype).tiny  # smaller ones may be 0
    np.testing.assert_allclose(softmax(z)[1][rows], exact, rtol=allowed, atol=least)
