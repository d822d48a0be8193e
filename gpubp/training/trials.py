"""The trials of a search for settings: what came of each, kept in a file as they end."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from gpubp import tensor_files
from gpubp.checks import checked_path, is_number
from gpubp.errors import CheckpointError, brief
from gpubp.files import write_atomically


@dataclass(frozen=True)
class Trial:
    """What came of one setting.

    Attributes
    ----------
    number : int
        Which setting of the search.
    settings : dict
        What was set.
    epochs : int
        What it was trained for at most; 0 where halving leaves that alone.
    scores : list of float
        On each fold; NaN where the training failed.
    seconds : float
        Of its trainings and measurements.
    """

    number: int
    settings: dict[str, Any]
    epochs: int
    scores: list[float]
    seconds: float

    @property
    def score(self) -> float:
        """The mean over the folds, minus infinity where one is none."""
        mean = float(np.mean(self.scores))
        return mean if math.isfinite(mean) else -math.inf


@dataclass
class SearchResult:
    """What a search found.

    Attributes
    ----------
    trials : list of Trial
        All that ended, in the order in which they were asked for.
    best_estimator : estimator or None
        The best setting fitted on all rows.
    stopped : str
        Why the search ended before its last trial: "", "time limit" or "interrupted".
    """

    trials: list[Trial]
    best_estimator: Any = field(default=None, repr=False)
    stopped: str = ""

    @property
    def best(self) -> Trial:
        """The best trial among those that were trained longest."""
        longest = max(trial.epochs for trial in self.trials)
        return max((t for t in self.trials if t.epochs == longest), key=lambda trial: trial.score)

    @property
    def cv_results_(self) -> dict[str, Any]:
        """The trials as scikit-learn's searches have them: arrays (trials,), by name."""
        trials = self.trials
        scores = np.array([trial.scores for trial in trials])
        names = sorted({name for trial in trials for name in trial.settings})
        order = np.argsort([-trial.score for trial in trials], kind="stable")
        rank = np.empty(len(trials), np.int32)
        rank[order] = np.arange(1, len(trials) + 1)
        results: dict[str, Any] = {
            f"param_{name}": np.ma.masked_array(
                np.array([trial.settings.get(name) for trial in trials], object),
                [name not in trial.settings for trial in trials],
            )
            for name in names
        }
        results |= {f"split{fold}_test_score": scores[:, fold] for fold in range(scores.shape[1])}
        return results | {
            "params": [trial.settings for trial in trials],
            "mean_test_score": scores.mean(axis=1),
            "std_test_score": scores.std(axis=1),
            "rank_test_score": rank,
            "mean_fit_time": np.array([trial.seconds / len(trial.scores) for trial in trials]),
            "n_resources": np.array([trial.epochs for trial in trials]),
        }


class TrialFile:
    """Trials as they end, in a file of lines of JSON; the first says of which search they are.

    Raises
    ------
    CheckpointError
        When there is a file of another search, or of another kind.
    """

    def __init__(self, path: str | os.PathLike[str] | None, about: dict[str, Any]) -> None:
        self._path = None if path is None else checked_path("file", path)
        about = json.loads(json.dumps(about))
        self._lines = [json.dumps(about)]
        self._known: dict[tuple[int, int], Trial] = {}
        if self._path is None or not self._path.exists():
            return
        if not self._path.is_file():  # a pipe would be waited for without end
            raise CheckpointError(f"{path} is a folder, a pipe or a device; a file is needed")
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
            first, *trials = map(tensor_files.parse_json, lines)
            if not isinstance(first, dict):
                raise ValueError(f"it begins with {brief(first)}")
            trials = [_checked_trial(each) for each in trials]
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{path} holds no trials: {error}") from error
        differing = [name for name in about if first.get(name) != about[name]]
        if differing:
            raise CheckpointError(
                f"{path} is of another search, with other {', '.join(differing)}; the same, or"
                " another file, is needed"
            )
        for trial in trials:
            self._note(trial)

    def get(self, number: int, epochs: int, settings: dict[str, Any], folds: int) -> Trial | None:
        """Return a trial of these settings that ended before; None where there is none."""
        trial = self._known.get((number, epochs))
        if trial is None or len(trial.scores) != folds:
            return None
        return replace(trial, settings=settings)  # as they were drawn

    def add(self, trial: Trial) -> None:
        """Keep a trial; the file is replaced when the new one is whole."""
        self._note(trial)
        if self._path is not None:
            write_atomically(self._path, ("\n".join(self._lines) + "\n").encode())

    def _note(self, trial: Trial) -> None:
        self._known[trial.number, trial.epochs] = trial
        self._lines.append(json.dumps(asdict(trial), default=str))


def _checked_trial(line: Any) -> Trial:
    """Return the trial of a line; raises TypeError or ValueError for one that is none."""
    trial = Trial(**line)
    whole = all(type(value) is int for value in (trial.number, trial.epochs))
    scores = trial.scores if isinstance(trial.scores, list) else [None]
    scored = all(type(score) is float or is_number(score) for score in scores)  # or not finite
    if not (whole and scored and scores and is_number(trial.seconds)):
        raise ValueError(f"{brief(line)} is no trial")
    return trial
