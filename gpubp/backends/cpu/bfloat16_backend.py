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
from gpubp.backends.cpu.compiled_backend import CompiledBackend
from gpubp.backends.cpu.host_kernels import host_kernels
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from gpubp.backends.cpu.thread_count import thread_count
from gpubp.backends.precision import Precision
from gpubp.backends.scratch import Array

MOST_ROWS = 4096  # that one thread multiplies at a time: it packs all of b anew each time


class Bfloat16Backend(CompiledBackend):
    """Compiled kernels with products in bfloat16; see `gpubp.backends.protocol.Backend`.

    Parameters
    ----------
    host, level, reason, alternative
        As in `CompiledBackend`, and as its attribute.
    products : Products
        Those in bfloat16.
    """

    def __init__(
        self, host: Any, level: str, reason: str, products: Products, alternative: Any = None
    ) -> None:
        super().__init__(host, level, reason)
        self.alternative = alternative
        self.device += ", products in bfloat16"
        self.products = products
        self._in_float32 = CompiledBackend(host, level, reason)
        self._in_float32.alternative = alternative

    def for_precision(self, precision: Precision) -> NumpyBackend:
        return self if precision.name == "bfloat16" else self._in_float32

    def multiply(self, a: Array, b: Array, out: Array, scale: float = 1.0) -> None:
        share = -(-len(out) // thread_count())
        self._multiply_shared(a, b, out, scale, max(1, min(MOST_ROWS, share)))

    def _has_products(self) -> bool:
        return True


@cache
def bfloat16_products() -> tuple[Products | None, str]:
    """Return the fastest products in bfloat16; or None, and why there are none."""
    host, level = host_kernels()
    if host is None:
        return None, f"the compiled kernels are needed: {level}"
    name = host.bfloat16_module()
    if not name:
        return None, "the processor has neither AMX nor AMD's AVX512-BF16 (Intel's gains nothing)"
    if level != "avx512":
        return None, f"the compiled kernels in use are those for {level}"
    try:
        module = importlib.import_module(f"gpubp.backends.cpu._host_{name}")
    except ImportError as error:
        return None, f"not built when gpubp was installed ({error})"
    product, packed = module.product(), module.packed_product()
    squares = product if packed else 0  # where they are AMX's
    return Products(product, product, wide=True, tiled=False, squares=squares, packed=packed), ""
