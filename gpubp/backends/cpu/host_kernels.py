"""The compiled modules: which instructions they are for, and which this processor takes.

Three are built from one source, for the instructions of any processor, for AVX2 and for AVX-512;
the widest that this processor has is loaded. There is none where none was built, or the environment
variable GPUBP_HOST_KERNELS is "off". Where the processor has AMX, and no instruction set is asked
for, products of float32 are done by a module of its own.
"""

from __future__ import annotations

import importlib
import os
from functools import cache
from typing import Any

from gpubp.backends.cpu.thread_count import thread_count

ENVIRONMENT_VARIABLE = "GPUBP_HOST_KERNELS"
LEVELS = ("baseline", "avx2", "avx512")  # narrowest first


@cache
def host_kernels() -> tuple[Any, str]:
    """Return the module of compiled kernels and its instruction set; None and why there is none."""
    wanted = _asked_for()
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
        host.set_threads(thread_count())
        return host, name
    raise AssertionError("the baseline module was loaded above")


@cache
def float32_squares() -> int:
    """Return the address of the product in `kernels/host/float32_squares.h`.

    0 where the processor lacks AMX, its module was not built, or an instruction set was asked for.
    """
    host, _ = host_kernels()
    if host is None or _asked_for() in LEVELS or host.bfloat16_module() != "amx":
        return 0
    try:
        return int(_load("amx").float32_product())
    except ImportError:
        return 0


def _asked_for() -> str:
    return os.environ.get(ENVIRONMENT_VARIABLE, "").strip().lower()


def _load(level: str) -> Any:
    return importlib.import_module(f"gpubp.backends.cpu._host_{level}")
