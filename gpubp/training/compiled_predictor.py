"""Outputs for a fixed number of rows, by a forward pass that is prepared once."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.backends.interchange import give_back
from gpubp.data.batches import check_finite, take_inputs
from gpubp.data.feeds import read_rows
from gpubp.errors import ShapeError
from gpubp.nn.backprop import LayerStack
from gpubp.nn.buffers import Buffers


class CompiledPredictor:
    """A function of so many rows; `Network.compiled` makes one.

    Where the backend can, the pass is one call of compiled code or one replay of a recording. It
    reads the parameters where they lie, so it follows further training. One thread at a time may
    call it, since its arrays are its own and those of every call.
    """

    def __init__(self, stack: LayerStack, rows: int) -> None:
        backend = stack.backend
        self.rows = rows
        self._stack = stack
        self._x = backend.empty((rows, stack.sizes[0]), stack.stored)
        self._x.fill(0)  # preparing may compute with it
        self._buffers = Buffers(rows, stack.layers, backend, stack.dtype, stack.stored)
        self._run = backend.record(lambda ops: stack.forward(ops, self._x, self._buffers))

    def __call__(self, x: Any) -> Any:
        """Return the outputs (rows, outputs) for inputs (rows, inputs), `predict`'s up to rounding.

        Raises
        ------
        ShapeError, DataError, NonFiniteError, DeviceError
            When x cannot be used, or has another number of rows.
        """
        stack = self._stack
        with stack.backend.on_device():
            if self._lies_as_needed(x):
                check_finite(x, stack, "x")
                inputs = x
            else:
                inputs = self._read(x)
            self._x[...] = inputs
            stack.refresh()
            self._run(1)
            return give_back(self._buffers.output.copy(), stack.backend, x)

    def _lies_as_needed(self, x: Any) -> bool:
        own = self._x
        same = type(x) is np.ndarray is type(own) and x.shape == own.shape and x.dtype == own.dtype
        return same and self._stack.input_scale == 1 and x.flags.c_contiguous

    def _read(self, x: Any) -> Any:
        inputs = take_inputs(self._stack, x)
        if len(inputs) != self.rows:
            raise ShapeError(f"x has {len(inputs)} rows; compiled(rows={self.rows}) needs as many")
        return read_rows(self._stack, inputs)
