"""Which of its kernel sets OpenBLAS uses, NumPy's library for matrix products, and which is best.

OpenBLAS chooses when it is loaded and does not know every processor: on newer AMD ones it has taken
kernels for AVX2 though they have AVX-512. The environment variable OPENBLAS_CORETYPE, set before
NumPy is imported, overrules it. The command sets it in its own process; the library never does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

VARIABLE = "OPENBLAS_CORETYPE"
WIDE = "SkylakeX"  # the kernels for AVX-512 that every such processor can run
_WIDE_FLAGS = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
_PRODUCT = """
import time, numpy
a = numpy.ones((1024, 1024), numpy.float32)
out = numpy.empty_like(a)
best = 1e9
for _ in range(8):
    start = time.perf_counter()
    numpy.dot(a, a, out=out)
    best = min(best, time.perf_counter() - start)
print(2 * 1024**3 / best / 1e9)
"""

_set_here = False


def use_best_kernels() -> None:
    """Set the variable in this process, unless the user has, where OpenBLAS may choose worse.

    To be called before NumPy is imported; afterwards it does nothing.
    """
    global _set_here
    if "numpy" in sys.modules or os.environ.get(VARIABLE):
        return
    if cpuinfo("vendor_id") == "AuthenticAMD" and has_wide_vectors():
        os.environ[VARIABLE] = WIDE
        _set_here = True


def has_wide_vectors() -> bool:
    """Tell whether the processor has what the kernels for AVX-512 need."""
    return set(cpuinfo("flags").split()) >= _WIDE_FLAGS


def measure() -> dict[str, float]:
    """Return the rate of a 1024 x 1024 float32 product in GFLOP/s, for each setting that may help.

    Each is measured in a process of its own. The first, "" or the user's setting, is what a Python
    program on this machine gets; the second, where there is one, is `WIDE`.
    """
    own = "" if _set_here else os.environ.get(VARIABLE, "")
    settings = [own, WIDE] if has_wide_vectors() and own != WIDE else [own]
    return {setting: _measured(setting) for setting in settings}


def _measured(setting: str) -> float:
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    if setting:
        environment[VARIABLE] = setting
    done = subprocess.run(
        [sys.executable, "-c", _PRODUCT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return round(float(done.stdout), 1) if done.returncode == 0 else 0.0


def cpuinfo(field: str) -> str:
    """Return a field of Linux's /proc/cpuinfo; "" elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    values = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in values if name.strip() == field), "")
