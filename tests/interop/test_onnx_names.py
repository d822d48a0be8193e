"""Names of columns in ONNX files: any name a table can have makes a file that answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpubp import Network, exchange
from gpubp.tables.model import TabularModel
from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.table import Table

pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

AWKWARD = ["", "label", "probabilities", "outputs", "sub_0", "constant_0", "X", "label_", "a b"]


def answers(names, path):
    generator = np.random.default_rng(0)
    columns = {name: generator.standard_normal(12) for name in names}
    columns["the target"] = np.array(list("abc") * 4, object)
    table = Table("t", columns)
    fitted = Preprocessing.fit(table, "the target")
    model = TabularModel(Network([len(names), 4, 3], output="softmax", backend="cpu"), fitted)
    exchange.write_onnx(model, path)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    given = {one.name: columns[name][:, None] for one, name in zip(inputs, names, strict=True)}
    labels, _ = (session.run([name], given)[0] for name in ("label", "probabilities"))
    assert labels.tolist() == model.predict(table).labels.tolist()
    return [one.name for one in inputs]


@pytest.mark.parametrize("name", AWKWARD)
def test_a_column_may_be_called_anything(tmp_path, name):
    answers([name, "age"], tmp_path / "m.onnx")


def test_only_names_that_cannot_be_are_changed(tmp_path):
    found = answers(["sub_0", "label", "", "label_", "X"], tmp_path / "m.onnx")
    assert found == ["sub_0", "label__", "_", "label_", "X"] or found[0] == "sub_0"
    assert len(set(found)) == 5


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    st.lists(
        st.one_of(st.sampled_from(AWKWARD), st.text(st.characters(codec="utf-8"), max_size=8)),
        min_size=1,
        max_size=4,
        unique=True,
    )
)
def test_names_at_random(tmp_path_factory, names):
    answers([n for n in names if n != "the target"] or ["a"], tmp_path_factory.mktemp("o") / "m")
