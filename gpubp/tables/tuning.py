"""The search for the settings of the networks of a table, measured on its validation rows."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from gpubp.backends import Backend
from gpubp.checks import checked_whole
from gpubp.data.fingerprint import fingerprint
from gpubp.errors import ConfigurationError, DivergenceError
from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import Prepared
from gpubp.tables.recipe import PATIENCE, Recipe
from gpubp.training.halving import LogUniform, draw, rounds_of, run_rounds
from gpubp.training.side_by_side import Watch
from gpubp.training.trials import SearchResult, Trial, TrialFile

# What is searched: numbers around those of the presets, and the shapes of tables' networks
SPACE: dict[str, Any] = {
    "learning_rate": LogUniform(2e-4, 2e-2),
    "weight_decay": LogUniform(1e-3, 1.0),
    "dropout": [0.0, 0.1, 0.2, 0.3, 0.4],
    "hidden": [(128, 128), (256, 256), (256, 256, 256), (512, 512)],
    "bins": [0, 32, 64, 128],
    "embedding": [8, 16],
}


def tune(
    prepared: Prepared,
    recipe: Recipe,
    backend: Backend,
    *,
    trials: int = 64,
    time_limit: float | None = None,
    seed: int = 0,
    file: str | os.PathLike[str] | None = None,
    ended: Callable[[Trial], None] | None = None,
) -> SearchResult:
    """Search `SPACE` for the settings with the least loss on the validation rows.

    The first trial has the settings of the recipe itself, so that what is found is no worse there.

    Parameters
    ----------
    prepared : Prepared
        A table with validation rows.
    recipe : Recipe
        All other settings, and the epochs of the last round.
    trials, time_limit, file, ended
        As for `gpubp.search`; a trial's score is minus the loss.

    Returns
    -------
    SearchResult
        Without an estimator; `tuned` makes the recipe of the best settings.

    Raises
    ------
    ConfigurationError, CheckpointError
        When an argument cannot be used, or the file is that of another search.
    """
    if not prepared.rows("validation"):
        raise ConfigurationError("validation is 0; a share of the rows to measure on is needed")
    random = np.random.RandomState(seed)
    of_recipe = {name: getattr(recipe, name) for name in sorted(SPACE)}
    drawn = [of_recipe, *draw(SPACE, checked_whole("trials", trials) - 1, random)]
    rounds = rounds_of(trials, recipe.epochs)
    about = {
        "settings": json.dumps(drawn),
        "rows": fingerprint([prepared.x, prepared.y, *prepared.split]),
        "recipe": asdict(recipe),
        "rounds": rounds,
    }

    def score(settings: dict[str, Any], epochs: int, fold: int, watch: Watch) -> float:
        own = replace(tuned(recipe, settings, epochs), members=1, refit=False)
        model = TabularModel.create(prepared, own, seed, backend=backend)
        try:
            model.train(prepared, own, callbacks=[watch])
        except DivergenceError:
            return math.nan
        return -min(model.net.history.validation_loss, default=math.nan)

    known = TrialFile(file, about)
    return run_rounds(score, 1, drawn, rounds, backend, known, time_limit, ended)


def tuned(recipe: Recipe, settings: dict[str, Any], epochs: int | None = None) -> Recipe:
    """Return a recipe with settings that were found, for its own number of epochs or another."""
    longest = recipe.epochs if epochs is None else epochs
    patience = max(1, round(PATIENCE * longest))
    return replace(recipe, **settings, epochs=longest, patience=patience)
