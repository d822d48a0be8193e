"""Many estimators of one kind trained at once, which answer together."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from gpubp.backends import get_backend
from gpubp.interop.arguments import check_parameters, used_backend
from gpubp.training.side_by_side import at_a_time, train_side_by_side


def drawn(state: np.random.RandomState) -> int:
    """Return a seed, without a draw from the random state itself."""
    return int(copy.deepcopy(state).randint(2**31))


def fit_members(first: Any, x: Any, y: Any, sample_weight: Any, validation_data: Any) -> None:
    """Train an estimator with all its members, as many at a time as there are processors.

    Raises
    ------
    DivergenceError
        When the first diverged; of the others is a warning, and they are left out.
    """
    check_parameters(first.get_params(deep=False))
    if not (first.warm_start and getattr(first, "others_", None)):
        seeds = np.random.RandomState(drawn(check_random_state(first.random_state)))
        first.others_ = [
            clone(first).set_params(members=1, random_state=int(seeds.randint(2**31)))
            for _ in range(first.members - 1)
        ]
    members = [first, *first.others_]

    def train(number: int, watch: Sequence[Any]) -> None:
        members[number]._watch = watch
        try:
            members[number]._fit(x, y, sample_weight, validation_data, incremental=False)
        finally:
            members[number]._watch = ()

    workers, lockstep = at_a_time(get_backend(used_backend(first.backend, x)), first.members)
    failures = train_side_by_side(len(members), train, workers, lockstep=lockstep)
    if failures[0] is not None:
        raise failures[0]
    if any(failures):
        lost = [number for number, failure in enumerate(failures) if failure is not None]
        warnings.warn(
            f"members {lost} of {len(members)} diverged and are left out",
            RuntimeWarning,
            stacklevel=3,
        )
    pairs = zip(first.others_, failures[1:], strict=True)
    first.others_ = [other for other, failure in pairs if failure is None]
