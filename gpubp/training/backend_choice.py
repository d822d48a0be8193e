"""Which of two backends trains faster, found by timing both: what ``backend="auto"`` comes to.

Networks like those to be trained, with weights and rows of their own, do a few steps on each. The
times are remembered for this process and, as `gpubp.backends.remembered` does it, for later ones.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Sequence
from copy import copy
from dataclasses import asdict, astuple, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from gpubp.backends import Backend
from gpubp.backends.cpu.thread_count import thread_count
from gpubp.backends.interchange import on_gpu
from gpubp.backends.remembered import Remembered
from gpubp.data.batches import DEFAULT_BATCH, Data, take_data
from gpubp.data.feeds import feed_of
from gpubp.data.protocol import Dataset
from gpubp.distributed.startup import is_launched
from gpubp.nn.backprop import LayerStack
from gpubp.nn.spec import NetworkSpec
from gpubp.training.epoch_steps import EpochSteps, Training
from gpubp.training.settings import TrainingSettings
from gpubp.training.side_by_side import at_a_time, is_side_by_side, train_side_by_side
from gpubp.training.state import TrainingState

MARGIN = 1.05  # how many times faster the GPU has to be; about as fast is a tie, and the CPU's
STEPS_A_ROUND = 8  # as many as one recording of a GPU holds
WARM_UPS, ROUNDS = 3, 7  # rounds that do not count, and the most that do
TIME_LIMIT = 0.3  # seconds for all rounds after the first, which compiles kernels
LARGE_STEP = 1e9  # operations from which on a round is one step
TOO_LARGE = 2e11  # operations of a step that no CPU does in the time limit


@dataclass(frozen=True)
class Workload:
    """What a training does in each of its steps.

    Attributes
    ----------
    specs : tuple of NetworkSpec
        The networks that train side by side; mostly there is one.
    rows, batch_size : int
        Rows of an epoch, and of a step.
    settings : TrainingSettings
        How a step is done.
    weighted : bool
        Whether rows have weights.
    """

    specs: tuple[NetworkSpec, ...]
    rows: int
    batch_size: int
    settings: TrainingSettings
    weighted: bool = False

    @property
    def operations(self) -> float:
        """The operations of a step of all networks, roughly: 6 for each weight and row."""
        return 6.0 * self.batch_size * sum(map(_weights, self.specs))

    @property
    def steps(self) -> int:
        """The steps of a round: of a whole epoch, where it is short."""
        if self.operations > LARGE_STEP:
            return 1
        return min(STEPS_A_ROUND, -(-self.rows // self.batch_size))

    def __str__(self) -> str:
        sizes, count = "-".join(map(str, self.specs[0].sizes)), len(self.specs)
        network = sizes if count == 1 else f"{count} networks {sizes}"
        return f"a step of {network} at batch {self.batch_size}"

    def key(self) -> str:
        """Return what trainings that take as long have in common; seeds and rates are left out."""
        settings = self.settings
        parts = {
            "networks": [_form(spec) for spec in self.specs],
            "optimizer": settings.optimizer.kernel,
            "loss": settings.loss.name,
            "regularization": [bool(value) for value in astuple(settings.regularization)],
            "accumulate": settings.accumulate,
            "average": settings.average is None,
            "groups": len(settings.groups),
            "dropout_factor": settings.dropout_factor is None,
            "steps": self.steps,
            "weighted": self.weighted,
            "threads": thread_count(),
        }
        digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
        return f"backend for {self}, {settings.optimizer.kernel} {digest}"


def workload(
    specs: Sequence[NetworkSpec],
    settings: TrainingSettings,
    given: Sequence[Any],
    batch_size: int | None,
    weighted: bool,
    rows: int | None = None,
) -> Workload | None:
    """Return what a training on arrays or a data set does in its steps.

    Parameters
    ----------
    given : sequence
        The data: x first, then arrays of any kind, tuples of them, or None.
    batch_size, rows : int or None
        None stands for what `Network.fit` takes.

    Returns
    -------
    Workload or None
        None where some of the data lie on a GPU.
    """
    parts = [part for each in given for part in (each if isinstance(each, tuple) else (each,))]
    if any(map(on_gpu, parts)):
        return None
    x = given[0]
    if rows is None:
        sized = isinstance(x, Dataset | list | tuple)
        rows = len(x) if sized else int((*getattr(x, "shape", ()), 1)[0])
    asked = batch_size if isinstance(batch_size, int) and batch_size > 0 else DEFAULT_BATCH
    return Workload(tuple(specs), max(1, rows), max(1, min(asked, rows)), settings, weighted)


def take_faster_backend(net: Any, work: Workload | None) -> None:
    """Move a network, or `Networks`, to the backend on which the training is faster.

    Nothing is done where the caller named a backend, where there is no GPU, on processes that a
    launcher started, and for one of several that train side by side.
    """
    chosen = faster_backend(net.backend, work)
    if chosen is not net.backend:
        net.to(chosen)


def faster_backend(current: Backend, work: Workload | None) -> Backend:
    """Return the faster one of a backend and its alternative, its `reason` saying why.

    See `take_faster_backend`; no work is to be done on the GPU, where the data lie.
    """
    other = current.alternative
    if other is None or is_side_by_side() or is_launched():
        return current
    both = {each.name: each for each in (current, other)}
    name, reason = "gpu", "the data lie on the GPU"
    if work is not None:
        remembered = Remembered(f"{both['gpu'].device}, {both['cpu'].device}")
        if not remembered.times_allowed:
            return current
        name, reason = _choice(both, work, remembered)
    if (current.name, current.reason) == (name, reason):
        return current
    chosen = copy(both[name])
    chosen.reason = reason
    return chosen


def _choice(both: dict[str, Backend], work: Workload, remembered: Remembered) -> tuple[str, str]:
    """Return the name of the faster backend and why it was chosen."""
    if work.operations > TOO_LARGE:
        return "gpu", f"{work} has {work.operations / 1e9:,.0f} billion operations; not timed"
    try:
        milliseconds = _times(both, work, remembered)
    except MemoryError:
        return "gpu", f"memory ran out when {work} was timed"
    name = "gpu" if MARGIN * milliseconds["gpu"] < milliseconds["cpu"] else "cpu"
    gpu, cpu = (f"{milliseconds[each]:.3g} ms on the {each.upper()}" for each in ("gpu", "cpu"))
    return name, f"{work} takes {gpu}, {cpu}; measured"


def _times(both: dict[str, Backend], work: Workload, remembered: Remembered) -> dict[str, float]:
    """Return the milliseconds of a step on each backend."""
    key = work.key()
    found = remembered.get(key)
    if _is_finding(found):
        known: dict[str, float] = found
        return known
    known = {name: 1000 * step_seconds(backend, work) for name, backend in both.items()}
    kept = remembered.put(key, known)
    return kept if _is_finding(kept) else known


def _is_finding(known: Any) -> bool:
    """Tell whether this is what `_times` keeps, for a file may hold anything."""
    return isinstance(known, dict) and all(
        isinstance(known.get(name), float) and known[name] > 0 for name in ("cpu", "gpu")
    )


def step_seconds(backend: Backend, work: Workload) -> float:
    """Return the seconds that one step of all networks takes on a backend."""
    count = len(work.specs)
    with backend.on_device():
        workers, lockstep = at_a_time(backend, count)
    seconds: list[float] = []

    def train(number: int, watch: Sequence[Any]) -> None:
        with backend.on_device(), np.errstate(over="ignore", invalid="ignore"):
            stack = LayerStack(work.specs[number], backend)
            seconds.append(_median_round(stack, work) / work.steps)

    train_side_by_side(workers, train, workers, lockstep=lockstep)
    return statistics.median(seconds) * -(-count // workers)


def _median_round(stack: LayerStack, work: Workload) -> float:
    """Return the median time of rounds of steps, each with a look at the losses, in seconds."""
    settings, backend = work.settings, stack.backend
    feed = feed_of(stack, _rows(stack, work), work.batch_size, True, settings.loss)
    state = TrainingState()
    state.use(settings, stack, feed.weighted)
    steps = EpochSteps(Training(stack, state, feed, settings))
    times: list[float] = []
    while len(times) < WARM_UPS + ROUNDS and sum(times[1:]) < TIME_LIMIT:
        start = time.perf_counter()
        steps.run(len(times), 0, feed.steps)
        backend.to_numpy(steps.losses)  # which waits for the device, as `fit` does
        times.append(time.perf_counter() - start)
    return statistics.median(times[WARM_UPS:] or times[-1:])


def _rows(stack: LayerStack, work: Workload) -> Data:
    """Return the rows of a round: numbers from 0 to 1, codes of categories, targets of 1."""
    rows, outputs, loss = work.steps * work.batch_size, stack.sizes[-1], work.settings.loss
    generator = np.random.default_rng(0)
    x = generator.random((rows, stack.sizes[0]), np.float32).astype(stack.dtype)
    for column, codes in enumerate(stack.spec.categories):
        if codes:
            x[:, column] = generator.integers(codes, size=rows)
    y = np.ones(rows, np.int64) if loss.classes and outputs > 1 else np.ones((rows, outputs))
    return take_data(stack, x, y, loss, sample_weight=np.ones(rows) if work.weighted else None)


def _weights(spec: NetworkSpec) -> int:
    widths = list(spec.sizes)
    if spec.bins:
        widths[0] *= spec.embedding
    return sum(above * below for above, below in pairwise(widths))


def _form(spec: NetworkSpec) -> dict[str, Any]:
    """Return what the time of a network's step depends on."""
    form = asdict(spec) | {
        "dropout": [rate > 0 for rate in spec.dropout],
        "bins": sum(map(len, spec.bins)).bit_length(),  # their edges differ from rows to rows
        "input_scale": spec.input_scale != 1,
        "periodic": spec.periodic and replace(spec.periodic, sigma=1.0),
    }
    for name in ("seed", "seed_drawn", "initializer"):
        del form[name]
    return form
