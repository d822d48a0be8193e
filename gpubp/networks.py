"""Many networks of one shape, trained at once: folds, seeds, settings."""

from __future__ import annotations

import copy
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Self

from gpubp.backends import Backend, get_backend
from gpubp.backends.interchange import give_back
from gpubp.checks import checked_list, checked_whole
from gpubp.data.batches import take_inputs
from gpubp.data.protocol import Dataset
from gpubp.distributed.communicator import Communicator
from gpubp.errors import ConfigurationError, DivergenceError, brief
from gpubp.inspection.health import Health
from gpubp.inspection.memory import MemoryPlan
from gpubp.network import Network
from gpubp.nn.spec_checks import check_memory
from gpubp.saving import save_networks
from gpubp.training import prediction
from gpubp.training.backend_choice import take_faster_backend
from gpubp.training.callbacks import Callback, as_callbacks
from gpubp.training.checkpoint_files import CheckpointFolder
from gpubp.training.dealt import Deal, begin_alike, processes_of, train_dealt
from gpubp.training.each import Each, of_member, weights_of_members
from gpubp.training.history import History
from gpubp.training.members import Members
from gpubp.training.side_by_side import at_a_time

LINE = 16  # numbers: no two members share a line of a processor's cache
OBJECTS = 10_000  # bytes of Python's objects that the smallest member has


