"""Activations with a trained mixing factor: the specification of `kernels/mixing.cuh`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpubp.backends.formulas.activations import ACTIVATIONS
from gpubp.backends.scratch import Array, Scratch


class ArrayMixing:
    """See `gpubp.backends.protocol.Mixing`."""

    activate: Callable[..., Any]
    activate_backward: Callable[..., Any]

    def mix(
        self, name: str, z: Array, bias: Array, factor: Array, y: Array, scratch: Scratch
    ) -> None:
        self.activate(name, z, bias, y, scratch)
        y -= z
        y *= factor
        y += z

    def mix_backward(
        self,
        name: str,
        z: Array,
        factor: Array,
        dy: Array,
        dz: Array,
        dbias: Array,
        dfactor: Array,
        scratch: Scratch,
    ) -> None:
        f, slope = (scratch(f"mixing {array}", z.shape, z.dtype) for array in ("f", "slope"))
        none = scratch("no bias", factor.shape, factor.dtype)
        none.fill(0)
        self.activate(name, z, none, f, scratch)
        self.activate_backward(
            name, z if ACTIVATIONS[name].keeps == "x" else f, dy, slope, dbias, scratch
        )
        f -= z
        f *= dy
        np.sum(f, axis=0, out=dfactor)
        slope -= dy
        slope *= factor
        np.add(dy, slope, out=dz)
        np.sum(dz, axis=0, out=dbias)
