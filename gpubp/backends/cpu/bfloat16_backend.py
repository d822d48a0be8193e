"""The CPU backend with products in bfloat16, by the instructions of AMX or of AVX512-BF16.

What a product reads is rounded to bfloat16 as `kernels/host/bfloat16_product.h` packs it, and the
products' sums are in float32, in an order that differs between the two
(`kernels/host/bfloat16_squares.h`). All other operations, and all arrays, stay in float32.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from gpubp.backends.cpu.blas import Products
from gpubp.backends.cpu.compiled_backend import CompiledBackend, host_kernels, thread_count
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from gpubp.backends.precision import Precision
from gpubp.backends.scratch import Array

MOST_ROWS = 4096  # that one thread multiplies at a time: it packs all of b anew each time


class Bfloat16Backend(CompiledBackend):
    """Compiled kernels with products in bfloat16; see `gpubp.backends.protocol.Backend`.

    Parameters
    ----------
    host, level, reason, alternative
        As in `CompiledBackend`, and as its attribute.
    product : int
        The address of a function that is called as cblas_sgemm is, with integers of 64 bits.
    """

    def __init__(
        self, host: Any, level: str, reason: str, product: int, alternative: Any = None
    ) -> None:
        super().__init__(host, level, reason)
        self.alternative = alternative
        self.device += ", products in bfloat16"
        self.products = Products(product, product, wide=True, tiled=False, squares=0)
        self._in_float32 = CompiledBackend(host, level, reason)
        self._in_float32.alternative = alternative

    def for_precision(self, precision: Precision) -> NumpyBackend:
        return self if precision.name == "bfloat16" else self._in_float32

    def multiply(self, a: Array, b: Array, out: Array, scale: float = 1.0) -> None:
        share = -(-len(out) // thread_count())
        self._multiply_shared(a, b, out, scale, max(1, min(MOST_ROWS, share)))


@cache
def bfloat16_product() -> tuple[int, str]:
    """Return the address of the fastest product in bfloat16; or 0, and why there is none."""
    host, level = host_kernels()
    if host is None:
        return 0, f"the compiled kernels are needed: {level}"
    module = host.bfloat16_module()
    if not module:
        return 0, "the processor has neither AMX nor AMD's AVX512-BF16 (Intel's gains nothing)"
    if level != "avx512":
        return 0, f"the compiled kernels in use are those for {level}"
    try:
        return importlib.import_module(f"gpubp.backends.cpu._host_{module}").product(), ""
    except ImportError as error:
        return 0, f"not built when gpubp was installed ({error})"
