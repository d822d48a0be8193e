"""How the networks for a table are trained: each on rows of its own, and what it held out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.data.fingerprint import fingerprint
from gpubp.distributed import Communicator
from gpubp.network import Network
from gpubp.tables.intervals import Residuals
from gpubp.tables.prepared import Prepared, forget, member_data
from gpubp.tables.recipe import LOSS, Recipe
from gpubp.tables.streamed import StreamedTable
from gpubp.training.callbacks import Callback
from gpubp.training.dealt import Deal, begin_alike


@dataclass
class TableTraining:
    """One training of the networks for a table.

    Attributes
    ----------
    checkpoint : path or None
        A folder for the checkpoints, of several networks one in it for each.
    settings : dict
        Further ones of `Network.fit`.
    together : Communicator or None
        The processes that train each network together.
    """

    nets: Sequence[Network]
    prepared: Prepared | StreamedTable
    recipe: Recipe
    checkpoint: str | os.PathLike[str] | None
    callbacks: Sequence[Callback]
    settings: dict[str, Any]
    together: Communicator | None = None
    _held: dict[int, NDArray[Any]] = field(default_factory=dict)  # answers for held-out rows

    @property
    def _task(self) -> str:
        return self.prepared.preprocessing.task

    def fit(self, net: Network, member: int, watch: Sequence[Any], **settings: Any) -> None:
        """Train one of the networks; with validation rows it stops early on them.

        Parameters
        ----------
        net : Network
        member : int
            Its number.
        watch : sequence of Callback
            What looks at this training besides.
        settings : dict
            Those of `Network.fit` that are not for the training on all rows after it.
        """
        recipe = self.recipe
        train, validation, rows = member_data(self.prepared, member)
        stopping = recipe.stopping()
        folder = self.checkpoint
        if folder is not None and len(self.nets) > 1:
            folder = os.path.join(folder, f"member-{member}")
        net.fit(
            **train,
            **recipe.fit_settings(rows, self._task, validated=validation is not None),
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            validation=validation,
            callbacks=[*self.callbacks, *watch, *([] if validation is None else [stopping])],
            metrics=() if recipe.metric == LOSS else recipe.metric,
            checkpoint=folder,
            distributed=self.together or False,
            **settings,
            **self.settings,
        )
        if isinstance(self.prepared, StreamedTable) or validation is None:
            return
        if self._task == "regression":
            self._held[member] = net.predict(validation[0])
        best = stopping.best_epoch
        if self.together is not None:  # callbacks are those of rank 0 alone
            best = self.together.share(best, "the best epoch")
        if recipe.refit and best:
            self._fit_again(net, self.prepared.whole(), best, watch)

    def _fit_again(self, net: Network, whole: Prepared, epochs: int, watch: Sequence[Any]) -> None:
        """Train from the beginning on all rows, for as many epochs as were best."""
        fresh = Network(**net.spec.to_dict(), backend=net.backend)
        forget(fresh, whole.unused())
        train, _, rows = member_data(whole, 0)
        fresh.fit(
            **train,
            **self.recipe.fit_settings(rows, self._task, validated=False),
            epochs=epochs,
            batch_size=self.recipe.batch_size,
            callbacks=watch,
            **self.settings,
        )
        if not fresh.history.stopped:  # else there was no time for it
            net.parameters[...] = fresh.parameters

    def deal(self, processes: Communicator) -> Deal | None:
        """Return what deals the networks to processes.

        None where there are too few of them, or the table is read a part at a time.
        """
        prepared, nets = self.prepared, self.nets
        if isinstance(prepared, StreamedTable) or processes.size > len(nets):
            return None

        def learnt(member: int) -> Any:
            return nets[member].learnt(), self._held.get(member)

        def take_over(member: int, learnt_there: Any) -> None:
            of_net, held = learnt_there
            nets[member].take_over(of_net)
            if held is not None:
                self._held[member] = held

        begin_alike(processes, nets, fingerprint([prepared.x, prepared.y]))
        return Deal(processes, learnt, take_over)

    def residuals(self) -> tuple[Residuals, ...]:
        """Return for each output how far the numbers were off in rows that were held out."""
        prepared = self.prepared
        if isinstance(prepared, StreamedTable) or not self._held:
            return ()
        rows = len(prepared.x)
        total, count = np.zeros((rows, prepared.preprocessing.outputs)), np.zeros(rows)
        for member, answers in self._held.items():
            held = prepared.member_rows(member)[1]
            total[held] += answers
            count[held] += 1
        known = count > 0
        answered, expected = total[known] / count[known, None], prepared.y[known]
        return tuple(map(Residuals.of, answered.T, expected.T))
