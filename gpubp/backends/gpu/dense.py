"""A dense layer on a GPU: the ways to do a product with what follows it, the fastest kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from gpubp.backends.gpu.products import Products, alignment, kinds
from gpubp.backends.gpu.tuning import Tuner
from gpubp.backends.scratch import Array, Scratch

Way = Callable[..., None]
Ways = dict[str, Way]

# Bytes that a bias has to be aligned to for a product to read or write it; not every version of the
# library looks at it.
BIAS_ALIGNMENT = 16
EPILOGUES = {"identity": "BIAS", "relu": "RELU_BIAS"}  # activations that a product can do itself


class Kernels(Protocol):
    """What comes before and after a product: methods of the CuPy backend."""

    def plain_multiply(self, a: Array, b: Array, out: Array, scale: float) -> None:
        """Write scale a @ b without cuBLASLt."""

    def activate(self, name: str, z: Array, bias: Array, y: Array, scratch: Scratch) -> None:
        """Add the bias and write f(z)."""

    def activate_backward(
        self, name: str, kept: Array, dy: Array, dz: Array, dbias: Array, scratch: Scratch
    ) -> None:
        """Write f' dy and its column sums."""

    def derivative(self, name: str, kept: Array, delta: Array) -> None:
        """Multiply by f' alone."""

    def offers_tiles(self, name: str, a: Array, b: Array, *results: Array) -> bool:
        """Tell whether the next two can be."""

    def tiled_forward(
        self, x: Array, weight: Array, bias: Array, name: str, z: Array, y: Array, scale: float
    ) -> None:
        """Do a layer forward by a kernel of our own."""

    def tiled_multiply(
        self, a: Array, b: Array, out: Array, scale: float, name: str, kept: Array
    ) -> None:
        """Write f'(kept) scale a @ b by a kernel of our own."""


