"""Arrays of any library in, and results back in the kind that came in.

A library is touched only when the caller has already imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends.protocol import Backend
from gpubp.backends.scratch import Array
from gpubp.errors import DataError, DeviceError


def is_cupy(array: Any) -> bool:
    """Tell whether this is a CuPy array, without importing CuPy."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(array, cupy.ndarray)


def on_gpu(array: Any) -> bool:
    """Tell whether the array's memory lies on an NVIDIA GPU."""
    if isinstance(array, np.ndarray):
        return False
    try:
        return hasattr(array, "__cuda_array_interface__")
    except Exception:  # PyTorch raises from the attribute for tensors that require grad
        return "cuda" in str(getattr(array, "device", ""))


def take_in(array: Any, backend: Backend, name: str, large: bool = False) -> Array:
    """Return the data as an array of the backend's library, in whatever dtype it has.

    With `large`, host data that had better not lie in the device's memory stay NumPy arrays.

    NumPy, CuPy, anything with ``__dlpack__``, ``__cuda_array_interface__`` or ``__array__`` and
    nested lists are taken. Host data are copied to a GPU when the backend is one.

    Raises
    ------
    DeviceError
        When the data lie on a GPU and the network on the CPU, or on another GPU.
    DataError
        When the data are no array of numbers.
    """
    check_unmasked(array, name)
    if isinstance(array, np.ndarray) and backend.name == "cpu":
        return _numeric(array, name)
    if on_gpu(array):
        return _from_gpu(array, backend, name)
    try:
        host = host_array(array)
    except Exception as error:
        raise DataError(
            f"{name} is no array of numbers: {type(array).__name__} ({_one_line(error)})"
        ) from error
    host = _numeric(host, name)
    return host if large and not backend.holds(host.nbytes) else backend.asarray(host)


def check_unmasked(array: Any, name: str) -> None:
    """Raise DataError for a masked array of which something is masked: no network reads a mask."""
    if np.ma.is_masked(array):
        count = int(np.ma.getmaskarray(array).sum())
        raise DataError(
            f"{name} is an array with {count} masked values; one without is"
            " needed: array.filled(value), or without those rows"
        )


def native_array(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as kernels read it, aligned and of the machine's byte order; copy if not."""
    if array.flags.aligned and array.dtype.isnative:
        return array
    return array.astype(array.dtype.newbyteorder("="))


def give_back(result: Array, backend: Backend, like: Any) -> Any:
    """Return a result in the kind of array that `like` is: CuPy, PyTorch, JAX, else NumPy."""
    if on_gpu(like):
        return result if is_cupy(like) else _from_dlpack(like)(result)
    host = backend.to_numpy(result)
    if isinstance(like, np.ndarray) or not hasattr(like, "__dlpack__"):
        return host
    return _from_dlpack(like)(host)


def _from_gpu(array: Any, backend: Backend, name: str) -> Array:
    if backend.name != "gpu":
        raise DeviceError(
            f"{name} lies on a GPU and the network on the CPU: move one, net.to('gpu') or"
            " array.get()"
        )
    result = backend.xp.asarray(array)
    here = backend.xp.cuda.Device().id
    if result.device.id != here:
        raise DeviceError(
            f"{name} lies on GPU {result.device.id} and the network on GPU {here}: copy it there"
            " first"
        )
    return result


def host_array(array: Any) -> Any:
    """Return an array of the host, by ``__array__`` or ``__dlpack__``, as one of NumPy."""
    if hasattr(array, "__array__") or not hasattr(array, "__dlpack__"):
        if hasattr(array, "detach"):  # a PyTorch tensor that requires grad refuses __array__
            array = array.detach()
        return np.asarray(array)
    return np.from_dlpack(array)


def _numeric(array: Any, name: str) -> Any:
    if array.dtype.kind in "fiub":
        return native_array(array)
    if array.dtype.kind == "O":
        try:
            return array.astype(np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{name} is no array of numbers: {_one_line(error)}") from error
    raise DataError(f"{name} has dtype {array.dtype}; real numbers are needed")


def _from_dlpack(like: Any) -> Callable[[Any], Any]:
    """Find the `from_dlpack` of the library that an array belongs to."""
    if hasattr(like, "__array_namespace__"):
        namespace = like.__array_namespace__()
    else:
        namespace = sys.modules[type(like).__module__.partition(".")[0]]
    convert: Callable[[Any], Any] = getattr(namespace, "from_dlpack", np.asarray)
    return convert


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
