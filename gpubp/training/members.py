"""What the training of many networks at once asks of its members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpubp.data.batches import checked_batch_size
from gpubp.data.fingerprint import fingerprint_of_rows, sampled_rows
from gpubp.data.protocol import Dataset
from gpubp.training.backend_choice import Workload, workload
from gpubp.training.checkpoints import resumable
from gpubp.training.settings import TrainingSettings

COPIES = 4  # of what a member takes on a GPU, with the parameters to go back to and the best ones


class Members:
    """Networks of one shape, and what each is to be trained with.

    Parameters
    ----------
    networks : sequence of Network
    options : sequence of dict
        For each what `Network.fit` is given besides the data.
    """

    def __init__(self, networks: Sequence[Any], options: Sequence[dict[str, Any]]) -> None:
        self.networks, self.options = networks, options

    @property
    def backend(self) -> Any:
        """Where the arrays of all of them live."""
        return self.networks[0].backend

    def workload(self, x: Any, y: Any) -> Workload | None:
        """Return what the steps of all members do, as the first one is trained."""
        first = self.options[0]
        together = self.networks[:1] if isinstance(x, Dataset) else self.networks
        settings = {name: first[name] for name in TrainingSettings.GIVEN if name in first}
        weighted = first["sample_weight"] is not None or first.get("class_weight") is not None
        rows = first.get("rows")
        return workload(
            [net.spec for net in together],
            TrainingSettings.of(self.networks[0].output, **settings),
            (x, y, first["sample_weight"], first.get("validation")),
            first.get("batch_size"),
            weighted,
            None if rows is None else np.size(rows),
        )

    def at_once(self, rows: int) -> int:
        """Return how many a GPU's memory holds while they train on so many rows, at least one."""
        first, options = self.networks[0], self.options
        largest = max(checked_batch_size(one.get("batch_size"), rows) for one in options)
        plan = first.memory_plan(largest, options[0].get("optimizer") or "adam")
        of_one = COPIES * (plan.total - plan.workspace)
        return max(1, int(self.backend.free_memory() // max(of_one, 1)))

    def fingerprint(self, x: Any) -> str:
        """Return what tells inputs, as the networks read them, from others."""
        if isinstance(x, Dataset):
            return x.fingerprint()
        with self.backend.on_device():
            return fingerprint_of_rows([x], sampled_rows(x.shape[0]), self.backend)

    def learnt(self, number: int) -> tuple[Any, list[Any]]:
        """Return what other processes need of a member that was trained here."""
        net = self.networks[number]
        memories = [one.get_state(net) for one in resumable(self.options[number]["callbacks"])]
        return net.learnt(), memories

    def take_over(self, number: int, learnt: tuple[Any, list[Any]]) -> None:
        """Take in what another process has done with a member."""
        net, (of_net, memories) = self.networks[number], learnt
        net.take_over(of_net)
        with_memory = resumable(self.options[number]["callbacks"])
        for one, memory in zip(with_memory, memories, strict=True):
            one.set_state(net, memory)