class Networks:
    """Networks of one shape that are trained at once, each with the bits of one trained alone.

    On a CPU every core trains one of them after the other, on one thread: a member has the bits of
    a `Network` that a process of one thread trains. On a GPU they train in lockstep, as many as
    its memory holds: their steps are one recording, with kernels and products for all at once,
    and agree with those of a network trained alone to rounding.

    Parameters
    ----------
    sizes : sequence of int
        As for `Network`.
    members : int
        How many.
    seed : int, None or Each
        The seed of the first, the next have the next ones; None draws them.
    backend : str or Backend
        As for `Network`.
    **settings
        Of `Network`; each may be an `Each`, unless it changes the number of parameters.

    Attributes
    ----------
    members : tuple of Network
        The networks, whose parameters lie in `parameters`.
    parameters : array, (members, count)
        All parameters; written in place.
    failures : tuple of DivergenceError or None
        For each member why the last `fit` ended it; the others train on, and answer without it.
    callbacks : tuple of tuple of Callback
        Each member's own callbacks of the last `fit`.

    Raises
    ------
    ConfigurationError, ShapeError, BackendUnavailableError
        When a setting cannot be used, or the members have different shapes.

    Examples
    --------
    >>> import gpubp, numpy as np
    >>> x = np.linspace(-1, 1, 64)[:, None]
    >>> nets = gpubp.Networks([1, 8, 1], members=3, seed=0, backend="cpu")
    >>> histories = nets.fit(x, x**2, epochs=2)
    >>> nets.predict(x).shape, nets.spread(x).shape  # the mean, and the deviation from it
    ((64, 1), (64, 1))
    """

    def __init__(
        self,
        sizes: Sequence[int],
        members: int,
        seed: int | Each | None = 0,
        backend: str | Backend = "auto",
        **settings: Any,
    ) -> None:
        count, chosen = checked_whole("members", members), get_backend(backend)
        check_memory(f"members is {brief(count, 100)}", count * OBJECTS, chosen)
        seeds = Each([seed + number for number in range(count)]) if isinstance(seed, int) else seed
        settings["seed"] = seeds

        def made(number: int) -> Network:
            return Network(sizes, backend=chosen, **of_member(settings, number, count))

        first = made(0)
        of_one = OBJECTS + first.parameters.nbytes + first.gradients.nbytes
        check_memory(f"members is {brief(count, 100)}", count * of_one, chosen)
        self._hold([first, *map(made, range(1, count))])

    @classmethod
    def of(cls, members: Sequence[Network]) -> Self:
        """Return networks that there are already, together; their parameters move.

        Raises
        ------
        ConfigurationError
            When they are no networks, have different shapes, or one stands there twice.
        """
        made = cls.__new__(cls)
        networks = checked_list("members", members)
        for net in networks:
            if not isinstance(net, Network):
                raise ConfigurationError(f"members hold {brief(net)}; each must be a Network")
        if len(set(map(id, networks))) != len(networks):
            raise ConfigurationError("members hold a network twice; different ones are needed")
        made._hold(networks)
        return made

    def _hold(self, members: Sequence[Network]) -> None:
        shapes = {(net.sizes, net.parameters.size, net.dtype.name) for net in members}
        if len(shapes) != 1:
            raise ConfigurationError(
                f"members have {len(shapes)} shapes, {sorted(shapes)}; one and the same is needed"
            )
        self.members = tuple(members)
        self.failures: tuple[DivergenceError | None, ...] = (None,) * len(members)
        self.callbacks: tuple[tuple[Callback, ...], ...] = ((),) * len(members)
        self._lay_out()

    def _lay_out(self) -> None:
        """Move the members' parameters into one buffer."""
        first, count = self.members[0], self.members[0].parameters.size
        with self.backend.on_device():
            wide = (len(self.members), -(-count // LINE) * LINE)
            self.parameters = self.backend.empty(wide, first.dtype)[:, :count]
            for net, place in zip(self.members, self.parameters, strict=True):
                net.lie_in(place)

    def __len__(self) -> int:
        return len(self.members)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.members, self.failures)

    @property
    def backend(self) -> Backend:
        """Where the arrays live."""
        return self.members[0].backend

    @property
    def histories(self) -> tuple[History, ...]:
        """The losses and times of each member's last training."""
        return tuple(net.history for net in self.members)

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        callbacks: Sequence[Callback] | Each = (),
        checkpoint: str | os.PathLike[str] | None = None,
        time_limit: float | None = None,
        progress: bool = False,
        distributed: bool | Communicator = False,
        **options: Any,
    ) -> tuple[History, ...]:
        """Train all members; one that has ended, early or diverged, costs nothing from then on.

        Parameters
        ----------
        x, y : array
            The data of all, which are stored once. ``rows=gpubp.Each([...])`` and
            ``validation_rows`` give each its own of them, as folds or a bootstrap do.
        sample_weight : array, (rows,) or (members, rows), or None
            What rows weigh, for all or for each.
        callbacks : sequence of Callback, or Each
            Every member has copies of its own.
        checkpoint : path or None
            A folder, in which each member has one of its own.
        time_limit : float or None
            Seconds for all of them; members that are not begun by then stay as they are.
        progress : bool
            Whether to say on standard error which member is done.
        distributed : bool or Communicator
            Whether the members are dealt to the processes of an MPI job, all of which know all
            members in the end. No bit of a result depends on how many there are.
        **options
            Of `Network.fit`; each may be an `Each`: ``optimizer``, ``loss``, ``rows``, ...

        Returns
        -------
        tuple of History

        Raises
        ------
        DivergenceError
            When the loss of every member became infinite; of some is a warning, see `failures`.
        KeyboardInterrupt
            After Ctrl-C; every member keeps what it has learnt.
        ConfigurationError, ShapeError, DataError, DistributedError, ...
            As `Network.fit` does.
        """
        processes = processes_of(distributed, options)
        count, weights = len(self.members), weights_of_members(sample_weight, len(self.members))
        each = [
            of_member(options | {"callbacks": callbacks, "sample_weight": weights}, number, count)
            for number in range(count)
        ]
        folder = None if checkpoint is None else CheckpointFolder(checkpoint).path
        for number, settings in enumerate(each):
            settings["callbacks"] = tuple(copy.deepcopy(as_callbacks(settings["callbacks"])))
            if folder is not None:
                settings["checkpoint"] = folder / f"member-{number}"
        self.callbacks = tuple(settings["callbacks"] for settings in each)
        members = Members(self.members, each)
        if self.backend.alternative is not None and not distributed:
            take_faster_backend(self, members.workload(x, y))
        shared = x
        if not isinstance(x, Dataset):
            with self.backend.on_device():
                shared = take_inputs(self.members[0].stack, x)  # in a dtype that all read
        if processes is not None:
            begin_alike(processes, self.members, members.fingerprint(shared))

        def train(number: int, watch: Sequence[Any]) -> None:
            settings = each[number] | {"callbacks": [*each[number]["callbacks"], *watch]}
            history = self.members[number].fit(shared, y, **settings)
            if progress:
                print(
                    f"member {number + 1} of {count}: {history.epochs} epochs, loss"
                    f" {history.loss[-1] if history.loss else float('nan'):.6g}",
                    file=sys.stderr,
                )

        on_cpu, streamed = self.backend.name == "cpu", isinstance(x, Dataset)
        most = None if on_cpu or streamed else members.at_once(shared.shape[0])
        workers, lockstep = at_a_time(self.backend, 1 if streamed else count, most)
        deal = None if processes is None else Deal(processes, members.learnt, members.take_over)
        failures = train_dealt(deal, count, train, workers, time_limit, on_cpu, lockstep)
        self.failures = tuple(failures)
        diverged = [number for number, failure in enumerate(failures) if failure is not None]
        if diverged and (processes is None or processes.is_root):
            warnings.warn(
                f"members {diverged} of {count} diverged and answer no more; the first:"
                f" {failures[diverged[0]]}",
                RuntimeWarning,
                stacklevel=2,
            )
        return self.histories

    def predict(self, x: Any, each: bool = False) -> Any:
        """Return the mean of the members' outputs, (rows, outputs), or with `each` all of them.

        Returns
        -------
        array
            (rows, outputs); with `each` (members, rows, outputs), those that diverged included.

        Raises
        ------
        ShapeError, DataError, NonFiniteError, DeviceError
            When x cannot be used.
        """
        outputs = self._outputs(x, self.members if each else self._answering)
        return give_back(outputs if each else outputs.mean(axis=0), self.backend, x)

    def spread(self, x: Any) -> Any:
        """Return the standard deviation of the outputs among the members, (rows, outputs)."""
        return give_back(self._outputs(x, self._answering).std(axis=0), self.backend, x)

    @property
    def _answering(self) -> list[Network]:
        pairs = zip(self.members, self.failures, strict=True)
        return [net for net, failure in pairs if failure is None]

    def _outputs(self, x: Any, members: Sequence[Network]) -> Any:
        with self.backend.on_device():
            inputs = take_inputs(members[0].stack, x)
            outputs = [prediction.predict(net.stack, inputs) for net in members]
            return self.backend.xp.stack(outputs)

    def health(self, x: Any, y: Any, **options: Any) -> tuple[Health, ...]:
        """Return what ails each member; see `Network.health`."""
        return tuple(net.health(x, y, **options) for net in self.members)

    def memory_plan(self, batch_size: int, optimizer: Any = "adam") -> MemoryPlan:
        """Return how much memory training takes: that of all members; the data come on top, once.

        Raises
        ------
        ConfigurationError
            When the batch size is no whole number above 0, or the optimizer is not known.
        """
        one = self.members[0].memory_plan(batch_size, optimizer)
        sizes = {each.name: getattr(one, each.name) for each in fields(one)}
        alike = ("batch_size", "workspace")
        return replace(one, **{n: size * len(self) for n, size in sizes.items() if n not in alike})

    def to(self, backend: str | Backend) -> Self:
        """Move all members to another backend, in place, and return them; see `Network.to`."""
        for net in self.members:
            net.to(backend)
        self._lay_out()
        return self

    def save(
        self, path: str | os.PathLike[str], preprocessing: dict[str, Any] | None = None
    ) -> None:
        """Write those that answer to one model file, complete or not at all; see `Network.save`."""
        save_networks(self._answering, path, preprocessing)

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: str | Backend = "auto") -> Self:
        """Read a model file of one network or several; see `Network.load`."""
        return cls.of(Network.load_all(path, backend))

    def __repr__(self) -> str:
        return f"Networks({list(self.members[0].sizes)}, members={len(self)})"


def _restored(
    kind: type[Networks], members: Sequence[Network], failures: tuple[DivergenceError | None, ...]
) -> Networks:
    """Return pickled networks."""
    made = kind.of(members)
    made.failures = failures
    return made
