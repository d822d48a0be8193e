"""Models to and from other libraries, against those libraries and against the network itself."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import gpubp
from gpubp import errors, exchange
from gpubp.nn.activations import ACTIVATIONS
from gpubp.tables.model import TabularModel
from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.table import Table
from table_building import NAN, table

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((40, 5)).astype(np.float32)


def onnx_session(path):
    pytest.importorskip("onnx", reason="onnx writes the files")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is the truth here")
    return runtime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])


def numpy_answers(path, code):
    """Run a predictor file in a Python that cannot import gpubp, and return what it prints."""
    program = (
        "import sys; sys.modules['gpubp'] = None; import runpy, numpy as np\n"
        f"model = runpy.run_path({os.fspath(path)!r}); nan = np.nan\n{code}"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.array(eval(done.stdout))


def trained(activation="relu", output="softmax", **settings):
    net = gpubp.Network([5, 8, 6, 3], activation, output, "cpu", **settings)
    net.fit(X, RANDOM.integers(0, 3, 40), loss="squared_error", epochs=3)
    return net


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("normalization", [None, "layer", "batch"])
def test_every_activation_in_onnx_and_numpy(tmp_path, activation, normalization):
    output = activation if activation in ("softmax", "exp") else "identity"
    hidden = "tanh" if activation in ("softmax", "exp") else activation
    net = trained(hidden, output, normalization=normalization)
    exact = net.predict(X)
    exchange.write_onnx(net, tmp_path / "net.onnx")
    (found,) = onnx_session(tmp_path / "net.onnx").run(None, {"X": X})
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)
    exchange.write_numpy_predictor(net, tmp_path / "net.py")
    code = f"print(model['outputs'](np.array({X.tolist()})).tolist())"
    found = numpy_answers(tmp_path / "net.py", code)
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)


def test_scaled_bytes_and_float64(tmp_path):
    bytes_ = RANDOM.integers(0, 256, (20, 5)).astype(np.uint8)
    net = gpubp.Network([5, 4, 2], "sigmoid", input_scale=1 / 255, dtype="float64", backend="cpu")
    exchange.write_onnx(net, tmp_path / "net.onnx")
    (found,) = onnx_session(tmp_path / "net.onnx").run(None, {"X": bytes_.astype(np.float32)})
    np.testing.assert_allclose(found, net.predict(bytes_), rtol=1e-5, atol=1e-6)


TABLE = {
    "age": [30.0, NAN, 41.5, 55.0, 28.0, 60.0, 33.0, NAN],
    "salary": [1e3, 2e3, 1.5e3, 4e3, 1e3, 5e3, 2e3, 3e3],
    "town": ["Ulm", "Bonn", None, "Ulm", "Kiel", "Bonn", "Ulm", "Kiel"],
    "member": ["yes", "no", "yes", "no", "yes", "no", "yes", "no"],
    "size": ["S", "M", "L", "M", "S", None, "L", "M"],
    "since": [1.5e9 + 1e7 * place + 1e4 * place**2 for place in range(8)],
}
KINDS = {"since": "time"}
ORDERS = {"size": ("S", "M", "L")}
TARGETS = {
    "classification": ["a", "b", "c", "a", "b", "c", "a", "b"],
    "regression": [1.5e6, 2.25e6, 1.75e6, 3e6, 1.1e6, 4e6, 2e6, 2.5e6],
}
# new rows: a missing value in a column that had none, a town never seen
NEW = TABLE | {
    "salary": [1e3, NAN, 1.5e3, 4e3, 1e3, 5e3, 2e3, 3e3],
    "town": ["Ulm", "Bonn", None, "Paris", "Kiel", "Bonn", "Ulm", "Kiel"],
    "member": ["yes", None, "yes", "no", "yes", "no", "yes", "no"],
    "size": ["S", "M", "XL", "M", "S", None, "L", "M"],
    "since": [NAN, *[1.6e9 + 1e6 * place for place in range(7)]],
}


def table_of(**columns):
    made = table(**columns)
    return Table("data.csv", made.columns, made.kinds | KINDS, orders=ORDERS)


def table_model(task):
    rows = table_of(**TABLE, y=TARGETS[task])
    preprocessing = Preprocessing.fit(rows, "y", task)
    sizes = [len(preprocessing.features), 6, preprocessing.outputs]
    output = "softmax" if task == "classification" else "identity"
    net = gpubp.Network(sizes, output=output, backend="cpu")
    net.fit(preprocessing.transform(rows).x, preprocessing.targets(rows), epochs=20)
    return TabularModel(net, preprocessing)


def onnx_columns(table):
    columns = {}
    for name, values in table.items():
        if any(isinstance(value, str) for value in values):
            cells = np.array(["" if value is None else value for value in values], object)
        else:
            cells = np.array(values)
        columns[name] = cells.reshape(-1, 1)
    return columns


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("rows", [TABLE, NEW], ids=["as trained", "new"])
def test_preprocessing_is_part_of_what_is_exported(tmp_path, task, rows):
    model = table_model(task)
    answers = model.predict(table_of(**rows))
    exchange.write_onnx(model, tmp_path / "model.onnx")
    found = onnx_session(tmp_path / "model.onnx").run(None, onnx_columns(rows))
    exchange.write_numpy_predictor(model, tmp_path / "model.py")
    code = f"print(model['predict']({rows!r}).tolist())"
    alone = numpy_answers(tmp_path / "model.py", code)
    if task == "classification":
        np.testing.assert_allclose(found[0], answers.outputs, atol=1e-5)
        assert list(found[1]) == list(answers.labels) == list(alone)
    else:
        np.testing.assert_allclose(found[0][:, 0], answers.labels, rtol=1e-5)
        np.testing.assert_allclose(alone[:, 0], answers.labels, rtol=1e-5)


def test_a_model_file_of_the_command_is_exported_with_its_preprocessing(tmp_path):
    pytest.importorskip("safetensors")
    model = table_model("classification")
    model.save(tmp_path / "model.safetensors")
    net = gpubp.Network.load(tmp_path / "model.safetensors", "cpu")
    exchange.write_onnx(net, tmp_path / "model.onnx")
    found = onnx_session(tmp_path / "model.onnx").run(["label"], onnx_columns(TABLE))
    assert list(found[0]) == list(model.predict(table_of(**TABLE)).labels)


def test_a_predictor_file_answers_on_the_command_line(tmp_path):
    model = table_model("classification")
    exchange.write_numpy_predictor(model, tmp_path / "model.py")
    since = np.array(NEW["since"])
    known = np.nan_to_num(since).astype("datetime64[s]")
    times = ["" if np.isnan(v) else str(t) for v, t in zip(since, known, strict=True)]
    lines = [
        ",".join(NEW),
        *(
            ",".join("" if v is None or v != v else str(v) for v in row)
            for row in zip(*(NEW | {"since": times}).values(), strict=True)
        ),
    ]
    (tmp_path / "new.csv").write_text("\n".join(lines))

    def run(name):
        command = [sys.executable, str(tmp_path / "model.py"), str(tmp_path / name)]
        return subprocess.run(command, capture_output=True, text=True)

    assert run("new.csv").stdout.split() == list(model.predict(table_of(**NEW)).labels)
    missing = run("none.csv")
    assert missing.returncode == 2
    assert "Traceback" not in missing.stderr
    (tmp_path / "other.csv").write_text("age\n30\n")
    wrong = run("other.csv")
    assert (wrong.returncode, "the column 'salary' is needed" in wrong.stderr) == (2, True)


@pytest.mark.parametrize("labels", [["no", "yes"], [3, 7], [False, True], ["x", "y", "z"]])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_are_exported_with_their_labels(tmp_path, labels):
    pytest.importorskip("sklearn")
    y = np.array(labels)[RANDOM.integers(0, len(labels), 40)]
    model = gpubp.MLPClassifier((6,), max_iter=30, random_state=0, backend="cpu").fit(X, y)
    exchange.write_onnx(model, tmp_path / "model.onnx")
    probabilities, found = onnx_session(tmp_path / "model.onnx").run(None, {"X": X})
    np.testing.assert_allclose(probabilities, model.predict_proba(X), atol=1e-5)
    assert [str(label) for label in found] == [str(label) for label in model.predict(X)]
    exchange.write_numpy_predictor(model, tmp_path / "model.py")
    code = f"print(model['predict'](np.array({X.tolist()})).tolist())"
    assert numpy_answers(tmp_path / "model.py", code).tolist() == model.predict(X).tolist()


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(errors.OutputPathError, match="cannot write"):
        exchange.write_numpy_predictor(trained(), tmp_path / "no" / "net.py")


def test_a_predictor_file_has_help_and_outlives_its_reader(tmp_path):
    path = tmp_path / "net.py"
    net = gpubp.Network([1, 1], backend="cpu")
    exchange.write_numpy_predictor(net, path)
    (tmp_path / "data.csv").write_text("1.5\n" * 50_000)
    for option in ("-h", "--help"):
        said = subprocess.run(
            [sys.executable, path, option], capture_output=True, text=True, check=True
        )
        assert said.stdout.startswith(f"usage: {path} data.csv\n")
        assert "prints a prediction for every row" in said.stdout
    command = f"{sys.executable} {path} {tmp_path / 'data.csv'} | head -2"
    piped = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert piped.stderr == ""
    assert [float(line) for line in piped.stdout.split()] == pytest.approx(
        [float(net.predict([[1.5]])[0, 0])] * 2
    )


def test_a_pipeline_is_answered_with_what_can_be_exported(tmp_path):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), gpubp.MLPClassifier())
    for write in (gpubp.exchange.write_onnx, gpubp.exchange.write_numpy_predictor):
        with pytest.raises(errors.ConfigurationError, match=r"a Pipeline .* pipeline\[-1\], which"):
            write(pipeline, tmp_path / "model")
    assert not list(tmp_path.iterdir())