class DenseLayers:
    """Products, and layers forward and backward, each shape by its fastest way.

    Without cuBLASLt, `products` and `tuner` are None and CuPy multiplies.
    """

    def __init__(self, kernels: Kernels, products: Products | None, tuner: Tuner | None) -> None:
        self._kernels, self._products, self._tuner = kernels, products, tuner
        self._chosen: dict[str, Way] = {}

    def multiply(self, a: Array, b: Array, out: Array, scale: float) -> None:
        """Write scale a @ b."""
        if not a.size or not out.size:
            _write_zeros(out)
            return
        arguments = (a, b, out, scale)
        self._way(f"product {kinds(a, b, out)}", self._product_ways, arguments)(*arguments)

    def forward(
        self,
        x: Array,
        weight: Array,
        bias: tuple[Array, Array],
        name: str,
        z: Array,
        y: Array,
        scratch: Scratch,
        scale: float,
    ) -> None:
        """Do a layer: see `Backend.dense_forward`."""
        if not z.size:
            return
        arguments = (x, weight, bias, z, y, scratch, scale)
        key = f"forward {name} {z is y} {kinds(x, weight, *bias, z)}"
        self._way(key, partial(self._forward_ways, name), arguments)(*arguments)

    def backward(
        self,
        name: str,
        kept: Array,
        delta: Array,
        x: Array,
        dweight: Array,
        dbias: Array,
        scratch: Scratch,
        scale: float,
    ) -> None:
        """Do a layer backward: see `Backend.dense_backward`."""
        if not delta.size:
            self._kernels.activate_backward(name, kept, delta, delta, dbias, scratch)
            _write_zeros(dweight)
            return
        arguments = (kept, delta, x, dweight, dbias, scratch, scale)
        key = f"backward {name} {kept.dtype.name} {kinds(x, delta, dweight, dbias)}"
        # timing multiplies delta by the derivative again and again: a copy of it
        self._way(
            key,
            partial(self._backward_ways, name),
            arguments,
            lambda: (kept, delta.copy(), *arguments[2:]),
        )(*arguments)

    def multiply_slope(
        self, a: Array, b: Array, out: Array, scale: float, name: str, kept: Array
    ) -> None:
        """Write f'(kept) scale a @ b."""
        arguments = (a, b, out, scale, name, kept)
        if not a.size or not out.size:
            _write_zeros(out)
            return
        key = f"slope {name} {kinds(a, b, out, kept)}"
        self._way(key, self._slope_ways, arguments)(*arguments)

    def _way(
        self,
        key: str,
        ways: Callable[..., Ways],
        arguments: tuple[Any, ...],
        trial: Callable[[], tuple[Any, ...]] | None = None,
    ) -> Way:
        """Return the fastest way for these arguments, timed on them or on those of a trial."""
        chosen = self._chosen.get(key)
        if chosen is None:
            named = ways(*arguments)
            name = next(iter(named))
            if len(named) > 1 and self._tuner is not None:
                timed = trial() if trial else arguments
                calls = {name: partial(way, *timed) for name, way in named.items()}
                name = self._tuner.choose(key, calls)
            chosen = self._chosen[key] = named[name]
        return chosen

    def _product_ways(self, a: Array, b: Array, out: Array, scale: float = 1.0) -> Ways:
        return self._planned(a, b, out, "DEFAULT") or {"CuPy": self._kernels.plain_multiply}

    def _planned(self, a: Array, b: Array, out: Array, epilogue: str, bias: Array = None) -> Ways:
        """Return cuBLASLt's ways; none where it is missing or does not offer the epilogue.

        They are named by their place among the library's proposals: of the bytes that describe an
        algorithm some differ from one time to the next.
        """
        if self._products is None:
            return {}
        plan = self._products.plan(a, b, out, epilogue, bias)
        return {
            f"{epilogue} {number}": partial(self._products.run, plan, algorithm)
            for number, algorithm in enumerate(plan.algorithms)
        }

    def _forward_ways(self, name: str, *arguments: Any) -> Ways:
        x, weight, bias, z, y, *_ = arguments
        ways: Ways = {
            way: partial(self._forward_apart, name, product)
            for way, product in self._product_ways(x, weight, z).items()
        }
        if self._kernels.offers_tiles(name, x, weight, z, y):
            ways["tiles"] = partial(self._forward_tiled, name)
        added = _of_dtype(bias, z)
        if name in EPILOGUES and z is y and alignment(added) >= BIAS_ALIGNMENT:
            for way, product in self._planned(x, weight, z, EPILOGUES[name], added).items():
                ways[way] = partial(_forward_fused, product)
        return ways

    def _forward_tiled(self, name: str, *arguments: Any) -> None:
        x, weight, bias, z, y, _, scale = arguments
        self._kernels.tiled_forward(x, weight, bias[0], name, z, y, scale)

    def _slope_ways(self, *arguments: Any) -> Ways:
        a, b, out, _, name, kept = arguments
        ways: Ways = {
            way: partial(self._slope_apart, product)
            for way, product in self._product_ways(a, b, out).items()
        }
        if self._kernels.offers_tiles(name, a, b, out, kept):
            ways["tiles"] = self._kernels.tiled_multiply
        return ways

    def _slope_apart(self, product: Way, *arguments: Any) -> None:
        a, b, out, scale, name, kept = arguments
        product(a, b, out, scale)
        self._kernels.derivative(name, kept, out)

    def _forward_apart(self, name: str, product: Way, *arguments: Any) -> None:
        x, weight, bias, z, y, scratch, scale = arguments
        product(x, weight, z, scale)
        self._kernels.activate(name, z, bias[0], y, scratch)

    def _backward_ways(self, name: str, *arguments: Any) -> Ways:
        _, delta, x, dweight, dbias, *_ = arguments
        ways: Ways = {
            way: partial(self._backward_apart, name, product)
            for way, product in self._product_ways(x.T, delta, dweight).items()
        }
        if alignment(dbias) >= BIAS_ALIGNMENT:  # of the dtype of dweight, whatever delta has
            for way, product in self._planned(x.T, delta, dweight, "BGRADA", dbias).items():
                ways[way] = partial(self._backward_fused, name, product)
        return ways

    def _backward_apart(self, name: str, product: Way, *arguments: Any) -> None:
        kept, delta, x, dweight, dbias, scratch, scale = arguments
        self._kernels.activate_backward(name, kept, delta, delta, dbias, scratch)
        product(x.T, delta, dweight, scale)

    def _backward_fused(self, name: str, product: Way, *arguments: Any) -> None:
        kept, delta, x, dweight, dbias, _, scale = arguments
        self._kernels.derivative(name, kept, delta)
        product(x.T, delta, dweight, scale, dbias)


def _forward_fused(product: Way, *arguments: Any) -> None:
    x, weight, bias, z, _, _, scale = arguments
    product(x, weight, z, scale, _of_dtype(bias, z))


def _write_zeros(out: Array) -> None:
    """Write a product of no terms; cuBLASLt describes no empty matrices."""
    if out.size:
        out.fill(0)


def _of_dtype(bias: tuple[Array, Array], z: Array) -> Array:
    """Return the bias as computed or as stored, whichever has the dtype of z."""
    computed, stored = bias
    return computed if z.dtype == computed.dtype else stored
