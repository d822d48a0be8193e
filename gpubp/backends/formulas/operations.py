"""Every operation of a step in plain array expressions: the specification of the kernels.

NumPy's functions hand an array of CuPy to CuPy's function of the same name, so what stands here
serves both. It works in blocks that fit a cache and allocates nothing that `scratch` does not keep.
A backend overrides what it does better: the compiled CPU and the GPU nearly all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpubp.backends.formulas.activations import ACTIVATIONS
from gpubp.backends.formulas.categories import ArrayCategories
from gpubp.backends.formulas.embeddings import ArrayEmbeddings
from gpubp.backends.formulas.entries import Activation
from gpubp.backends.formulas.gathering import take
from gpubp.backends.formulas.losses import KERNELS as LOSS_KERNELS
from gpubp.backends.formulas.mixing import ArrayMixing
from gpubp.backends.formulas.normalization import ArrayNormalization
from gpubp.backends.formulas.periodic import ArrayPeriodic
from gpubp.backends.formulas.updates import UPDATES
from gpubp.backends.random import generator
from gpubp.backends.scheduled import SETTINGS, Number, value_of
from gpubp.backends.scratch import Array, Scratch

# Places in a clock and in a scaling, as in kernels/steps.cuh.
STEP, BATCH, NEXT = 0, 1, 3
OVERFLOWED = 1
# Elements a pass works on at a time: five float32 temporaries of this length fit a 1 MiB L2 cache.
BLOCK = 32768


class ArrayOperations(
    ArrayNormalization, ArrayCategories, ArrayEmbeddings, ArrayPeriodic, ArrayMixing
):
    """What `gpubp.backends.protocol` says of operations, for arrays of NumPy and of CuPy."""

    xp: Any

    def convert(self, array: Array, out: Array) -> None:
        out[...] = array

    def gather(self, array: Array, rows: Array, out: Array, scale: float, scratch: Scratch) -> None:
        same = array.dtype == out.dtype
        taken = out if same else scratch("gather", out.shape, array.dtype)
        self._gather(array, rows, taken, out, scale)

    def gather_batch(
        self, array: Array, order: Array, clock: Array, batch: int, scale: float, out: Array
    ) -> None:
        start = int(clock[BATCH]) * batch
        rows = order[start : start + len(out)]
        same = array.dtype == out.dtype
        self._gather(array, rows, out if same else np.empty_like(out, array.dtype), out, scale)

    def all_finite(self, array: Array) -> bool:
        with np.errstate(over="ignore", invalid="ignore"):
            # one pass without an array of booleans; the sum of finite values may overflow
            return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())

    def multiply(self, a: Array, b: Array, out: Array, scale: float = 1.0) -> None:
        np.dot(a, b, out=out)
        if scale != 1:
            out *= scale

    def add(self, a: Array, b: Array, out: Array) -> None:
        np.add(a, b, out=out)

    def activate(self, name: str, z: Array, bias: Array, y: Array, scratch: Scratch) -> None:
        np.add(z, bias, out=z)
        activation = ACTIVATIONS[name]
        if activation.whole_rows:
            activation.forward(z, y, scratch)
        else:
            _in_blocks(activation.forward, (z, y), (), scratch)

    def activate_backward(
        self, name: str, kept: Array, dy: Array, dz: Array, dbias: Array, scratch: Scratch
    ) -> None:
        activation = ACTIVATIONS[name]
        if activation.whole_rows:
            activation.derivative(kept, dy, dz, scratch)
        else:
            _in_blocks(_times_derivative(activation), (kept, dy, dz), (), scratch)
        np.sum(dz, axis=0, out=dbias)

    def loss(
        self,
        name: str,
        parameter: Number,
        y: Array,
        expected: Array,
        dy: Array,
        mean: Array,
        scratch: Scratch,
        weighting: tuple[Array, Array] | None = None,
        scaling: Array | None = None,
    ) -> None:
        rows = scratch("row loss", y.shape[:1], y.dtype)
        LOSS_KERNELS[name].function(y, expected, dy, rows, value_of(parameter), scratch)
        if weighting is None:
            np.sum(rows, out=mean)
            dy /= len(y)
            mean /= len(y)
            return
        weights, total = weighting
        np.sum(weights, out=total)
        shares = scratch("row share", weights.shape, weights.dtype)
        np.divide(weights, total if total > 0 else 1, out=shares)
        rows *= shares
        np.sum(rows, out=mean)
        dy *= shares[:, None]

    def draw(self, seed: int, stream: int, step: int, numbers: Array) -> None:
        """Write the float32 numbers from 0 to below 1 that dropout of a key goes by."""
        drawn = generator(seed, stream, step).random(numbers.shape, np.float32)
        numbers[...] = self.xp.asarray(drawn)

    def dropout(
        self, x: Array, y: Array, rate: Number, key: tuple[int, int, Any], scratch: Scratch
    ) -> None:
        numbers = scratch("dropout", x.shape, np.dtype(np.float32))
        seed, stream, step = key
        number = step if isinstance(step, int) else int(step[STEP])
        self.draw(seed, stream, number, numbers)
        dropped = scratch("dropped", x.shape, np.dtype(bool))
        share = np.float32(value_of(rate))
        np.less(numbers, share, out=dropped)
        kept_share = x.dtype.type(1) - x.dtype.type(share)  # as the kernel rounds it
        np.divide(x, kept_share, out=y)
        np.copyto(y, 0, where=dropped)

    def penalize(
        self,
        weight: Array,
        dweight: Array,
        l1: float,
        l2: float,
        scratch: Scratch,
        scaling: Array | None = None,
        per: Array | None = None,
    ) -> None:
        change = scratch("penalty", weight.shape, weight.dtype)
        for factor, gradient in ((l2, np.positive), (l1, np.sign)):
            if factor:
                gradient(weight, out=change)
                change *= factor if per is None else _share(factor, per)
                dweight += change

    def add_squares(
        self,
        weights: Sequence[Array],
        factor: float,
        per: Array,
        mean: Array,
        scratch: Scratch,
        scaling: Array | None = None,
    ) -> None:
        squares = sum(float(np.vdot(weight, weight)) for weight in weights)
        mean += _share(factor, per) * squares

    def clip(self, gradients: Array, limit: float, scaling: Array | None = None) -> None:
        np.clip(gradients, -limit, limit, out=gradients)

    def clip_norm(
        self, gradients: Array, limit: float, scratch: Scratch, scaling: Array | None = None
    ) -> None:
        squares = scratch("squares", gradients.shape, gradients.dtype)
        np.multiply(gradients, gradients, out=squares)
        norm = float(squares.sum(dtype=np.float64)) ** 0.5
        if norm > limit:
            gradients *= limit / norm

    def accumulate(self, gradients: Array, share: float, first: bool, total: Array) -> None:
        gradients *= share
        np.add(0 if first else total, gradients, out=total)

    def average(
        self,
        values: Array,
        decay: float,
        mean: Array,
        scratch: Scratch,
        scaling: Array | None = None,
    ) -> None:
        if scaling is not None and scaling[OVERFLOWED] != 0:
            return
        change = scratch("accumulated", values.shape, values.dtype)
        np.subtract(values, mean, out=change)
        change *= 1 - decay
        mean += change

    def limit_norms(self, weight: Array, limit: float, scratch: Scratch) -> None:
        squares = scratch("penalty", weight.shape, weight.dtype)
        norms = scratch("norms", weight.shape[1:], weight.dtype)
        np.multiply(weight, weight, out=squares)
        np.sum(squares, axis=0, out=norms)
        np.sqrt(norms, out=norms)
        np.maximum(norms, limit, out=norms)
        np.divide(limit, norms, out=norms)
        weight *= norms

    def find_overflow(self, values: Array, scaling: Array) -> None:
        if not self.all_finite(values):
            scaling[OVERFLOWED] = 1

    def update(
        self,
        name: str,
        gradients: Array,
        parameters: Array,
        state: tuple[Array, ...],
        settings: Array,
        clock: Array,
        scaling: Array,
        half: Array | None,
        scratch: Scratch,
        span: tuple[int, int] | None = None,
    ) -> None:
        if scaling[OVERFLOWED] == 0:
            scalars = tuple(map(float, settings[int(clock[SETTINGS])]))
            gradients, parameters, *arrays = spanned((gradients, parameters, *state), span)
            self.update_now(name, gradients, parameters, tuple(arrays), scalars, scratch)

    def update_now(
        self,
        name: str,
        gradients: Array,
        parameters: Array,
        state: tuple[Array, ...],
        scalars: tuple[float, ...],
        scratch: Scratch,
    ) -> None:
        _in_blocks(UPDATES[name].function, (gradients, parameters, *state), scalars, scratch)

    def finish_step(
        self,
        mean: Array,
        losses: Array,
        clock: Array,
        scaling: Array,
        growth: int,
        updated: bool = True,
    ) -> None:
        losses[int(clock[BATCH])] = mean
        clock[STEP] += 1
        clock[BATCH] += 1
        if updated:
            clock[SETTINGS] += 1
            scaling[OVERFLOWED] = 0
        clock[NEXT:] = clock[:NEXT]

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        function(*arguments)

    def _gather(self, array: Array, rows: Array, taken: Array, out: Array, scale: float) -> None:
        """Write rows, times `scale`, into `out`, by way of `taken` where that is another array."""
        take(array, rows, taken, axis=0)
        if taken is not out:
            np.copyto(out, taken)
        if scale != 1:
            out *= scale


def spanned(arrays: Sequence[Array], span: tuple[int, int] | None) -> Sequence[Array]:
    """Return the part of flat arrays from the first number of a span to before its second."""
    return arrays if span is None else [array[slice(*span)] for array in arrays]


def _share(factor: float, per: Array) -> float:
    return factor / float(per) if per > 0 else 0.0


def _times_derivative(activation: Activation) -> Callable[..., None]:
    """Return the function that writes dx = f' dy, where dx may be dy."""

    def backward(kept: Array, dy: Array, dx: Array, temporary: Callable[[int], Array]) -> None:
        slope = temporary(3)
        activation.derivative(kept, slope, temporary)
        np.multiply(dy, slope, out=dx)

    return backward


def _in_blocks(
    function: Callable[..., None],
    arrays: tuple[Array, ...],
    scalars: tuple[float, ...],
    scratch: Scratch,
) -> None:
    """Call ``function(*blocks, *scalars, temporaries)`` on slices short enough to stay in cache."""
    flat = _flatten(arrays)
    size = flat[0].size
    dtype = flat[0].dtype
    for start in range(0, size, BLOCK):
        length = min(BLOCK, size - start)

        def temporaries(number: int, length: int = length) -> Array:
            return scratch(f"block {number}", (BLOCK,), dtype)[:length]

        if length == size:
            function(*flat, *scalars, temporaries)
        else:
            blocks = _slices(flat, start, start + length)
            function(*blocks, *scalars, temporaries)


def _flatten(arrays: tuple[Array, ...]) -> list[Array]:
    """Flatten the arrays to one dimension; one that comes twice stays one object."""
    seen = {id(array): array.reshape(-1) for array in arrays}
    return [seen[id(array)] for array in arrays]


def _slices(arrays: list[Array], start: int, stop: int) -> list[Array]:
    seen = {id(array): array[start:stop] for array in arrays}
    return [seen[id(array)] for array in arrays]
