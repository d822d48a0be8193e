"""What the estimators take: data frames, narrow numbers, sparse matrices, CuPy arrays, few rows."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
import simulated.cupy
from gpubp import errors
from gpubp.data.array_feeds import ArrayFeed
from kernel_compilation import host_compiler

pytest.importorskip("sklearn", minversion="1.7")

from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpubp import MLPClassifier, MLPRegressor
from sklearn_data import IRIS

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:.*is_sparse:DeprecationWarning"
)
needs_compiler = pytest.mark.skipif(
    host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
)


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setenv("GPUBP_BACKEND", "cpu")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_names_of_features_are_learnt_from_dataframes(library):
    frames = pytest.importorskip(library)
    x, y = IRIS
    frame = frames.DataFrame(dict(zip("abcd", x.T, strict=True)))
    model = make_pipeline(StandardScaler().set_output(transform=library), MLPClassifier(max_iter=3))
    model.fit(frame, y)
    assert list(model[-1].feature_names_in_) == list("abcd")
    model.predict(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        model[-1].predict(
            frame.rename(columns={"a": "z"}) if library == "pandas" else frame.rename({"a": "z"})
        )


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_narrow_inputs_stay_as_they_are_until_the_batch(monkeypatch, dtype):
    kinds = []
    before = ArrayFeed.__init__

    def init(self, net, data, *rest):
        kinds.append(data.x.dtype.name)
        before(self, net, data, *rest)

    monkeypatch.setattr(ArrayFeed, "__init__", init)
    x, y = load_digits(return_X_y=True)
    model = MLPClassifier(max_iter=3, random_state=0).fit(x.astype(dtype), y)
    wide = MLPClassifier(max_iter=3, random_state=0, dtype="float32").fit(x, y)
    assert kinds == [dtype, "float64"]
    np.testing.assert_allclose(model.loss_curve_, wide.loss_curve_, rtol=1e-5)


@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "csc_matrix"])
def test_sparse_inputs_are_made_dense_a_batch_at_a_time(monkeypatch, kind):
    sparse = pytest.importorskip("scipy.sparse")
    x, y = load_digits(return_X_y=True)
    matrix = getattr(sparse, kind)(x)
    dense = MLPClassifier(max_iter=4, random_state=0, early_stopping=True).fit(x, y)
    from gpubp.data.sparse_rows import SparseRows

    largest = []
    before = SparseRows.dense

    def recorded(self, out=None):
        largest.append(len(self))
        return before(self, out)

    monkeypatch.setattr(SparseRows, "dense", recorded)
    model = MLPClassifier(max_iter=4, random_state=0, early_stopping=True).fit(matrix, y)
    assert max(largest) <= 200
    np.testing.assert_array_equal(model.loss_curve_, dense.loss_curve_)
    np.testing.assert_allclose(model.predict_proba(matrix), dense.predict_proba(x), rtol=1e-12)
    assert max(largest) <= 1024
    np.testing.assert_allclose(model.predict_gradient(matrix[:3]), dense.predict_gradient(x[:3]))


@needs_compiler
def test_cupy_arrays_stay_on_the_gpu(monkeypatch):
    """CuPy in, CuPy out; the backend follows the data."""
    cupy = simulated.cupy.install(monkeypatch)
    monkeypatch.delenv("GPUBP_BACKEND")
    x, y = (cupy.asarray(part) for part in IRIS)
    model = MLPClassifier(random_state=0, max_iter=5, dtype="float64").fit(x, y)
    assert model.backend_report_["backend"] == "gpu"
    host = MLPClassifier(random_state=0, max_iter=5, backend="cpu").fit(*IRIS)
    np.testing.assert_allclose(model.loss_curve_, host.loss_curve_, rtol=1e-9)
    for method in ("predict", "predict_proba", "predict_log_proba", "predict_gradient"):
        found = getattr(model, method)(x)
        assert isinstance(found, cupy.ndarray), method
        exact = getattr(host, method)(IRIS[0])
        np.testing.assert_allclose(found.get(), exact, rtol=1e-6, atol=1e-9)
    numbers = MLPRegressor(random_state=0, max_iter=5).fit(x, y)
    assert isinstance(numbers.predict(x), cupy.ndarray)
    assert numbers.backend_report_["dtype"] == "float32"
    with pytest.raises(
        errors.ShapeError, match="X has 3 features, but MLPRegressor is expecting 4"
    ):
        numbers.predict(x[:, :3])


def test_a_few_plain_rows_are_predicted_without_scikit_learns_checks(monkeypatch):
    x = IRIS[0]
    model = gpubp.MLPClassifier((5,), max_iter=300, tol=0.1).fit(*IRIS)
    expected = model.predict_proba(x)

    def refuse(*arguments, **settings):
        raise AssertionError("validate_data was called")

    with monkeypatch.context() as patch:
        patch.setattr("gpubp.interop.arguments.validate_data", refuse)
        np.testing.assert_array_equal(model.predict_proba(x), expected)
        for other in (x.tolist(), x.astype(int), x[:, :-1], x[0]):
            with pytest.raises(AssertionError, match="validate_data was called"):
                model.predict_proba(other)
    for bad in (np.nan, np.inf):
        broken = x.copy()
        broken[0, 0] = bad
        with pytest.raises(ValueError, match="Input X contains"):
            model.predict_proba(broken)
