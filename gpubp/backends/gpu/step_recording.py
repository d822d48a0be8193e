"""How a step is done on a GPU: its operations joined, then recorded, alone or with others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any

from gpubp.backends.gpu import persistent, recording
from gpubp.backends.gpu.addresses import Addresses
from gpubp.backends.gpu.branching import CupyBranching, with_branch
from gpubp.backends.gpu.choices import CupyChoices
from gpubp.backends.gpu.cublas import Cublas
from gpubp.backends.gpu.cublaslt import CublasLtError
from gpubp.backends.gpu.elementwise import Elementwise
from gpubp.backends.gpu.fusion import ended_with_update, fused, narrower, with_masks
from gpubp.backends.gpu.joining import Joiner
from gpubp.backends.gpu.lockstep import JointSteps, Lockstep, current_lockstep
from gpubp.backends.gpu.noting import NotJoinable, noted
from gpubp.backends.gpu.output_layer import with_output_layer
from gpubp.backends.gpu.recording import RecordedSteps, Recording
from gpubp.backends.gpu.sources import preamble
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
    has_clusters: bool
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
    ) -> RecordedSteps | JointSteps:
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

    def _alone(self, operations: list[Operation], separate: list[Operation]) -> RecordedSteps:
        plain = ended_with_update(operations)
        masked = with_masks(operations, self._mask_pays)
        operations = ended_with_update(with_output_layer(operations, masked, self._together_pays))
        operations = with_branch(operations, Scratch(self.xp), self._branch_pays)
        size = all_products(separate)
        step = partial(carry_out, self, operations)
        recorded = self._recording, step, size <= recording.SMALL_STEP
        # a step that does not count itself on cannot be followed by another in the same launch
        counts = plain[-1].name == "last_update" and self.has_clusters
        if self._tuner is None or not counts or size > persistent.LARGEST:
            return RecordedSteps(*recorded)
        try:
            steps = persistent.PersistentSteps(self.xp, preamble(), noted(self, plain))
        except NotJoinable:
            return RecordedSteps(*recorded)
        return persistent.FasterSteps(*recorded, steps, self._tuner)

    def _recording(self, steps: Callable[[], None]) -> Recording:
        reason = "" if self._products else self.notes[0]
        lend = self.lend if self._products else nullcontext
        return Recording(self.xp, steps, reason, self.notes.append, lend)
