"""How a step is done on a GPU: its operations joined, then recorded, alone or with others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any

from gpubp.backends.gpu import recording, tiled_steps
from gpubp.backends.gpu.addresses import Addresses
from gpubp.backends.gpu.branching import CupyBranching, with_branch
from gpubp.backends.gpu.choices import CupyChoices
from gpubp.backends.gpu.cublas import Cublas
from gpubp.backends.gpu.cublaslt import CublasLtError
from gpubp.backends.gpu.elementwise import Elementwise
from gpubp.backends.gpu.faster_steps import FasterSteps, written
from gpubp.backends.gpu.fusion import ended_with_update, fused, narrower
from gpubp.backends.gpu.joining import Joiner, likeness
from gpubp.backends.gpu.joint_steps import JointSteps
from gpubp.backends.gpu.lockstep import Lockstep, current_lockstep
from gpubp.backends.gpu.noting import NotJoinable, noted
from gpubp.backends.gpu.output_layer import with_output_layer
from gpubp.backends.gpu.recording import RecordedSteps, Recording
from gpubp.backends.precision import Precision
from gpubp.backends.program import Operation, all_products, carry_out, traced
from gpubp.backends.scratch import Array, Scratch

# of a device; one serves all networks, from any thread
cublas = cache(lambda index: Cublas())


class CupyRecording(CupyBranching, CupyChoices):
    """How the CuPy backend does training steps."""

    index: int
    precision: Precision
    notes: list[str]
    kernel: Callable[[Elementwise], Any]
    on_device: Callable[[], AbstractContextManager[Any]]
    has_matrix_units: bool
    _joiner: Joiner | None = None

    def planned(self, work: Callable[[Any], None]) -> None:
        """Return None: a pass over many rows takes longer than asking for its kernels."""

    def lockstep(self) -> Lockstep:
        """Return what does trainings on this device together."""
        stream = self.xp.cuda.get_current_stream()
        return Lockstep(self.index, self.on_device, stream, self.notes.append)

    def addresses(self, arrays: Sequence[Array]) -> Addresses | None:
        if current_lockstep() is not None or not Addresses.possible(arrays):
            return None
        return Addresses(self.xp, arrays)

    def record(
        self,
        work: Callable[[Any], None],
        parameters: Array = None,
        half: Array | None = None,
        addresses: Addresses | None = None,
    ) -> RecordedSteps | FasterSteps | JointSteps:
        separate = traced(work)
        if addresses is not None:
            separate = addresses.instead(separate)
        operations = fused(separate, narrower(parameters, half))
        together = current_lockstep()
        if together is not None:
            try:
                return self._joint(together, operations, separate)
            except (NotJoinable, OSError, CublasLtError) as reason:
                together.tell(str(reason))
        return self._alone(operations, separate)

    def _joint(
        self, together: Lockstep, operations: list[Operation], separate: list[Operation]
    ) -> JointSteps:
        """Return steps that are done together with others; raise where they cannot be."""
        if self._products is None:
            raise NotJoinable(self.notes[0])
        if self._joiner is None:
            self._joiner = Joiner(
                self.xp, self.kernel, cublas(self.index), self._products.workspace, self.precision
            )
        return JointSteps(
            together,
            noted(self, ended_with_update(operations)),
            self._joiner,
            self._recording,
            several=all_products(separate) <= recording.SMALL_STEP,
            alone=partial(self._alone, operations, separate),
        )

    def _alone(
        self, operations: list[Operation], separate: list[Operation]
    ) -> RecordedSteps | FasterSteps:
        size = all_products(separate)
        several = size <= recording.SMALL_STEP
        ways = {"products": self._recorded(self._with_products(operations), several)}
        tiled = self._tiled(operations) if size <= tiled_steps.LARGEST else None
        if tiled is None or self._tuner is None:
            return ways["products"]
        try:
            launches = noted(self, ended_with_update(operations))
        except NotJoinable:  # what a step writes is not known, so that a trial could not be undone
            return ways["products"]
        ways["tiles"] = self._recorded(tiled, several)
        key = f"steps {' '.join(str(likeness(one)) for one in launches)}"
        return FasterSteps(ways, written(launches), self._tuner, key)

    def _with_products(self, operations: list[Operation]) -> list[Operation]:
        """Return a step whose products are the library's."""
        operations = ended_with_update(with_output_layer(operations, self._together_pays))
        return with_branch(operations, Scratch(self.xp), self._branch_pays)

    def _tiled(self, operations: list[Operation]) -> list[Operation] | None:
        """Return a step by tiles; None where there can be none."""
        if not self.has_matrix_units:
            return None
        together = with_output_layer(operations, lambda apart, one_kernel: True)
        step = ended_with_update(tiled_steps.with_slopes(together))
        return tiled_steps.with_gradients_together(step)

    def _recorded(self, operations: list[Operation], several: bool) -> RecordedSteps:
        return RecordedSteps(self._recording, partial(carry_out, self, operations), several)

    def _recording(self, steps: Callable[[], None]) -> Recording:
        reason = "" if self._products else self.notes[0]
        lend = self.lend if self._products else nullcontext
        return Recording(self.xp, steps, reason, self.notes.append, lend)
