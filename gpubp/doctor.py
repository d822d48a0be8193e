"""What this machine offers: facts gathered as plain data, and advice that follows from them."""

from __future__ import annotations

import importlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gpubp.backends import available_backends, get_backend

PACKAGES = (
    "gpubp",
    "numpy",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "safetensors",
    "pyarrow",
    "scikit-learn",
)
# OpenBLAS kernel sets that use AVX2 only, on a processor that may have AVX-512
NARROW_KERNELS = ("haswell", "zen", "sandybridge", "nehalem")


def examine() -> dict[str, Any]:
    """Return what a person asks first when training is slow or the GPU idle.

    Returns
    -------
    dict
        ``backends`` (name -> "" or why it is unavailable), ``auto`` and ``auto_reason``,
        ``device``, ``versions``, ``processor``, ``blas`` (list of dict), ``advice`` (list of str).
    """
    chosen = get_backend("auto")
    blas = _blas()
    facts: dict[str, Any] = {
        "backends": available_backends(),
        "auto": chosen.name,
        "auto_reason": chosen.reason,
        "device": chosen.device,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "blas": blas,
    }
    return facts | {"advice": advice(facts, _processor_flags())}


def advice(facts: dict[str, Any], flags: set[str]) -> list[str]:
    """Return what would make this machine faster, one line each."""
    lines = []
    if facts["backends"]["gpu"]:
        lines.append(f"GPU: {facts['backends']['gpu']}")
    if facts["blas"] is None:
        lines.append("pip install threadpoolctl shows which BLAS and kernel set NumPy uses")
    for library in facts["blas"] or []:
        narrow = str(library["kernels"]).lower() in NARROW_KERNELS
        if library["library"] == "openblas" and narrow and "avx512f" in flags:
            lines.append(
                f"OpenBLAS uses its {library['kernels']} kernels and this processor has AVX-512:"
                " try OPENBLAS_CORETYPE=SkylakeX, set before Python starts"
            )
    return lines


def _blas() -> list[dict[str, Any]] | None:
    """Return the BLAS libraries in this process; None when threadpoolctl is missing."""
    try:
        threadpoolctl = importlib.import_module("threadpoolctl")
    except ImportError:
        return None
    return [
        {
            "library": library.get("internal_api"),
            "version": library.get("version"),
            "kernels": library.get("architecture"),
            "threads": library.get("num_threads"),
        }
        for library in threadpoolctl.threadpool_info()
        if library.get("user_api") == "blas"
    ]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _processor_flags() -> set[str]:
    return set(_cpuinfo("flags").split())


def _cpuinfo(field: str) -> str:
    """Return a field of Linux's /proc/cpuinfo; "" elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    values = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in values if name.strip() == field), "")
