"""A simulated cuBLAS: products of many matrices at once, through the same ctypes calls."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from gpubp.backends.gpu import cublas as _cublas
from gpubp.backends.gpu import step_recording as _recording
from gpubp.backends.gpu.cublaslt import CONSTANTS
from simulated.cublaslt import (
    BIAS_ALIGNMENT,
    POISONED,
    Function,
    Layout,
    rounded_to_tf32,
    store,
    widened,
)
from simulated.memory import POOL
from simulated.streams import Stream, launch

TF32 = CONSTANTS["CUBLAS_COMPUTE_32F_FAST_TF32"]


class Library:
    """The library's functions.

    Attributes
    ----------
    products : int
        How many matrices the calls so far have written.
    """

    def __init__(self) -> None:
        self.products = 0
        self._stream, self._workspace, self._size = -1, 0, 0
        for name in dir(self):
            if name.startswith("_cublas"):
                setattr(self, name[1:], Function(getattr(self, name)))

    def _cublasCreate_v2(self, handle: Any) -> int:  # noqa: N802
        handle._obj.value = 1
        return 0

    def _cublasSetStream_v2(self, handle: Any, stream: int) -> int:  # noqa: N802
        self._stream, self._workspace = stream, 0  # as the library does: its own again
        return 0

    def _cublasSetWorkspace_v2(self, handle: Any, workspace: int, size: int) -> int:  # noqa: N802
        self._workspace, self._size = workspace, size
        return 0

    def _cublasGemmBatchedEx(self, handle: Any, *rest: Any) -> int:  # noqa: N802
        turned_a, turned_b, rows, columns, terms, alpha, *rest = rest
        a, kind_a, leading_a, b, kind_b, leading_b, beta, c, kind_c, leading_c, *rest = rest
        count, compute, _ = rest
        assert self._stream == Stream.stack[-1].ptr, "not the current stream"
        assert self._workspace, "the library's own workspace cannot be recorded"
        assert beta._obj.value == 0
        scale = alpha._obj.value  # the library reads it as it is called
        shapes = {
            a: Layout(kind_a, *((terms, rows) if turned_a else (rows, terms)), leading_a),
            b: Layout(kind_b, *((columns, terms) if turned_b else (terms, columns)), leading_b),
            c: Layout(kind_c, rows, columns, leading_c),
        }
        lists = {list_: _addresses(list_, count) for list_ in shapes}
        places = {
            list_: [POOL.place(address, shapes[list_].bytes) for address in lists[list_]]
            for list_ in shapes
        }
        if compute == TF32 or shapes[c].bytes < 4 * leading_c * columns:
            assert all(one % BIAS_ALIGNMENT == 0 for each in lists.values() for one in each)
        workspace, size = self._workspace, self._size

        def run() -> None:
            ctypes.memset(workspace, 0xFF, min(size, POISONED))
            for places_of_one in zip(*lists.values(), strict=True):
                left, right, out = (
                    shape.view(place)
                    for shape, place in zip(shapes.values(), places_of_one, strict=True)
                )
                left, right = (
                    widened(one.T if turned else one)
                    for one, turned in ((left, turned_a), (right, turned_b))
                )
                if compute == TF32:
                    left, right = rounded_to_tf32(left), rounded_to_tf32(right)
                store(left.dtype.type(scale) * (left @ right), out)
                self.products += 1

        tables = [POOL.place(list_, 8 * count) for list_ in shapes]
        launch(
            f"batched {list(shapes.values())}",
            run,
            [*tables, *places[a], *places[b]],
            [*places[c], POOL.place(workspace, size)],
        )
        return 0


def _addresses(list_: int, count: int) -> list[int]:
    """Return the addresses that a list on the device holds."""
    memory = (ctypes.c_uint64 * count).from_address(POOL.place(list_, 8 * count).start)
    return list(memory)


def install(monkeypatch: Any) -> Library:
    """Put the simulated library in the place of the real one until the test ends."""
    library = Library()

    def load(name: str) -> Any:
        assert name == "cublas"
        return library

    monkeypatch.setattr(_cublas, "load_library", load)
    monkeypatch.setattr(_recording, "cublas", cache(lambda index: _cublas.Cublas()))
    return library
