"""Trainings dealt to the processes of an MPI job, which need not talk until all are done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gpubp.backends import Lockstep
from gpubp.distributed.communicator import Communicator
from gpubp.distributed.startup import asked_for
from gpubp.errors import ConfigurationError, DivergenceError, GpubpError, brief
from gpubp.training.agreement import check_alike
from gpubp.training.group import share_seed
from gpubp.training.side_by_side import Training, train_side_by_side


@dataclass(frozen=True)
class Deal:
    """Processes that share out trainings, and what they tell each other of each in the end.

    Attributes
    ----------
    processes : Communicator
        The processes.
    learnt : callable
        ``learnt(number)`` returns what the others need of a training that was done here.
    take_over : callable
        ``take_over(number, learnt)`` takes in what another process has done.
    """

    processes: Communicator
    learnt: Callable[[int], Any]
    take_over: Callable[[int, Any], None]


def processes_of(distributed: bool | Communicator, options: dict[str, Any]) -> Communicator | None:
    """Return the processes that share out the trainings; None for one process by itself.

    Raises
    ------
    ConfigurationError
        When an option is for processes that train one network together.
    DistributedError, MissingExtraError
        As `gpubp.distributed.communicator`.
    """
    for name in ("deterministic", "shards"):
        if options.get(name):
            raise ConfigurationError(
                f"{name} is {brief(options[name])}, and members are dealt to the processes whole,"
                " with the same bits for any number of them; no such option is needed"
            )
    return asked_for(distributed)


def begin_alike(processes: Communicator, nets: Sequence[Any], data: Any) -> None:
    """Have all networks begin with the seeds and the numbers that rank 0 has.

    Parameters
    ----------
    data
        What tells one's data apart from others: a shape or a fingerprint.

    Raises
    ------
    DistributedError
        When the processes were given different networks or data.
    """
    check_alike(processes, {"members": len(nets), "data": data})
    for net in nets:
        share_seed(net.stack, processes)
    check_alike(
        processes, {f"member {number}": net.spec.to_dict() for number, net in enumerate(nets)}
    )
    learnt_by_root = processes.share([net.learnt() for net in nets], "the first weights")
    for net, learnt in zip(nets, learnt_by_root, strict=True):
        net.take_over(learnt)


def train_dealt(
    deal: Deal | None,
    count: int,
    train: Training,
    workers: int,
    time_limit: float | None = None,
    undivided: bool = False,
    lockstep: Lockstep | None = None,
) -> list[DivergenceError | None]:
    """Do every P-th training here, and in the end know all; see `train_side_by_side`.

    Without a deal all trainings are done here.

    Raises
    ------
    DivergenceError
        When the loss of all became infinite, on every process.
    GpubpError, KeyboardInterrupt
        Of any process, on every process; each then knows what all have learnt.
    ConfigurationError
        When the time limit is no finite number above 0.
    """
    if deal is None:
        return train_side_by_side(count, train, workers, time_limit, undivided, lockstep)
    processes = deal.processes
    numbers = range(processes.rank, count, processes.size)
    failure_of: dict[int, DivergenceError | None] = {}  # of the trainings that began here
    error: GpubpError | KeyboardInterrupt | None = None

    def run(place: int, watch: Sequence[Any]) -> None:
        number = numbers[place]
        failure_of[number] = None
        try:
            train(number, watch)
        except DivergenceError as diverged:
            failure_of[number] = diverged

    try:
        if numbers:
            at_a_time = min(workers, len(numbers))
            train_side_by_side(len(numbers), run, at_a_time, time_limit, undivided, lockstep)
    except (GpubpError, KeyboardInterrupt) as raised:
        error = raised
    except BaseException:
        processes.left_alone = True
        raise
    try:
        processes.wait_for_all()
    except KeyboardInterrupt as raised:
        error = error or raised
    done_here = [(number, deal.learnt(number), failure) for number, failure in failure_of.items()]
    of_ranks = processes.collect((done_here, error), "what was learnt", patient=True)
    failures: list[DivergenceError | None] = [None] * count
    for rank, (done, _) in enumerate(of_ranks):
        for number, what_it_learnt, failure in done:
            failures[number] = failure
            if rank != processes.rank:
                deal.take_over(number, what_it_learnt)
    errors = [error_of_rank for _, error_of_rank in of_ranks if error_of_rank is not None]
    if errors or all(failures):
        first: Any = [*errors, *failures][0]
        first.everywhere = True
        raise first
    return failures
