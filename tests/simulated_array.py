"""The array of the simulated CuPy: a NumPy array that behaves as if it lay on a GPU."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

_IMPLICIT = (
    "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy"
    " array explicitly."
)


class Device:
    """The one simulated GPU."""

    def __init__(self, id: int = 0) -> None:  # noqa: A002  CuPy's name
        self.id = id

    def synchronize(self) -> None:
        """Do nothing: a simulated kernel returns when it is done."""


class Pointer:
    """Where an array lies in simulated device memory."""

    def __init__(self, ptr: int) -> None:
        self.ptr = ptr
        self.device_id = 0


class ndarray:  # noqa: N801  CuPy's name
    """A NumPy array inside, which only the simulated CuPy's functions may reach."""

    __array_ufunc__ = None  # NumPy's functions and operators refuse it

    def __init__(self, host: np.ndarray) -> None:
        assert type(host) is np.ndarray
        assert host.dtype.kind in "fiub", f"Unsupported dtype {host.dtype}"
        self._host = host

    def __array__(self, *args: Any, **options: Any) -> None:
        raise TypeError(_IMPLICIT)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._host, name)
        return wrapped_function(value) if callable(value) else wrap(value)

    @property
    def device(self) -> Device:
        return Device(0)

    @property
    def data(self) -> Pointer:
        return Pointer(self._host.ctypes.data)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self._host.__array_interface__, "version": 3}

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)  # kDLCUDA

    def __dlpack__(self, **options: Any) -> None:
        raise BufferError("simulated device memory cannot be exported")

    def get(self) -> np.ndarray:
        """Copy to the host."""
        return self._host.copy()

    def set(self, array: np.ndarray) -> None:
        """Copy from the host."""
        if array.dtype != self._host.dtype or array.shape != self._host.shape:
            raise ValueError("dtype or shape mismatch in set")
        self._host[...] = array

    def __getitem__(self, key: Any) -> ndarray:
        return ndarray(np.asarray(self._host[unwrap(key)]))

    def __setitem__(self, key: Any, value: Any) -> None:
        self._host[unwrap(key)] = unwrap(value)

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Any:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"simulated {self._host!r}"

    def __bool__(self) -> bool:
        return bool(self._host)

    def __int__(self) -> int:
        return int(self._host)

    def __float__(self) -> float:
        return float(self._host)

    def __index__(self) -> int:
        return operator.index(self._host)

    def __complex__(self) -> complex:
        return complex(self._host)

    __hash__ = None  # type: ignore[assignment]


def wrap(value: Any) -> Any:
    """Put NumPy arrays, and the scalars that NumPy returns for 0-d arrays, onto the device."""
    if type(value) in (tuple, list):
        return type(value)(wrap(part) for part in value)
    if isinstance(value, np.ndarray | np.generic):
        return ndarray(np.asarray(value))
    return value


def unwrap(value: Any) -> Any:
    """Take simulated arrays off the device; refuse arrays that are not there.

    Raises
    ------
    TypeError
        For a NumPy array, as CuPy does.
    """
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if type(value) in (tuple, list):
        return type(value)(unwrap(part) for part in value)
    return value


def wrapped_function(function: Any) -> Any:
    """Return a NumPy function or method as one that takes and returns simulated arrays."""

    def call(*args: Any, **options: Any) -> Any:
        out = options.get("out")
        result = function(
            *[unwrap(arg) for arg in args],
            **{name: unwrap(option) for name, option in options.items()},
        )
        return wrap(result) if out is None else out

    return call


def _operator(function: Any, swapped: bool = False) -> Any:
    def method(self: ndarray, *others: Any) -> Any:
        operands = [self._host, *[unwrap(other) for other in others]]
        return wrap(function(*(reversed(operands) if swapped else operands)))

    return method


def _in_place(function: Any) -> Any:
    def method(self: ndarray, other: Any) -> ndarray:
        self._host = function(self._host, unwrap(other))
        return self

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
    _function = getattr(operator, f"__{_name}__")
    setattr(ndarray, f"__{_name}__", _operator(_function))
    setattr(ndarray, f"__r{_name}__", _operator(_function, swapped=True))
    setattr(ndarray, f"__i{_name}__", _in_place(getattr(operator, f"__i{_name}__")))
for _name in ("lt", "le", "eq", "ne", "gt", "ge", "neg", "abs", "invert", "matmul"):
    setattr(ndarray, f"__{_name}__", _operator(getattr(operator, f"__{_name}__")))
