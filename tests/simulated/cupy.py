"""A simulated CuPy: its calls and its failures, on the host, for machines without a GPU.

Installed in place of the real module, so that the code that picks a GPU, calls kernels and copies
runs in every test run. What it stands for was read in CuPy 14's sources. What it cannot show:
speed, races between threads, and rounding of the GPU's own functions.
"""

from __future__ import annotations

import importlib.abc
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

import simulated.cublas
import simulated.cublaslt
from gpubp.backends import remembered
from gpubp.backends.gpu import tuning
from simulated.array import Device, ndarray, unwrap, use, wrap, wrapped_function
from simulated.block_kernels import RawKernel
from simulated.kernels import ElementwiseKernel
from simulated.memory import POOL, wait_for_everything
from simulated.streams import Event, Stream, refuse_while_recording

NO_DRIVER = (
    "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
)
DEVICE = "Simulated GPU"
NO_DEVICE = "cudaErrorNoDevice: no CUDA-capable device is detected"


class CUDARuntimeError(RuntimeError):
    """An error of the CUDA runtime."""


class OutOfMemoryError(MemoryError):
    """Device memory is exhausted."""


@dataclass(frozen=True)
class Failures:
    """What goes wrong on the simulated machine.

    Attributes
    ----------
    devices : str or None
        Message with which `getDeviceCount` raises, or None.
    count : int
        Number of GPUs.
    memory : bool
        Whether there is memory for arrays.
    free : int
        Bytes of memory that are free.
    cublaslt : bool
        Whether there is a cuBLASLt.
    launch : Exception or None
        What the first launch raises: a library that cannot be loaded, say.
    major : int
        Of the compute capability; blocks meet as clusters from 9 on.
    """

    devices: str | None = None
    count: int = 1
    memory: bool = True
    free: int = 1 << 33
    cublaslt: bool = True
    launch: Exception | None = None
    major: int = 8


