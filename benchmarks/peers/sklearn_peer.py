"""scikit-learn's MLPClassifier."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import sklearn
from cases import (
    CLASSES,
    Case,
    all_rows,
    in_chunks,
    mnist,
    rows_to_predict,
    scaled,
    step_batches,
)
from sklearn.neural_network import MLPClassifier

warnings.simplefilter("ignore")  # that one epoch has not converged
NAMES = {"relu": "relu", "tanh": "tanh", "sigmoid": "logistic"}


def versions() -> dict[str, str]:
    """Return the version."""
    return {"scikit-learn": sklearn.__version__}


class Sklearn:
    """partial_fit: a step for a batch, an epoch for all rows."""

    def network(self, case: Case, seed: int = 0) -> MLPClassifier:
        """Return a new classifier without weight decay."""
        return MLPClassifier(
            case.sizes[1:-1],
            activation=NAMES[case.activation],
            batch_size=case.batch,
            alpha=0,
            random_state=seed,
        )

    def step(self, case: Case) -> Callable[[int], int]:
        """Train on given batches."""
        net, batches = self.network(case), step_batches(case)

        def repeat(count: int) -> int:
            for index in range(count):
                x, y = batches[index % len(batches)]
                net.partial_fit(x, y, classes=np.arange(CLASSES))
            return count

        return repeat

    def epoch(self, case: Case) -> Callable[[int], int]:
        """Train on all rows."""
        net, (x, y) = self.network(case), all_rows(case)
        x = scaled(x)

        def repeat(count: int) -> int:
            for _ in range(count):
                net.partial_fit(x, y, classes=np.arange(CLASSES))
            return count

        return repeat

    def predict(self, case: Case) -> Callable[[int], int]:
        """Predict all rows."""
        x = rows_to_predict(case)
        few, y = all_rows(replace(case, rows=128))
        net = self.network(Case("step", case.sizes, 128))
        net.partial_fit(scaled(few), y, classes=np.arange(CLASSES))
        if case.file:
            return in_chunks(net.predict_proba, x, case.sizes[-1])

        def repeat(count: int) -> int:
            for _ in range(count):
                net.predict_proba(x)
            return count

        return repeat

    def trainer(self, case: Case, seed: int) -> tuple[Callable[[], object], Callable[[], float]]:
        """Train on MNIST."""
        x, y, x_test, y_test = mnist(case.mnist)
        x, x_test = scaled(x), scaled(x_test)
        net = self.network(case, seed)
        return (
            lambda: net.partial_fit(x, y, classes=np.arange(CLASSES)),
            lambda: float(net.score(x_test, y_test)),
        )


PEERS = {"sklearn": Sklearn}
