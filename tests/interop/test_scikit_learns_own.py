"""scikit-learn's own tests of its perceptrons, run with ours in their place."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

neural_network = pytest.importorskip("sklearn.neural_network")

import gpubp  # noqa: E402

# These set or read members that begin with an underscore, or attributes before any fit.
PRIVATE = (
    "test_fit",
    "test_gradient",
    "test_learning_rate_warmstart",
    "test_adaptive_learning_rate",
)

RUN = """
import sys
import pytest
import sklearn.neural_network
import gpubp

sklearn.neural_network.MLPClassifier = gpubp.MLPClassifier
sklearn.neural_network.MLPRegressor = gpubp.MLPRegressor
import sklearn.neural_network.tests.test_mlp as theirs

sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", theirs.__file__, "-k", sys.argv[1]]))
"""


def test_the_import_line_is_all_that_changes(tmp_path):
    pytest.importorskip("sklearn.neural_network.tests.test_mlp")
    chosen = " and ".join(f"not {name}" for name in PRIVATE)
    done = subprocess.run(
        [sys.executable, "-c", RUN, chosen],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 40


def data(outputs=3):
    random = np.random.default_rng(0)
    x = random.standard_normal((80, 4))
    return x, np.sin(x @ random.standard_normal((4, outputs)))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_several_outputs_with_a_penalty_follow_scikit_learn(solver, weighted):
    x, y = data()
    weights = np.linspace(0.5, 2, len(x)) if weighted else None
    settings = {"solver": solver, "alpha": 0.5, "random_state": 1, "max_iter": 60, "tol": 1e-3}
    settings |= {"hidden_layer_sizes": (7,), "batch_size": 30, "n_iter_no_change": 3}
    ours = gpubp.MLPRegressor(**settings, backend="cpu").fit(x, y, weights)
    theirs = neural_network.MLPRegressor(**settings).fit(x, y, weights)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-7)
    for own, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-7)
    if solver != "lbfgs":
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
