"""The processes of a training, and which shards of every batch are one's own."""

from __future__ import annotations

from dataclasses import dataclass

from gpubp.backends.cpu.threads import use_threads
from gpubp.data.feeds import Feed
from gpubp.data.shards import Shards, shards_of
from gpubp.distributed.communicator import Communicator
from gpubp.distributed.startup import asked_for
from gpubp.errors import ConfigurationError, brief
from gpubp.nn.backprop import LayerStack
from gpubp.nn.parameter_layout import HEADER
from gpubp.training.settings import TrainingSettings

SHARDS = 8  # where their number decides about the numbers of a training, and so must not follow P


@dataclass(frozen=True)
class Group:
    """The processes that train a network together.

    Attributes
    ----------
    communicator : Communicator
        The communicator that joins them.
    shards : Shards
        One's own part of every batch.
    deterministic : bool
        Whether any number of processes gives the same bits.
    """

    communicator: Communicator
    shards: Shards
    deterministic: bool = False

    def described(self) -> dict[str, object]:
        """Return what must be the same when a training goes on, if it is to give the same bits."""
        return {"shards": self.shards.count} if self.deterministic else {}


def group_of(
    communicator: Communicator, shards: int | None, deterministic: bool, streamed: bool
) -> Group:
    """Return the group of these processes.

    Parameters
    ----------
    shards : int or None
        Parts of every batch; None for 8, or as many as processes where these are more, or where
        their number changes nothing but rounding.
    streamed : bool
        Whether the data are read by shards.

    Raises
    ------
    ConfigurationError
        When there are fewer shards than processes.
    """
    size = communicator.size
    count = shards
    if count is None:
        count = max(SHARDS, size) if deterministic or streamed else size
    if isinstance(count, bool) or not isinstance(count, int) or count < size:
        raise ConfigurationError(
            f"shards is {brief(count)} for {size} processes; a whole number of at least {size}"
            " is needed"
        )
    if deterministic:
        use_threads(1)  # products of several threads have other bits than those of one
    return Group(communicator, shards_of(communicator.rank, size, count), deterministic)


def joined(
    distributed: bool | Communicator, deterministic: bool, shards: int | None, streamed: bool
) -> Group | None:
    """Return the group that `Network.fit` was asked for; None for one process by itself.

    Raises
    ------
    ConfigurationError, DistributedError, MissingExtraError
        When a setting is for groups alone, and as `group_of` and `communicator`.
    """
    processes = asked_for(distributed)
    if processes is None:
        if deterministic or shards is not None:
            raise ConfigurationError(
                "deterministic and shards are for distributed training; distributed=True is needed"
            )
        return None
    return group_of(processes, shards, deterministic, streamed)


def share_seed(stack: LayerStack, communicator: Communicator) -> None:
    """Take rank 0's seed where no one chose this process's own."""
    seed = communicator.share(stack.seed, "the seed")
    if stack.spec.seed_drawn and seed != stack.seed:
        stack.use_seed(seed)


def check_possible(stack: LayerStack, feed: Feed, settings: TrainingSettings, group: Group) -> None:
    """Refuse what processes cannot do together.

    Raises
    ------
    ConfigurationError
        Says what to do instead.
    """
    if "batch" in stack.spec.normalization:
        raise ConfigurationError(
            "distributed training with normalization='batch', whose moments are those of one"
            " process's rows; 'layer' is needed"
        )
    on_gpu = {
        "deterministic": group.deterministic,
        "accumulate": settings.accumulate > 1,
        "weights of rows": feed.weighted,
        "batches of one's own": not feed.same_sizes,
    }
    for what, wanted in on_gpu.items():
        if stack.backend.name == "gpu" and wanted:
            raise ConfigurationError(
                f"{what} in distributed training on GPUs, which is not there yet; backend='cpu' is"
                " needed"
            )
    if group.deterministic and not feed.same_sizes:
        raise ConfigurationError(
            "deterministic with batches of one's own, whose sizes are not known; another data set"
            " is needed"
        )
    if settings.accumulate > HEADER // 2:
        raise ConfigurationError(
            f"accumulate is {settings.accumulate} in distributed training; {HEADER // 2} at most is"
            " needed"
        )
    if settings.accumulate > 1 and (feed.weighted or not feed.same_sizes):
        raise ConfigurationError(
            "accumulate in distributed training with weights of rows, or batches of any size; 1 is"
            " needed"
        )
