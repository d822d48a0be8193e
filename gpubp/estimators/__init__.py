"""scikit-learn's multilayer perceptrons on this library: change the import line."""

from gpubp.errors import import_extra

import_extra("sklearn", "sklearn")

from gpubp.estimators.classifier import MLPClassifier  # noqa: E402
from gpubp.estimators.regressor import MLPRegressor  # noqa: E402

__all__ = ["MLPClassifier", "MLPRegressor"]
