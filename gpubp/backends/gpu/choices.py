"""Which of two forms a step takes on a GPU: the faster one, found by timing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from gpubp.backends.gpu.branching import branch_key
from gpubp.backends.gpu.dense import DenseLayers
from gpubp.backends.gpu.output_layer import output_key
from gpubp.backends.gpu.tuning import Tuner
from gpubp.backends.program import Operation, carry_out


class CupyChoices:
    """What the CuPy backend finds out about the operations of a step."""

    _dense: DenseLayers
    _tuner: Tuner | None

    def _together_pays(self, apart: Sequence[Operation], together: Sequence[Operation]) -> bool:
        """Tell whether one kernel for a narrow output layer is the faster way."""
        return self._pays(output_key(together), apart=apart, together=together)

    def _branch_pays(self, in_order: Sequence[Operation], branched: Sequence[Operation]) -> bool:
        """Tell whether gradients of weights are faster beside the way down."""
        return self._pays(branch_key(in_order), in_order=in_order, branched=branched)

    def _pays(self, key: str, **ways: Sequence[Operation]) -> bool:
        """Tell whether the second of two ways is the faster one."""
        if self._tuner is None:
            return False
        calls = {name: partial(carry_out, self, way) for name, way in ways.items()}
        return self._tuner.choose(key, calls) == list(ways)[1]
