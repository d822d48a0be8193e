"""`gpubp.load` returns what was saved."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
from gpubp import errors

pd = pytest.importorskip("pandas")
pytest.importorskip("safetensors")
pytest.importorskip("sklearn")


def frame(rows=60):
    random = np.random.default_rng(0)
    x = random.standard_normal(rows)
    return pd.DataFrame({"x": x, "kind": np.where(x > 0, "up", "down")}), x


def saved(tmp_path, kind, y):
    path = tmp_path / "model.safetensors"
    model = kind(preset="fast", epochs=3, random_state=0, backend="cpu").fit(frame()[0], y)
    model.save(path)
    return path, model


def test_a_network_comes_back(tmp_path):
    path = tmp_path / "model.safetensors"
    net = gpubp.Network([2, 1], backend="cpu")
    for preprocessing in (None, {"mean": [1, 2]}):
        net.save(path, preprocessing)
        loaded = gpubp.load(path, backend="cpu")
        assert type(loaded) is gpubp.Network
        np.testing.assert_array_equal(loaded.parameters, net.parameters)


@pytest.mark.parametrize("kind", [gpubp.TabularClassifier, gpubp.TabularRegressor])
def test_a_tables_model_comes_back_and_takes_a_data_frame(tmp_path, kind):
    x, number = frame()
    y = number if kind is gpubp.TabularRegressor else x["kind"].to_numpy()
    path, model = saved(tmp_path, kind, y)
    loaded = gpubp.load(path, backend="cpu")
    assert type(loaded) is kind
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    model.model_.save(path)  # a TabularModel's file is the same
    assert type(gpubp.load(path)) is kind
    assert len(loaded.model_.net.history.loss) == 3


def test_a_network_that_is_given_the_data_frame_says_how(tmp_path):
    x, y = frame()
    path, _ = saved(tmp_path, gpubp.TabularRegressor, y)
    net = gpubp.Network.load_all(path, "cpu")[0]
    for call in (net.predict, lambda rows: net.evaluate(rows, y)):
        with pytest.raises(errors.DataError, match=r"x is a DataFrame, .* gpubp.load\(path\)"):
            call(x)
    assert gpubp.Network([2, 1], backend="cpu").predict(pd.DataFrame(np.ones((3, 2)))).shape == (
        3,
        1,
    )


def test_what_is_no_model_file_is_refused(tmp_path):
    with pytest.raises(errors.ModelFileError, match="does not exist"):
        gpubp.load(tmp_path / "none")
