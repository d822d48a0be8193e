"""The CPU backend with compiled kernels: the loops of `kernels/host_module.h` on NumPy arrays.

Three modules are built from one source, for the instructions of any processor, for AVX2 and for
AVX-512; the widest that this processor has is loaded. Where none was built, or the environment
variable GPUBP_HOST_KERNELS is "off", the CPU backend is plain NumPy.
"""

from __future__ import annotations

import importlib
import os
from functools import cache
from typing import Any

import numpy as np

from gpubp.backends._numpy import NumpyBackend
from gpubp.backends.protocol import Array, Scratch

ENVIRONMENT_VARIABLE = "GPUBP_HOST_KERNELS"
LEVELS = ("baseline", "avx2", "avx512")  # narrowest first
ROWS_A_CHUNK = 64  # as in kernels/host_loops.h


class CompiledBackend(NumpyBackend):
    """NumPy arrays and matrix products, compiled loops; see `gpubp.backends.protocol.Backend`."""

    def __init__(self, host: Any, level: str, reason: str = "asked for") -> None:
        super().__init__(reason)
        self.device = f"CPU, compiled kernels ({level})"
        names = [name for name in dir(host) if not name.startswith("__")]
        self._host = {name: getattr(host, name) for name in names}

    def gather(self, array: Array, rows: Array, out: Array, scale: float, scratch: Scratch) -> None:
        if out.dtype.kind == "f":
            self._host["gather"](array, rows, out, scale)
        else:  # class indices
            super().gather(array, rows, out, scale, scratch)

    def all_finite(self, array: Array) -> bool:
        if array.dtype == np.float16:
            return super().all_finite(array)
        finite: bool = self._host["all_finite"](array)
        return finite

    def activate(self, name: str, z: Array, bias: Array, y: Array, scratch: Scratch) -> None:
        self._host["activate_" + name](z, bias, y)

    def activate_backward(
        self, name: str, kept: Array, dy: Array, dz: Array, dbias: Array, scratch: Scratch
    ) -> None:
        rows, columns = dy.shape
        partial = scratch("bias gradient", (-(-rows // ROWS_A_CHUNK), columns), dz.dtype)
        self._host["backward_" + name](kept, dy, dz, partial, dbias)

    def loss(
        self, name: str, y: Array, expected: Array, dy: Array, mean: Array, scratch: Scratch
    ) -> None:
        row_loss = scratch("row loss", y.shape[:1], y.dtype)
        self._host["loss_" + name](y, expected, dy, row_loss, mean)

    def update(
        self,
        name: str,
        gradients: Array,
        parameters: Array,
        state: tuple[Array, ...],
        scalars: tuple[float, ...],
        scratch: Scratch,
    ) -> None:
        self._host["update_" + name](gradients, parameters, *state, *scalars)


def cpu_backend(reason: str = "asked for") -> NumpyBackend:
    """Return the CPU backend: with compiled kernels where they can be had, else plain NumPy."""
    host, level = host_kernels()
    return NumpyBackend(reason) if host is None else CompiledBackend(host, level, reason)


@cache
def host_kernels() -> tuple[Any, str]:
    """Return the module of compiled kernels and its instruction set; None and why there is none."""
    wanted = os.environ.get(ENVIRONMENT_VARIABLE, "").strip().lower()
    if wanted == "off":
        return None, f"{ENVIRONMENT_VARIABLE}=off"
    try:
        level = _load("baseline").level()
    except ImportError as error:
        return None, f"not built when gpubp was installed ({error})"
    if wanted in LEVELS:
        level = min(level, wanted, key=LEVELS.index)
    for name in reversed(LEVELS[: LEVELS.index(level) + 1]):
        try:
            host = _load(name)
        except ImportError:
            continue
        host.set_threads(_threads())
        return host, name
    raise AssertionError("the baseline module was loaded above")


def _load(level: str) -> Any:
    return importlib.import_module(f"gpubp.backends._host_{level}")


def _threads() -> int:
    """Return how many threads BLAS was told to use, or the processors this process may use."""
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(variable, "")
        if value.isdigit() and int(value) > 0:
            return int(value)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
