"""A dense layer on a GPU: the ways to do a product with what follows it, the fastest kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from gpubp.backends.gpu.products import Products, alignment, kinds
from gpubp.backends.gpu.tuning import Tuner
from gpubp.backends.program import Operation
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

    def masked_forward(
        self,
        x: Array,
        weight: Array,
        bias: tuple[Array, Array],
        z: Array,
        mask: Array,
        scale: float,
    ) -> None:
        """Write relu(scale x @ weight + bias) and the mask of where it is above 0."""
        arguments = (x, weight, z, scale, _of_dtype(bias, z), mask)
        key = f"mask written {kinds(x, weight, z)}"
        self._way(key, self._masked_ways("RELU_AUX_BIAS"), arguments)(*arguments)

    def masked_multiply(self, a: Array, b: Array, out: Array, scale: float, mask: Array) -> None:
        """Write scale a @ b where the mask is set, 0 elsewhere."""
        arguments = (a, b, out, scale, None, mask)
        key = f"mask read {kinds(a, b, out)}"
        self._way(key, self._masked_ways("DRELU"), arguments)(*arguments)

    def offers_mask(self, forward: Operation, backward: Operation) -> bool:
        """Tell whether products can do these two, `masked_forward` and `masked_multiply`."""
        x, weight, bias, z, mask, of_x = forward.arguments
        a, b, out, scale, _ = backward.arguments
        added = _of_dtype(bias, z)
        if alignment(added) < BIAS_ALIGNMENT:
            return False
        written = self._masked_ways("RELU_AUX_BIAS")(x, weight, z, of_x, added, mask)
        return bool(written and self._masked_ways("DRELU")(a, b, out, scale, None, mask))

    def mask_key(self, forward: Operation, backward: Operation) -> str:
        """Name what decides whether they pay."""
        x, weight, _, z, *_ = forward.arguments
        return f"mask {kinds(x, weight, z)} {kinds(*backward.arguments[:3])}"

    def _masked_ways(self, epilogue: str) -> Callable[..., Ways]:
        return lambda a, b, out, scale, *besides: self._planned(a, b, out, epilogue, *besides)

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

    def _planned(
        self, a: Array, b: Array, out: Array, epilogue: str, bias: Array = None, mask: Array = None
    ) -> Ways:
        """Return cuBLASLt's ways; none where it is missing or does not offer the epilogue."""
        if self._products is None:
            return {}
        plan = self._products.plan(a, b, out, epilogue, bias, mask)
        return {
            f"{epilogue} {bytes(algorithm).hex()}": partial(self._products.run, plan, algorithm)
            for algorithm in plan.algorithms
        }

    def _forward_ways(self, name: str, *arguments: Any) -> Ways:
        x, weight, bias, z, y, *_ = arguments
        ways: Ways = {
            way: partial(self._forward_apart, name, product)
            for way, product in self._product_ways(x, weight, z).items()
        }
        added = _of_dtype(bias, z)
        if name in EPILOGUES and z is y and alignment(added) >= BIAS_ALIGNMENT:
            for way, product in self._planned(x, weight, z, EPILOGUES[name], added).items():
                ways[way] = partial(_forward_fused, product)
        return ways

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
