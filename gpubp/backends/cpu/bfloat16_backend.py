"""The CPU backend with products in bfloat16, by the instructions of AVX512-BF16.

What a product reads is rounded to bfloat16 as `kernels/host/bfloat16_product.h` packs it, and the
products' sums are in float32. All other operations, and all arrays, stay in float32.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from gpubp.backends.cpu.blas import Products
from gpubp.backends.cpu.compiled_backend import CompiledBackend, host_kernels
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from gpubp.backends.cpu.planned_steps import untransposed
from gpubp.backends.precision import Precision
from gpubp.backends.scratch import Array

MODULE = "gpubp.backends.cpu._host_avx512bf16"


class Bfloat16Backend(CompiledBackend):
    """Compiled kernels with products in bfloat16; see `gpubp.backends.protocol.Backend`.

    Parameters
    ----------
    host, level, reason
        As in `CompiledBackend`.
    product : int
        The address of a function that is called as cblas_sgemm is, with integers of 64 bits.
    """

    def __init__(self, host: Any, level: str, reason: str, product: int) -> None:
        super().__init__(host, level, reason)
        self.device += ", products in bfloat16"
        self.products = Products(product, product, wide=True, tiled=False)
        self._product = product
        self._in_float32 = CompiledBackend(host, level, reason)

    def for_precision(self, precision: Precision) -> NumpyBackend:
        return self if precision.name == "bfloat16" else self._in_float32

    def multiply(self, a: Array, b: Array, out: Array, scale: float = 1.0) -> None:
        a, b, of_a, of_b = untransposed(a, b)
        self._host.multiply(self._product, a, b, out, of_a, of_b, scale)


@cache
def bfloat16_product() -> tuple[int, str]:
    """Return the address of the product in bfloat16; or 0, and why there is none."""
    host, level = host_kernels()
    if host is None:
        return 0, f"the compiled kernels are needed: {level}"
    if not host.multiplies_bfloat16():
        return 0, "the processor has no AVX512-BF16"
    if level != "avx512":
        return 0, f"the compiled kernels in use are those for {level}"
    try:
        return importlib.import_module(MODULE).product(), ""
    except ImportError as error:
        return 0, f"not built when gpubp was installed ({error})"
