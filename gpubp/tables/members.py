"""The networks that answer together for a table, trained side by side where they can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpubp.network import Network
from gpubp.tables.prepared import Prepared
from gpubp.tables.recipe import Recipe
from gpubp.tables.streamed import StreamedTable
from gpubp.training.backend_choice import Workload, faster_backend
from gpubp.training.dealt import Deal, train_dealt
from gpubp.training.settings import TrainingSettings
from gpubp.training.side_by_side import at_a_time

Training = Callable[[Network, int, Sequence[Any]], None]


def train_members(
    nets: Sequence[Network],
    train: Training,
    time_limit: float | None = None,
    side_by_side: bool = True,
    finished: Callable[[int], None] | None = None,
    deal: Deal | None = None,
) -> list[Network]:
    """Train all networks and return those that learnt something.

    On a CPU as many train at a time as there are processors, each on one; no bit of a result
    depends on it. On a GPU they train in lockstep; see `gpubp.Networks`.

    Parameters
    ----------
    nets : sequence of Network
    train : callable
        ``train(net, number, callbacks)`` trains one of them.
    time_limit : float or None
        Seconds for all of them. What is not begun by then is left out.
    side_by_side : bool
        Whether several may train at a time.
    finished : callable or None
        Called with the number of each network that is done here.
    deal : Deal or None
        The processes that the networks are dealt to; None trains all of them here.

    Raises
    ------
    ConfigurationError
        When the time limit is no finite number above 0.
    DivergenceError
        When the loss of every network became infinite; of some, and they are left out.
    KeyboardInterrupt
        After Ctrl-C; every network then keeps its best weights so far.
    DistributedError
        When processes that the networks are dealt to have others.
    """
    workers, lockstep = at_a_time(nets[0].backend, len(nets))

    def run(number: int, callbacks: Sequence[Any]) -> None:
        train(nets[number], number, callbacks)
        if finished is not None:
            finished(number)

    workers = workers if side_by_side else 1
    failures = train_dealt(deal, len(nets), run, workers, time_limit, lockstep=lockstep)
    pairs = zip(nets, failures, strict=True)
    return [net for net, failure in pairs if failure is None and has_learnt(net)]


def has_learnt(net: Network) -> bool:
    """Tell whether a network was trained, if only for a part of an epoch."""
    return bool(net.history.epochs or net.history.stopped)


def take_faster_backend(
    nets: Sequence[Network], prepared: Prepared | StreamedTable, recipe: Recipe
) -> None:
    """Move networks to the backend on which they train faster, all to the same one."""
    rows, streamed = prepared.rows("train"), isinstance(prepared, StreamedTable)
    task, validated = prepared.preprocessing.task, prepared.rows("validation") > 0
    settings = TrainingSettings.of(nets[0].output, **recipe.fit_settings(rows, task, validated))
    weighted = isinstance(prepared, Prepared) and prepared.weights is not None
    specs = tuple(net.spec for net in nets[: 1 if streamed else None])
    work = Workload(specs, rows, min(recipe.batch_size, rows), settings, weighted)
    chosen = faster_backend(nets[0].backend, work)
    if chosen is not nets[0].backend:
        for net in nets:
            net.to(chosen)
