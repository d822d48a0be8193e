"""The search for settings: trials at random, the better third trained for longer.

Successive halving (Jamieson and Talwalkar 2016): all settings are trained for a few epochs and
measured, the best third for three times as many, and so on. The trials of a round are trained side
by side on the processors, each with the bits of one trained alone.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpubp.backends import Backend
from gpubp.checks import check_seconds
from gpubp.errors import ConfigurationError, brief
from gpubp.training.side_by_side import AT_A_TIME, Watch, at_a_time, train_side_by_side
from gpubp.training.trials import SearchResult, Trial, TrialFile

FACTOR = 3  # of settings, the share that goes on; of epochs, how many times as many
# score(settings, epochs, fold, watch): the larger the better; NaN where training failed
Score = Callable[[dict[str, Any], int, int, Watch], float]


@dataclass(frozen=True)
class LogUniform:
    """Numbers from `low` to `high`, every order of magnitude as likely as another."""

    low: float
    high: float

    def rvs(self, random_state: np.random.RandomState) -> float:
        """Return one of them."""
        return math.exp(random_state.uniform(math.log(self.low), math.log(self.high)))


def draw(
    space: Mapping[str, Any], trials: int, random: np.random.RandomState
) -> list[dict[str, Any]]:
    """Return so many settings drawn from a space, each value from its list or distribution.

    Raises
    ------
    ConfigurationError
        When the space is empty or has something that is neither.
    """
    if not space or not isinstance(space, Mapping) or not all(isinstance(n, str) for n in space):
        raise ConfigurationError(
            f"space is {brief(space)}; a dictionary of settings and their values is needed"
        )
    for name, values in space.items():
        listed = isinstance(values, Sequence) and not isinstance(values, str) and len(values)
        if not (listed or hasattr(values, "rvs")):
            raise ConfigurationError(
                f"space of {name} is {brief(values)}; a list of values, or an object with rvs(), is"
                " needed"
            )
    return [
        {name: _drawn(values, random) for name, values in sorted(space.items())}
        for _ in range(trials)
    ]


def _drawn(values: Any, random: np.random.RandomState) -> Any:
    if hasattr(values, "rvs"):
        value = values.rvs(random_state=random)
        return value.item() if isinstance(value, np.generic) else value
    return values[random.randint(len(values))]


def rounds_of(trials: int, most: int | None) -> list[tuple[int, int]]:
    """Return (settings, epochs) of every round: a third of the settings, three times as long.

    With `most` None there is one round, which says nothing of epochs.
    """
    if most is None:
        return [(trials, 0)]
    depth = 0
    while FACTOR ** (depth + 1) <= min(trials, most):
        depth += 1
    return [
        (max(1, trials // FACTOR**step), max(1, most // FACTOR ** (depth - step)))
        for step in range(depth + 1)
    ]


def run_rounds(
    score: Score,
    folds: int,
    drawn: Sequence[dict[str, Any]],
    rounds: Sequence[tuple[int, int]],
    backend: Backend,
    known: TrialFile,
    time_limit: float | None = None,
    ended: Callable[[Trial], None] | None = None,
) -> SearchResult:
    """Do the trials of all rounds, those of a round side by side.

    Parameters
    ----------
    score : callable
        Trains and measures; called on several threads at a time.
    drawn, rounds
        What `draw` and `rounds_of` return.
    backend : Backend
        Where the trainings are: one a processor, or some in lockstep on a GPU, where the steps of
        those that differ in numbers alone are done at once.
    known : TrialFile
        Trials that ended before are taken from it, and others added.
    time_limit : float or None
        Seconds, looked at before each training. What is left of them is shared out alike among the
        rounds that are left, so that a round that is too long for them leaves settings out, the
        worst so far, and not the longer rounds.
    ended : callable or None
        Told each trial as it ends.

    Raises
    ------
    ConfigurationError
        When the time is no number above 0, or no trial ended within it.
    KeyboardInterrupt
        After Ctrl-C before the first trial has ended; later the result says so.
    """
    check_seconds("time_limit", time_limit)
    until = math.inf if time_limit is None else time.perf_counter() + time_limit
    numbers = range(len(drawn))
    result, survivors = SearchResult([]), [*numbers]
    lock = threading.Lock()

    def run_round(among: Sequence[int], epochs: int, deadline: float) -> dict[int, Trial]:
        """Do the trials of a round that are not known; return by number all that ended."""
        known_trials = {
            number: known.get(number, epochs, drawn[number], folds) for number in numbers
        }
        trials = {number: trial for number, trial in known_trials.items() if trial is not None}
        waiting = [number for number in among if number not in trials]

        def run(place: int, watches: Sequence[Any]) -> None:
            number, start, scores = waiting[place], time.perf_counter(), list[float]()
            if start > deadline:
                return
            for fold in range(folds):
                if time.perf_counter() > until:
                    return
                scores.append(score(drawn[number], epochs, fold, watches[0]))
                if watches[0].is_asked:
                    return
            seconds = time.perf_counter() - start
            trial = Trial(number, drawn[number], epochs, scores, seconds)
            with lock:
                trials[number] = trial
                known.add(trial)
                if ended is not None:
                    ended(trial)

        try:
            if waiting:
                workers, lockstep = at_a_time(backend, len(waiting), AT_A_TIME)
                train_side_by_side(len(waiting), run, workers, lockstep=lockstep)
        finally:
            result.trials += [trials[number] for number in numbers if number in trials]
        if any(number not in trials for number in among):
            result.stopped = "time limit"
        return trials

    try:
        for place, (count, epochs) in enumerate(rounds):
            now = time.perf_counter()
            deadline = now + (until - now) / (len(rounds) - place)
            trials = run_round(survivors[:count], epochs, deadline)
            survivors = sorted(trials, key=lambda number: (-trials[number].score, number))
    except KeyboardInterrupt:
        if not result.trials:
            raise
        result.stopped = "interrupted"
    if not result.trials:
        raise ConfigurationError(
            f"time_limit is {brief(time_limit)} and no trial ended by then; a longer time is needed"
        )
    return result
