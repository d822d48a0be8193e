"""What a model file holds, whichever kind of model that is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gpubp.backends import Backend
from gpubp.errors import ModelFileError, import_extra
from gpubp.network import Network
from gpubp.tables.model import TabularModel

if TYPE_CHECKING:
    from gpubp.tables.classifier import TabularClassifier
    from gpubp.tables.regressor import TabularRegressor

MARKS = {"version", "task", "columns"}  # of the preprocessing of a table


def load(
    path: str | os.PathLike[str], backend: str | Backend = "auto"
) -> Network | TabularClassifier | TabularRegressor:
    """Read a model file and return what was saved.

    A `Network` that was saved by itself; a `TabularClassifier` or `TabularRegressor`, which takes
    data frames, where the file comes from one of them, a `TabularModel` or ``gpubp train``.

    Raises
    ------
    ModelFileError
        When there is no such file, or it is torn, foreign or of a newer version.
    BackendUnavailableError, MissingExtraError
        When the backend cannot be had, or safetensors, or scikit-learn for a table, is not
        installed.
    """
    nets = Network.load_all(path, backend)
    if not _is_of_table(nets[0].preprocessing):
        if len(nets) > 1:
            raise ModelFileError(
                f"{path} holds {len(nets)} networks and no table; Network.load_all gives them"
            )
        return nets[0]
    import_extra("sklearn", "sklearn")
    from gpubp.tables.classifier import TabularClassifier
    from gpubp.tables.regressor import TabularRegressor

    model = TabularModel.of(nets, path)
    if model.preprocessing.task == "classification":
        return TabularClassifier.of(model, path, backend)
    return TabularRegressor.of(model, path, backend)


def _is_of_table(preprocessing: Any) -> bool:
    return isinstance(preprocessing, dict) and preprocessing.keys() >= MARKS
