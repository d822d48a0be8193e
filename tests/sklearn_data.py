"""Data sets of scikit-learn that several tests train on, and numbers to weigh their rows by."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.7")

from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.preprocessing import StandardScaler


def scaled(load):
    x, y = load(return_X_y=True)
    return StandardScaler().fit_transform(x), y


DIGITS, CANCER, IRIS = (scaled(load) for load in (load_digits, load_breast_cancer, load_iris))
DIABETES = (load_diabetes(return_X_y=True)[0], load_diabetes(return_X_y=True)[1] / 100)
WEIGHTS = np.random.default_rng(0).random(2000)
