"""Pickles as large as the model, whatever it was trained on; models of a GPU loaded without one."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

import gpubp
from kernel_compilation import host_compiler

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((300, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


@pytest.mark.parametrize("kind", ["TabularClassifier", "TabularRegressor", "MLPClassifier"])
def test_a_pickle_does_not_grow_with_the_rows(kind):
    pytest.importorskip("sklearn")
    sizes = []
    for rows in (1800, 9000):  # in which the bins are as many, and a running mean is kept
        x = np.random.default_rng(1).standard_normal((rows, 4)).astype(np.float32)
        y = (x[:, 0] > 0).astype(int)
        if kind == "MLPClassifier":
            model = gpubp.MLPClassifier((8,), max_iter=2, random_state=0, backend="cpu")
        else:
            settings = {"epochs": 2, "hidden": (8,), "batch_size": 64, "bins": 4}
            model = getattr(gpubp, kind)(preset="fast", random_state=0, backend="cpu", **settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x, y)
        sizes.append(len(pickle.dumps(model)))
    groups = 9 * 201 * 9  # more groups of held-out rows have quantiles of their own, 10 at most
    assert sizes[1] < sizes[0] + 1000 + (groups if kind == "TabularRegressor" else 0)


def test_what_a_gpu_trained_is_loaded_without_one(tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("safetensors")
    if host_compiler() is None:
        pytest.skip("the simulated GPU needs a C++ compiler: g++ or clang++")
    import simulated.cupy

    patch = pytest.MonkeyPatch()
    simulated.cupy.install(patch)
    try:
        net = gpubp.Network([4, 6, 2], output="softmax", backend="gpu")
        net.fit(X, Y, epochs=2)
        net.save(tmp_path / "net")
        model = gpubp.MLPClassifier((6,), max_iter=3, random_state=0, backend="gpu")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, Y)
        kept = [pickle.dumps(net), pickle.dumps(model)]
        answers = [net.predict(X), model.predict_proba(X)]
    finally:
        patch.undo()
    np.testing.assert_allclose(
        gpubp.Network.load(tmp_path / "net").predict(X), answers[0], rtol=1e-5, atol=1e-6
    )
    found_net, found_model = map(pickle.loads, kept)
    assert found_net.backend.name == "cpu"
    np.testing.assert_allclose(found_net.predict(X), answers[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found_model.predict_proba(X), answers[1], rtol=1e-5, atol=1e-6)
