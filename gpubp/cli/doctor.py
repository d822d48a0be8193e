"""What this machine offers: facts gathered as plain data, and advice that follows from them."""

from __future__ import annotations

import importlib
import os
import platform
import timeit
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from gpubp.backends import available_backends, get_backend
from gpubp.backends.cpu.bfloat16_backend import bfloat16_products
from gpubp.backends.cpu.host_kernels import host_kernels
from gpubp.backends.precision import PRECISIONS
from gpubp.cli import openblas as blas_kernels

PACKAGES = (
    "gpubp",
    "numpy",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "safetensors",
    "pyarrow",
    "scikit-learn",
)
WORTH_SAYING = 1.1  # how many times faster a product has to be


def examine() -> dict[str, Any]:
    """Return what a person asks first when training is slow or the GPU idle.

    Returns
    -------
    dict
        ``backends`` (name -> "" or why it is unavailable), ``auto``, ``auto_reason`` and ``notes``
        (what is slower on that backend than it could be, and why),
        ``device``, ``compiled_kernels`` (instruction set, or ""), ``compiled_kernels_reason`` (why
        there are none), ``versions``, ``processor``, ``blas`` (list of dict), ``products`` (kernel
        set of OpenBLAS -> GFLOP/s, the first as things are), ``bfloat16`` (GFLOP/s of products in
        bfloat16 on the CPU, or 0) and ``bfloat16_reason`` (why there are none), ``advice`` (list of
        str).
    """
    chosen = get_backend("auto")
    host, level = host_kernels()
    facts: dict[str, Any] = {
        "backends": available_backends(),
        "auto": chosen.name,
        "auto_reason": chosen.reason,
        "notes": chosen.notes,
        "device": chosen.device,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "compiled_kernels": level if host else "",
        "compiled_kernels_reason": "" if host else level,
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "blas": _blas(),
        "products": blas_kernels.measure(),
        "bfloat16": _bfloat16_rate(),
        "bfloat16_reason": bfloat16_products()[1],
    }
    return facts | {"advice": advice(facts)}


def advice(facts: dict[str, Any]) -> list[str]:
    """Return what would make this machine faster, one line each."""
    lines = list(facts["notes"])
    if facts["backends"]["gpu"]:
        lines.append(f"GPU: {facts['backends']['gpu']}")
    if not facts["compiled_kernels"]:
        lines.append(
            f"the compiled CPU kernels are missing, {facts['compiled_kernels_reason']}: with a C++"
            " compiler (apt install g++, xcode-select --install, or Visual Studio's build tools)"
            " install gpubp again; plain NumPy takes 1.1 to 3.7 times as long for a step"
        )
    if facts["blas"] is None:
        lines.append("pip install threadpoolctl shows which BLAS and kernel set NumPy uses")
    (_, rate), *others = facts["products"].items()
    for setting, found in others:
        if found > WORTH_SAYING * rate:
            lines.append(
                f"{blas_kernels.VARIABLE}={setting}, set before Python starts, takes matrix"
                f" products from {rate:.0f} to {found:.0f} GFLOP/s (the gpubp command sets it"
                " itself)"
            )
    fastest, narrow = max(facts["products"].values()), facts["bfloat16"]
    if narrow > WORTH_SAYING * fastest:
        lines.append(
            "precision='bfloat16' (--precision bfloat16) rounds what matrix products read to 8 bits"
            f" of a number and takes them from {fastest:.0f} to {narrow:.0f} GFLOP/s"
        )
    return lines


def _bfloat16_rate() -> float:
    """Return the rate of the product that `blas_kernels.measure` does, in bfloat16; or 0."""
    backend = get_backend("cpu").for_precision(PRECISIONS["bfloat16"])
    if backend.notes:
        return 0.0
    a = np.ones((1024, 1024), np.float32)
    out = np.empty_like(a)
    best = min(timeit.repeat(lambda: backend.multiply(a, a, out), number=1, repeat=8))
    return round(2 * 1024**3 / best / 1e9, 1)


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
    return blas_kernels.cpuinfo("model name") or platform.processor() or platform.machine()
