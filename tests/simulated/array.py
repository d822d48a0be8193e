"""The array of the simulated CuPy: a NumPy array that behaves as if it lay on a GPU."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from simulated.memory import POOL, Place, Reference, wait_for_everything
from simulated.streams import Launch, Stream, launch, refuse_while_recording

VIEWS = ("reshape", "view", "transpose", "ravel")  # which launch nothing
IN_PLACE = ("fill", "sort")  # methods that write to their array

_IMPLICIT = (
    "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy"
    " array explicitly."
)


class Device:
    """A simulated GPU, current inside its context."""

    current = 0

    def __init__(self, id: int | None = None) -> None:  # noqa: A002  CuPy's name
        self.id = Device.current if id is None else id
        self._before: list[int] = []

    def __enter__(self) -> Device:
        self._before.append(Device.current)
        Device.current = self.id
        return self

    def __exit__(self, *error: object) -> None:
        Device.current = self._before.pop()

    def synchronize(self) -> None:
        """Wait for all streams."""
        refuse_while_recording("synchronize")
        wait_for_everything()


class Pointer:
    """Where an array lies in simulated device memory."""

    def __init__(self, ptr: int) -> None:
        self.ptr = ptr
        self.device_id = 0


class ndarray:  # noqa: N801  CuPy's name
    """A NumPy array inside, which only the simulated CuPy's functions may reach."""

    def __init__(self, host: np.ndarray) -> None:
        assert type(host) is np.ndarray
        assert host.dtype.kind in "fiub", f"Unsupported dtype {host.dtype}"
        self._host = host if POOL.holds(host) else _copied(host)
        self._device = Device.current

    def __array__(self, *args: Any, **options: Any) -> None:
        raise TypeError(_IMPLICIT)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Do CuPy's function of the same name, as a call; its other methods are not handed on."""
        if method != "__call__":
            return NotImplemented
        if options.get("out") is not None:
            (options["out"],) = options["out"]
        return _launched(ufunc, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        """Do CuPy's function of the same name."""
        if function is np.take and "mode" in options:
            raise TypeError("take() got an unexpected keyword argument 'mode'")
        return _launched(function, args, options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._host, name)
        if not callable(value):
            return wrap(value)
        if name in VIEWS:
            return lambda *args, **options: wrap(value(*args, **options))
        refuse_while_recording(name)
        return wrapped_function(value, self)

    @property
    def device(self) -> Device:
        return Device(self._device)

    @property
    def data(self) -> Pointer:
        return Pointer(self._host.ctypes.data if self._host.size else 0)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self._host.__array_interface__, "version": 3}

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)  # kDLCUDA

    def __dlpack__(self, **options: Any) -> None:
        raise BufferError("simulated device memory cannot be exported")

    def get(self) -> np.ndarray:
        """Copy to the host, which waits for it."""
        refuse_while_recording("a copy to the host")
        use(reads=[self])
        Stream.stack[-1].synchronize()
        return self._host.copy()

    def set(self, array: np.ndarray, stream: Stream | None = None) -> None:
        """Copy from the host."""
        refuse_while_recording("a copy from the host")
        if array.dtype != self._host.dtype or array.shape != self._host.shape:
            raise ValueError("dtype or shape mismatch in set")
        stream = stream or Stream.stack[-1]
        stream.do(Launch("set", lambda: None, [], _places([self])))
        self._host[...] = array

    def __getitem__(self, key: Any) -> ndarray:
        part = np.asarray(self._host[unwrap(key)])
        if not POOL.holds(part):
            refuse_while_recording("a selection")
            use(reads=[self])
        return ndarray(part)

    def __setitem__(self, key: Any, value: Any) -> None:
        refuse_while_recording("an assignment")
        use(reads=[value], writes=[self[key] if _is_view(key) else self])
        self._host[unwrap(key)] = unwrap(value)

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Any:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"simulated {self._host!r}"

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __index__(self) -> int:
        return operator.index(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    __hash__ = None  # type: ignore[assignment]


def _copied(host: np.ndarray) -> np.ndarray:
    """Return a copy in the memory of the device, which refuses it while a stream records."""
    refuse_while_recording("a new array")
    turned = host.flags.f_contiguous and not host.flags.c_contiguous
    shape = host.shape[::-1] if turned else host.shape
    copy = POOL.empty(shape, host.dtype, Stream.stack[-1].ptr)
    copy = copy.T if turned else copy
    copy[...] = host
    launch("new array", lambda: None, [], Reference(copy).places)
    return copy


def _is_view(key: Any) -> bool:
    """Return whether a key selects a part that is a view."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(part is None or part is ... or isinstance(part, slice) for part in parts)


def _places(values: Iterable[Any]) -> list[Place]:
    """Return the memory of those values that are arrays on the device."""
    hosts = [value._host for value in values if isinstance(value, ndarray)]
    return [place for host in hosts for place in Reference(host).places]


def use(reads: Iterable[Any] = (), writes: Iterable[Any] = ()) -> None:
    """Note that the current stream reads and writes arrays, in order with what other streams do."""
    launch("NumPy", lambda: None, _places(reads), _places(writes))


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


def wrapped_function(function: Any, *read: ndarray) -> Any:
    """Return a NumPy function or method as one that takes and returns simulated arrays."""

    def call(*args: Any, **options: Any) -> Any:
        out = options.get("out")
        _use_all((*read, *args), options, out)
        with np.errstate(all="ignore"):  # a GPU does not warn
            result = function(
                *[unwrap(arg) for arg in args],
                **{name: unwrap(option) for name, option in options.items()},
            )
        if function.__name__ in IN_PLACE:
            use(writes=read)
        return wrap(result) if out is None else out

    call.__name__ = function.__name__
    return call


def _use_all(args: Any, options: dict[str, Any], out: Any) -> None:
    flat = [part for arg in args for part in (arg if type(arg) in (tuple, list) else (arg,))]
    use(reads=[*flat, *options.values()], writes=[out])


def _launched(function: Any, args: Any, options: dict[str, Any]) -> Any:
    """Carry out what NumPy has handed on, or note it while a stream records."""
    out = options.get("out")
    if out is None:
        refuse_while_recording(function.__name__)  # what it returns would lie nowhere for long
        return wrapped_function(function)(*args, **options)
    kept = [_kept(arg) for arg in args]
    named = {name: _kept(option) for name, option in options.items()}

    def run() -> None:
        with np.errstate(all="ignore"):
            function(
                *[_host_of(arg) for arg in kept],
                **{name: _host_of(option) for name, option in named.items()},
            )

    launch(function.__name__, run, _places(args), _places([out]))
    return out


def _kept(value: Any) -> Any:
    return Reference(value._host) if isinstance(value, ndarray) else unwrap(value)


def _host_of(value: Any) -> Any:
    return value.host() if isinstance(value, Reference) else value


def _operator(function: Any, swapped: bool = False) -> Any:
    def method(self: ndarray, *others: Any) -> Any:
        refuse_while_recording("an operator")
        use(reads=[self, *others])
        operands = [self._host, *[unwrap(other) for other in others]]
        with np.errstate(all="ignore"):
            return wrap(function(*(reversed(operands) if swapped else operands)))

    return method


def _in_place(function: Any) -> Any:
    def method(self: ndarray, other: Any) -> ndarray:
        refuse_while_recording("an operator")
        use(reads=[self, other], writes=[self])
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
