"""Columns of very many names, which networks embed."""

from __future__ import annotations

import importlib.util
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

import gpubp
from gpubp import TabularClassifier, TabularRegressor, exchange
from gpubp.errors import DataError
from gpubp.nn.layers import Dense
from gpubp.nn.spec import NetworkSpec
from gpubp.tables.categorical_column import MOST_INPUTS, CategoricalColumn
from gpubp.tables.coded_column import CodedColumn
from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import passed_inputs


def towns(rows=4000, count=400, seed=0, missing=0.02):
    """Return a table whose target is a number of the town's own, and some of a number's."""
    random = np.random.default_rng(seed)
    effect = random.normal(size=count)
    town, width = random.integers(0, count, rows), random.normal(size=rows)
    names = np.array([f"town {number}" for number in range(count)], object)[town]
    names[random.random(rows) < missing] = None
    y = effect[town] + 0.5 * width + 0.1 * random.normal(size=rows)
    return pd.DataFrame({"town": names, "width": width}), y


@pytest.fixture(scope="module")
def fitted():
    frame, y = towns()
    model = TabularRegressor(preset="fast", members=2, random_state=0, backend="cpu")
    return model.fit(frame[:3200], y[:3200]), frame, y


def test_names_become_one_input_and_are_embedded(fitted):
    model, frame, y = fitted
    column = model.model_.preprocessing.columns[0]
    assert isinstance(column, CodedColumn)
    assert model.model_.net.spec.categories == (column.codes, 0)
    assert 350 < column.codes <= 401
    assert r2_score(y[3200:], model.predict(frame[3200:])) > 0.8
    forgetful = frame[3200:].assign(town="nowhere")
    assert r2_score(y[3200:], model.predict(forgetful)) < 0.4, "the towns matter"


def test_few_names_have_an_input_each():
    for count, kind in ((MOST_INPUTS, CategoricalColumn), (MOST_INPUTS + 1, CodedColumn)):
        frame = pd.DataFrame({"town": [f"{number % count}" for number in range(4 * count)]})
        model = TabularClassifier(preset="fast", epochs=1, random_state=0, backend="cpu")
        model.fit(frame, np.arange(4 * count) % 2)
        assert isinstance(model.model_.preprocessing.columns[0], kind)


def test_names_of_one_row_are_unknown_and_a_missing_name_is_one():
    counts = {f"town {number}": 2 for number in range(300)} | {"hamlet": 1}
    column = CategoricalColumn.from_counts("town", Counter(counts), 700)
    assert isinstance(column, CodedColumn)
    assert "hamlet" not in column.vocabulary
    assert column.missing
    assert column.codes == 301


def test_it_is_saved_and_explained(fitted, tmp_path):
    model, frame, _ = fitted
    model.save(tmp_path / "m.safetensors")
    again = TabularModel.load(tmp_path / "m.safetensors", backend="cpu")
    answer = model.predict(frame[3200:3300])
    rows = model._table(frame[3200:3300], first=False)
    np.testing.assert_array_equal(again.predict(rows).labels, answer)
    with pytest.raises(DataError, match="a category that training did not keep, such as 'nowhere'"):
        again.predict(model._table(frame[:1].assign(town="nowhere"), first=False), strict=True)
    assert "loss before the step" in str(model.explain(frame, row=3))
    names = again.page_names().inputs
    assert sorted(name for name in names if name.startswith("town")) == [
        f"town [{number}]" for number in range(1, 9)
    ]
    assert len(names) == again.net.layers[1].outputs


def test_other_programs_answer_alike(fitted, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    model, frame, _ = fitted
    rows = pd.concat([frame[3200:3300], frame[:1].assign(town="nowhere")])
    exchange.write_onnx(model.model_, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    given = {
        "town": rows["town"].fillna("").to_numpy(str).astype(object)[:, None],
        "width": rows["width"].to_numpy()[:, None],
    }
    found = session.run(None, given)[0].ravel()
    np.testing.assert_allclose(found, model.predict(rows), rtol=1e-4, atol=1e-5)
    exchange.write_numpy_predictor(model.model_, tmp_path / "m.py")
    spec = importlib.util.spec_from_file_location("m", tmp_path / "m.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    columns = {"town": rows["town"].tolist(), "width": rows["width"].tolist()}
    answers = np.asarray(module.predict(columns)).ravel()
    np.testing.assert_allclose(answers, model.predict(rows), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("categories", [None, [0, 5, 0, 3]])
@pytest.mark.parametrize("bins", [None, [[0.0, 1.0, 2.0], [], [], []]])
def test_where_inputs_that_pass_come_to_lie(categories, bins):
    """A unit in such an input appears at that place of what the first dense layer reads."""
    settings = {"categories": categories, "category_width": 4, "bins": bins, "embedding": 3}
    net = gpubp.Network([4, 6, 1], output="identity", dtype="float64", backend="cpu", **settings)
    assert isinstance(net.spec, NetworkSpec)
    base = np.full((1, 4), -1.0)
    dense = next(layer for layer in net.layers if isinstance(layer, Dense))
    for input_, place in passed_inputs(net).items():
        moved = base.copy()
        moved[0, input_] += 1
        outputs = []
        for x in (base, moved):
            net.forward(x)
            index = net.layers.index(dense)
            outputs.append(net._last.layers[index].x.copy())
        np.testing.assert_array_equal(np.flatnonzero(outputs[1] - outputs[0]), [place])
