"""Losses on a GPU: of each row by a warp, then their sum."""

from __future__ import annotations

from typing import Any

from gpubp.backends.gpu import loss_kernels
from gpubp.backends.gpu.elementwise import LANES
from gpubp.backends.gpu.kernel_table import SUM_GROUPS
from gpubp.backends.gpu.penalties import GROUP
from gpubp.backends.scheduled import Number, Scheduled
from gpubp.backends.scratch import Array, Scratch


class CupyLosses:
    """What the CuPy backend does for losses."""

    _kernels: dict[str, Any]
    _scaling: Array

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
        row_loss = scratch("row loss", (len(y),), y.dtype)
        self.row_losses(name, parameter, y, expected, dy, row_loss, scratch, weighting, scaling)
        self.add_up(row_loss, mean, scratch)

    def row_losses(
        self,
        name: str,
        parameter: Number,
        y: Array,
        expected: Array,
        dy: Array,
        losses: Array,
        scratch: Scratch,
        weighting: tuple[Array, Array] | None = None,
        scaling: Array | None = None,
    ) -> None:
        """Write each row's share of the mean loss, (rows,), and the gradient: see `loss`."""
        rows, columns = y.shape
        scheduled, given = self._of_loss(rows, parameter, scratch, weighting, scaling)
        kernels = loss_kernels.LOSS if weighting is None else loss_kernels.WEIGHTED_LOSS
        if scheduled:
            kernels = loss_kernels.SCHEDULED_LOSS[weighting is not None]
        self._kernels[kernels[name].name](
            *(y, expected, *given, columns, dy, losses), size=rows * LANES
        )

    def _of_loss(
        self,
        rows: int,
        parameter: Number,
        scratch: Scratch,
        weighting: tuple[Array, Array] | None,
        scaling: Array | None,
    ) -> tuple[bool, tuple[Any, ...]]:
        """Return whether a loss's setting is scheduled, and what its kernel reads besides rows."""
        shares: tuple[Any, ...] = (1.0 / max(rows, 1),)
        if weighting is not None:
            shares = weighting
            self.add_up(*weighting, scratch)
        scheduled = isinstance(parameter, Scheduled)
        own: tuple[Any, ...] = parameter if isinstance(parameter, Scheduled) else (parameter,)
        return scheduled, (*own, *shares, self._scaling if scaling is None else scaling)

    def add_up(self, values: Array, total: Array, scratch: Scratch) -> None:
        sums = self.grouped(values, scratch)
        self._kernels[SUM_GROUPS.name](sums, len(sums), len(sums), total, size=LANES)

    def grouped(self, values: Array, scratch: Scratch) -> Array:
        """Return sums of groups of the values, so few that one warp adds them up."""
        count = len(values)
        if count <= GROUP:
            return values
        groups = -(-count // GROUP)
        sums = scratch("groups", (groups,), values.dtype)
        add = self._kernels[SUM_GROUPS.name]
        add(values, count, GROUP, sums, size=groups * LANES)
        return sums