class SimulatedCupy(ModuleType):
    """The module `cupy`; functions that are not named here are NumPy's on wrapped arrays."""

    __version__ = "14.2.0"
    ndarray = ndarray

    def __init__(self, failures: Failures) -> None:
        super().__init__("cupy")
        self.__path__: list[str] = []
        self._failures = failures
        self.cuda = _cuda(failures)
        self.RawKernel = RawKernel
        self.ElementwiseKernel = partial(ElementwiseKernel, launch_error=failures.launch)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(np, name)
        if isinstance(value, type) or not callable(value):
            return value
        return self._allocating(wrapped_function(value))

    def _allocating(self, function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            self._check_device()
            refuse_while_recording(f"cupy.{function.__name__}")
            return function(*args, **options)

        return call

    def _check_device(self) -> None:
        if self._failures.devices is not None:
            raise CUDARuntimeError(self._failures.devices)
        if not self._failures.memory:
            raise OutOfMemoryError("Out of memory allocating 16 bytes (allocated so far: 0 bytes).")

    def asarray(self, a: Any, dtype: Any = None, order: str | None = None) -> ndarray:
        """Return an array on the device; one that is there is not copied."""
        self._check_device()
        refuse_while_recording("a copy from the host")
        if isinstance(a, ndarray):
            host = np.asarray(a._host, dtype=dtype, order=order)
            if host is a._host:
                return a
            use(reads=[a])
            return ndarray(host)
        host = np.array(a, dtype=dtype, order=order)
        if host.dtype.kind not in "fiub":
            raise ValueError(f"Unsupported dtype {host.dtype}")
        return ndarray(host)

    def empty(self, shape: Any, dtype: Any = float) -> ndarray:
        """Return an array that holds no numbers."""
        self._check_device()
        refuse_while_recording("cupy.empty")
        shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
        return ndarray(POOL.empty(shape, np.dtype(dtype), Stream.stack[-1].ptr))

    def empty_like(self, a: ndarray, dtype: Any = None) -> ndarray:
        """Return an array of the same shape that holds no numbers."""
        return self.empty(a.shape, dtype or a.dtype)

    def array(self, a: Any, dtype: Any = None, copy: bool = True) -> ndarray:
        """Return a copy on the device."""
        return ndarray(self.asarray(a, dtype)._host.copy())

    def ascontiguousarray(self, a: Any, dtype: Any = None) -> ndarray:
        """Return a C-contiguous array; NumPy's makes 0-d arrays 1-d, and so does CuPy's."""
        host = self.asarray(a, dtype)._host
        contiguous = np.ascontiguousarray(host)
        return a if isinstance(a, ndarray) and contiguous is a._host else ndarray(contiguous)

    def asnumpy(self, a: Any) -> np.ndarray:
        """Return a copy on the host."""
        return a.get() if isinstance(a, ndarray) else np.asarray(a)

    def from_dlpack(self, a: Any) -> ndarray:
        """Return a view of an array on the device."""
        if not isinstance(a, ndarray):
            raise TypeError("simulated CuPy takes simulated arrays only")
        return ndarray(a._host.view())

    def get_default_memory_pool(self) -> Any:
        """Return the pool, of whose sizes nothing is told."""
        sizes = dict.fromkeys(("free_bytes", "used_bytes", "total_bytes"), lambda: 0)
        return SimpleNamespace(**sizes, free_all_blocks=lambda: None)

    def get_array_module(self, *args: Any) -> Any:
        """Return this module when an array is on the device, else NumPy."""
        return self if any(isinstance(arg, ndarray) for arg in args) else np

    def dot(self, a: ndarray, b: ndarray, out: ndarray | None = None) -> ndarray:
        """Multiply matrices under CuPy's rules for `out`."""
        self._check_device()
        refuse_while_recording("cuBLAS")
        use(reads=[a, b], writes=[out])
        if out is None:
            return wrap(np.dot(unwrap(a), unwrap(b)))
        if np.result_type(a.dtype, b.dtype) != out.dtype:
            raise ValueError("Not supported dtype combination.")
        if not out.flags.c_contiguous:
            raise ValueError("Output array must be C-contiguous")
        if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
            raise ValueError("Axis dimension mismatch")
        np.dot(a._host, b._host, out=out._host)
        return out

    def take(
        self, a: ndarray, indices: ndarray, axis: int | None = None, out: ndarray | None = None
    ) -> ndarray:
        """Gather under CuPy's rules for `out`; an index out of range is wrapped round."""
        self._check_device()
        use(reads=[a, indices], writes=[out])
        taken = np.take(unwrap(a), unwrap(indices), axis=axis, mode="wrap")
        if out is None:
            return wrap(taken)
        if out.dtype != a.dtype:
            raise TypeError("Output dtype mismatch")
        if out.shape != taken.shape:
            raise ValueError("Output shape mismatch")
        out._host[...] = taken
        return out


def _cuda(failures: Failures) -> ModuleType:
    cuda = ModuleType("cupy.cuda")

    def device_count() -> int:
        if failures.devices is not None:
            raise CUDARuntimeError(failures.devices)
        return failures.count

    def properties(device: int) -> dict[str, Any]:
        return {
            "name": DEVICE.encode(),
            "major": failures.major,
            "minor": 0,
            "totalGlobalMem": 1 << 34,
            "multiProcessorCount": 16,
        }

    cuda.__dict__.update(
        Device=Device,
        Stream=Stream,
        Event=Event,
        get_elapsed_time=lambda start, end: end.milliseconds - start.milliseconds,
        alloc_pinned_memory=bytearray,
        is_available=lambda: failures.devices is None and failures.count > 0,
        get_current_stream=lambda: Stream.stack[-1],
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        runtime=SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            getDeviceCount=device_count,
            getDeviceProperties=properties,
            getDevice=lambda: Device.current,
            driverGetVersion=lambda: 13000,
            runtimeGetVersion=lambda: 13000,
            memGetInfo=lambda: (failures.free, 1 << 34),
        ),
    )
    return cuda


def install(monkeypatch: Any, **failures: Any) -> SimulatedCupy:
    """Put a simulated CuPy in the place of `cupy` until the test ends; see `Failures`."""
    module = SimulatedCupy(Failures(**failures))
    _forget_cupy(monkeypatch)
    wait_for_everything()  # that a test before this one has left undone
    POOL.release()
    simulated.cublaslt.install(monkeypatch, module._failures.cublaslt, refused=2)
    simulated.cublas.install(monkeypatch)
    # ways are timed, in simulated time, and the choice is kept for the process alone
    monkeypatch.setattr(tuning, "CALLS", 1)
    monkeypatch.setattr(tuning, "ROUNDS", 1)
    monkeypatch.setenv("GPUBP_TUNING", os.path.join(os.devnull, "tuning.json"))
    monkeypatch.setattr(remembered, "KNOWN", {})
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setitem(sys.modules, "cupy.cuda", module.cuda)
    return module


def install_import_error(monkeypatch: Any, error: ImportError) -> None:
    """Make ``import cupy`` raise this error until the test ends."""

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> None:
            if name == "cupy":
                raise error

    _forget_cupy(monkeypatch)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])


def _forget_cupy(monkeypatch: Any) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cupy"]:
        monkeypatch.delitem(sys.modules, name)
