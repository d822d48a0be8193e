"""The array of the simulated CuPy: a NumPy array that behaves as if it lay on a GPU."""

from __future__ import annotations

import operator
from functools import partial
from typing import Any

import numpy as np

VIEWS = ("reshape", "view", "transpose", "ravel")  # which launch nothing

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
        """Do nothing: a simulated kernel returns when it is done."""


class Stream:
    """A simulated stream; while it records, launches are noted and not done.

    Whatever is no launch is refused then, also what CuPy might let pass and would not replay. A
    stream that waits for an event of a recording one becomes a branch of the recording; what it
    notes is done as late as possible: when the other waits for it.
    """

    made = 0
    null: Stream
    stack: list[Stream]

    def __init__(self, non_blocking: bool = False) -> None:
        Stream.made += 1
        self.ptr = Stream.made
        self._non_blocking = non_blocking
        self.recorded: list[Any] | None = None
        self.branches: set[Stream] = set()
        self._trunk: Stream | None = None

    def __enter__(self) -> Stream:
        Stream.stack.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        Stream.stack.pop()

    def begin_capture(self) -> None:
        """Begin to note launches."""
        if not self._non_blocking:
            raise RuntimeError("cudaErrorStreamCaptureImplicit: the null stream cannot be captured")
        self.recorded = []

    def end_capture(self) -> Graph:
        """Return what was noted."""
        assert not self.branches, "cudaErrorStreamCaptureUnjoined"
        launches, self.recorded = self.recorded, None
        assert launches is not None, "cudaErrorIllegalState: no capture"
        return Graph(launches)

    def wait_event(self, event: Event) -> None:
        """Join the recording that the event is of, or take back one's branch."""
        source = event.stream
        if source is None or source.recorded is None:  # not of a recording
            if self.recorded is not None:
                raise RuntimeError("cudaErrorStreamCaptureIsolation: the event is not recorded")
        elif self.recorded is None:
            self.recorded, self._trunk = [], source
            source.branches.add(self)
        elif source._trunk is self and self.recorded is not None:
            self.recorded += source.recorded
            source.recorded = source._trunk = None
            self.branches.remove(source)

    def synchronize(self) -> None:
        """Do nothing: a simulated kernel returns when it is done."""
        refuse_while_recording("synchronize")


class Event:
    """A simulated event."""

    def __init__(self, disable_timing: bool = False) -> None:
        self.stream: Stream | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Note which stream it is of; where that records, only streams of the recording may wait.

        Recorded on the null stream it would be lost, as it is not what is captured.
        """
        self.stream = stream or Stream.stack[-1]
        if self.stream.recorded is None:
            refuse_while_recording("record an event of another stream")

    def synchronize(self) -> None:
        """Do nothing, but be refused while recording."""
        refuse_while_recording("synchronize")


class Graph:
    """What a stream has noted."""

    launched = 0

    def __init__(self, launches: list[Any]) -> None:
        self.launches = launches

    def launch(self, stream: Stream | None = None) -> None:
        """Do everything that was noted, in order."""
        Graph.launched += 1
        for launch in self.launches:
            launch()


Stream.null = Stream()
Stream.stack = [Stream.null]


def do_or_record(launch: Any) -> None:
    """Do a launch, or note it when the current stream records."""
    recorded = Stream.stack[-1].recorded
    if recorded is None:
        launch()
    else:
        recorded.append(launch)


def refuse_while_recording(what: str) -> None:
    """Raise as CUDA does for what cannot be recorded."""
    if Stream.stack[-1].recorded is not None:
        raise RuntimeError(f"cudaErrorStreamCaptureUnsupported: {what} while a stream is capturing")


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
        self._host = aligned(host) if host.base is None else host
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
        if name not in VIEWS:
            refuse_while_recording(name)
        return wrapped_function(value)

    @property
    def device(self) -> Device:
        return Device(self._device)

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
        refuse_while_recording("a copy to the host")
        return self._host.copy()

    def set(self, array: np.ndarray, stream: Stream | None = None) -> None:
        """Copy from the host."""
        refuse_while_recording("a copy from the host")
        if array.dtype != self._host.dtype or array.shape != self._host.shape:
            raise ValueError("dtype or shape mismatch in set")
        self._host[...] = array

    def __getitem__(self, key: Any) -> ndarray:
        return ndarray(np.asarray(self._host[unwrap(key)]))

    def __setitem__(self, key: Any, value: Any) -> None:
        refuse_while_recording("an assignment")
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


def aligned(host: np.ndarray) -> np.ndarray:
    """Return a copy that begins where CuPy's memory pool would let it: at a multiple of 512."""
    memory = np.empty(host.nbytes + 512, np.uint8)
    start = -memory.ctypes.data % 512
    copy = memory[start : start + host.nbytes].view(host.dtype).reshape(host.shape)
    copy[...] = host
    return copy


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
        with np.errstate(all="ignore"):  # a GPU does not warn
            result = function(
                *[unwrap(arg) for arg in args],
                **{name: unwrap(option) for name, option in options.items()},
            )
        return wrap(result) if out is None else out

    call.__name__ = function.__name__
    return call


def _launched(function: Any, args: Any, options: dict[str, Any]) -> Any:
    """Carry out what NumPy has handed on, or note it while a stream records."""
    out = options.get("out")
    call = partial(wrapped_function(function), *args, **options)
    if out is None:
        refuse_while_recording(function.__name__)  # what it returns would lie nowhere for long
        return call()
    do_or_record(call)
    return out


def _operator(function: Any, swapped: bool = False) -> Any:
    def method(self: ndarray, *others: Any) -> Any:
        refuse_while_recording("an operator")
        operands = [self._host, *[unwrap(other) for other in others]]
        with np.errstate(all="ignore"):
            return wrap(function(*(reversed(operands) if swapped else operands)))

    return method


def _in_place(function: Any) -> Any:
    def method(self: ndarray, other: Any) -> ndarray:
        refuse_while_recording("an operator")
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
