"""What begins and ends a training step on a GPU: its batch, and the optimizer's update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpubp.backends.formulas.operations import spanned
from gpubp.backends.gpu import kernel_table as table
from gpubp.backends.gpu.addresses import by_address
from gpubp.backends.gpu.elementwise import Elementwise
from gpubp.backends.scratch import Array, Scratch


class CupySteps:
    """What the CuPy backend does for batches and updates."""

    xp: Any
    _kernels: dict[str, Any]
    _clock: Array
    _scaling: Array
    grouped: Callable[[Array, Scratch], Array]
    asarray: Callable[..., Array]
    kernel: Callable[[Elementwise], Any]

    def gather(self, array: Array, rows: Array, out: Array, scale: float, scratch: Scratch) -> None:
        self.gather_batch(array, rows, self._clock, len(rows), scale, out)

    def gather_batch(
        self, array: Array, order: Array, clock: Array, batch: int, scale: float, out: Array
    ) -> None:
        columns = out.size // max(len(out), 1)
        given = (array, order, clock, batch, columns, scale, out)
        self._gather_by(table.GATHER, given, out.size)

    def first_gather(
        self,
        x: Array,
        y: Array,
        order: Array,
        clock: Array,
        batch: int,
        scale: float,
        x_out: Array,
        y_out: Array,
    ) -> None:
        """Move the clock to the step to come and gather its batch, x times `scale`, and y."""
        columns, own = (out.size // max(len(out), 1) for out in (x_out, y_out))
        kernel, split = table.FIRST_GATHER, x_out.size
        if columns % 4 == 0:
            kernel, split = table.FIRST_GATHER_FOURS, split // 4
        given = (x, y, order, batch, columns, own, scale, split, x_out, y_out, clock)
        self._gather_by(kernel, given, split + y_out.size)

    def _gather_by(self, kernel: Elementwise, given: tuple[Any, ...], size: int) -> None:
        """Gather from arrays, which may be known by their addresses."""
        kernel, given = by_address(kernel, given)
        if kernel.name not in self._kernels:
            self._kernels[kernel.name] = self.kernel(kernel)
        self._kernels[kernel.name](*given, size=size)

    def shuffle(self, seed: int, stream: int, epoch: int, order: Array) -> None:
        mask = (1 << (len(order) - 1).bit_length()) - 1
        keys = order.view(np.uint64)
        key = (np.uint64(number) for number in (seed, stream, epoch, mask))
        self._kernels[table.SHUFFLE_KEYS.name](*key, keys)
        keys.sort()
        self.xp.bitwise_and(keys, np.uint64(mask), out=keys)

    def accumulate(self, gradients: Array, share: float, first: bool, total: Array) -> None:
        self._kernels[table.ACCUMULATE.name](gradients, share, int(first), total)

    def average(
        self,
        values: Array,
        decay: float,
        mean: Array,
        scratch: Scratch,
        scaling: Array | None = None,
    ) -> None:
        scaling = self._scaling if scaling is None else scaling
        self._kernels[table.AVERAGE.name](values, decay, scaling, mean)

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
        kernels = table.UPDATE if half is None else table.UPDATE_HALF
        gradients, *outputs = _updated(gradients, parameters, state, half, span)
        self._kernels[kernels[name].name](gradients, settings, clock, scaling, *outputs)

    def last_update(
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
        span: tuple[int, int] | None,
        losses: Array,
        noted: Array,
    ) -> None:
        """Do an update and end the step: see `update`, and `fusion.ended_with_update`.

        Parameters
        ----------
        losses : array
            Numbers whose sum is the mean loss.
        noted : array
            Where the mean loss of each batch of an epoch goes.
        """
        kernels = table.LAST_UPDATE if half is None else table.LAST_UPDATE_HALF
        gradients, *outputs = _updated(gradients, parameters, state, half, span)
        sums = self.grouped(losses, scratch)
        self._kernels[kernels[name].name](
            *(gradients, settings, clock, scaling, sums, len(sums)),
            *(*outputs, noted, clock),
        )

    def update_now(
        self,
        name: str,
        gradients: Array,
        parameters: Array,
        state: tuple[Array, ...],
        scalars: tuple[float, ...],
        scratch: Scratch,
    ) -> None:
        settings = self.asarray(np.array(scalars))
        self.update(
            *(name, gradients, parameters, state, settings, self._clock, self._scaling, None),
            scratch,
        )

    def find_overflow(self, values: Array, scaling: Array) -> None:
        self._kernels[table.FIND_OVERFLOW.name](values, scaling)

    def finish_step(
        self,
        mean: Array,
        losses: Array,
        clock: Array,
        scaling: Array,
        growth: int,
        updated: bool = True,
    ) -> None:
        self._kernels[table.FINISH_STEP.name](
            mean, growth, int(updated), losses, clock, scaling, size=1
        )


def _updated(
    gradients: Array,
    parameters: Array,
    state: tuple[Array, ...],
    half: Array | None,
    span: tuple[int, int] | None,
) -> Sequence[Array]:
    """Return the span of gradients and of all that an update writes, in the kernels' order."""
    copy = () if half is None else (half,)
    return spanned((gradients, parameters, *state, *copy), span)
