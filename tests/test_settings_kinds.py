"""Settings of a wrong kind: one line of gpubp.errors that names the setting, before any work."""

from __future__ import annotations

import inspect
import operator

import numpy as np
import pytest

import gpubp
from gpubp import errors

X = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
Y = np.arange(30) % 3
WRONG = {
    "epochs": ["3", 1.5, 0, True, None, [3]],
    "batch_size": ["3", 1.5, 0, [3]],
    "optimizer": [3, [], "nonsense", {}],
    "loss": [3, [], "nonsense", {}],
    "average": ["x", [0.5], 2, True, 10**400],
    "callbacks": [3, [3], "x", [gpubp.EarlyStopping], None],
    "checkpoint": [3, b"x", [3], "a\0b"],
    "every": ["3", 1.5, 0],
    "regularization": [3, "x", [3]],
    "accumulate": ["3", 1.5, 0, None],
    "groups": [3, [3], "x"],
    "dropout_factor": ["x", [3], -1],
    "validation": [3, "x", (X,), [X, Y]],
    "sample_weight": ["x", 3, [1], {}],
    "class_weight": [3, "x", [1], {7: 1}],
    "shards": ["x", 3],
}
CASES = [(name, value) for name, values in WRONG.items() for value in values]


@pytest.mark.parametrize(("name", "value"), CASES)
def test_a_setting_of_fit_is_refused_by_name(name, value):
    net = gpubp.Network([4, 5, 3], output="softmax", backend="cpu")
    before = net.parameters.copy()
    with pytest.raises(errors.GpubpError) as caught:
        net.fit(X, Y, **{name: value})
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(net.parameters, before)


OF_NETWORK = {
    "sizes": [3, "ab", [2], [2, 0], [2, 2.5, 1], [True, 2], [2, 10**12], None, {2: 3}],
    "activation": [3, ["relu", "relu"], "nonsense", [3]],
    "output": [3, [], "nonsense"],
    "dtype": ["(,)f4", 3.5, [], "int8"],
    "seed": ["x", -1, 1.5, 10**400],
    "dropout": ["x", 1, -0.1, ["x"], True],
    "initializer": [3, [], "nonsense"],
    "input_scale": ["x", 0, [1]],
    "precision": [3, [], "nonsense"],
    "normalization": [3, "nonsense", [3]],
    "bins": [3, "x", [[1]], [["a", "b"]] * 4],
    "embedding": ["x", 0, 1.5],
    "categories": [3, "abcd", [1], [-1] * 4],
    "residual": [3, "x"],
    "mixing": [3, "x"],
    "weights": [3, [], "x"],
    "periodic": [3, "x", [1]],
    "backend": [3, [], "nonsense"],
}
OF_NETWORK_CASES = [(name, value) for name, values in OF_NETWORK.items() for value in values]


@pytest.mark.parametrize(("name", "value"), OF_NETWORK_CASES)
def test_a_setting_of_a_network_is_refused_by_name(name, value):
    given = {"sizes": [4, 5, 3], "backend": "cpu"} | {name: value}
    with pytest.raises(errors.GpubpError) as caught:
        gpubp.Network(**given)
    assert "\n" not in str(caught.value)


# Settings with names, and what those need that have no default
MAKERS = {
    **{name: {} for name in ("SGD", "RMSProp", "Adam", "AdamW", "Adagrad", "Nadam", "Lion")},
    "Constant": {"rate": 0.1},
    "StepDecay": {"rate": 0.1, "every": 5, "factor": 0.5},
    "ExponentialDecay": {"rate": 0.1, "factor": 0.5, "steps": 5},
    "CosineDecay": {"rate": 0.1, "steps": 5},
    "CosineWaves": {"rate": 0.1, "steps": 5},
    "FlatCosine": {"rate": 0.1, "steps": 5},
    "WarmUp": {"steps": 5, "then": 0.1},
    "OneCycle": {"peak": 0.1, "steps": 5},
    "Chain": {"parts": [(5, 0.1), (5, 0.01)]},
    "Regularization": {"clip_value": 1.0, "clip_norm": 1.0, "max_norm": 1.0},
    "ParameterGroup": {"names": "bias", "layers": 0},
    "Periodic": {},
    "EarlyStopping": {},
    "TimeLimit": {"seconds": 5},
    "ReduceOnPlateau": {},
    "losses.huber": {"delta": 1.0},
    "losses.quantile": {"q": 0.5},
    "losses.focal": {"gamma": 1.0},
    "losses.cross_entropy": {"label_smoothing": 0.1},
}
MADE = [
    (maker, setting)
    for maker in MAKERS
    for setting in inspect.signature(operator.attrgetter(maker)(gpubp)).parameters
    if setting not in ("nesterov", "binary", "kind", "metric", "mode")
]


@pytest.mark.parametrize(("maker", "setting"), MADE)
@pytest.mark.parametrize("value", [[None], {"a": [1]}.values(), float("nan"), object], ids=str)
def test_a_setting_of_settings_is_refused(maker, setting, value):
    make = operator.attrgetter(maker)(gpubp)
    make(**MAKERS[maker])
    with pytest.raises(errors.ConfigurationError) as caught:
        make(**MAKERS[maker] | {setting: value})
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_settings():
    net = gpubp.Network([4, 5, 3], output="softmax", backend="cpu")
    net.fit(X, Y, optimizer=gpubp.Adam(np.float32(0.01), beta1=np.float32(0.5)), epochs=1)
    group = gpubp.ParameterGroup(layers=np.int64(1), learning_rate=np.float32(0))
    before = net.layers[1].weight.copy()
    net.fit(X, Y, groups=[group], epochs=1)
    np.testing.assert_array_equal(net.layers[1].weight, before)


TABLE = {"a": X[:, 0], "b": np.where(X[:, 1] > 0, "u", "v")}
OF_TABLES = {
    "preset": [[], {}, 3],
    "hidden": [True, -1, "x", [1.5]],
    "activation": [3, []],
    "dropout": ["x", 1],
    "bins": ["x", -1, 1.5, 10**400],
    "leaf": ["x", 0, -1],
    "embedding": ["", 0],
    "category_width": ["x", 0],
    "optimizer": [[], {}, "x"],
    "learning_rate": ["x", 0],
    "weight_decay": ["x", -1],
    "epochs": ["x", 0],
    "patience": ["x", 0],
    "batch_size": ["x", 0],
    "members": ["x", 0, 10**400],
    "schedule": [[], {}, "x"],
    "label_smoothing": ["x", 1],
    "categorical": [True, -1, "a", object()],
    "class_weight": [{"a": 1}, [1], "x"],
    "validation_fraction": ["x", 1],
    "backend": [3, []],
    "dtype": [3, []],
    "time_limit": ["x", 0],
}
OF_TABLE_CASES = [(name, value) for name, values in OF_TABLES.items() for value in values]


@pytest.mark.parametrize(("name", "value"), OF_TABLE_CASES)
def test_a_setting_of_a_table_is_refused(name, value):
    made = gpubp.TabularClassifier(
        **{"preset": "fast", "epochs": 1, "backend": "cpu"} | {name: value}
    )
    with pytest.raises(errors.GpubpError) as caught:
        made.fit(TABLE, Y)
    assert "\n" not in str(caught.value)


TO_FIT = {
    "y": [[], None],
    "validation_data": [True, "", [], {}, (TABLE,)],
    "groups": [True, "x", [1, 2]],
    "time_column": [[], {}, 3, "c"],
}
TO_FIT_CASES = [(name, value) for name, values in TO_FIT.items() for value in values]


@pytest.mark.parametrize(("name", "value"), TO_FIT_CASES)
def test_what_a_table_is_fitted_with_is_refused(name, value):
    made = gpubp.TabularClassifier(preset="fast", epochs=1, backend="cpu")
    with pytest.raises(errors.GpubpError) as caught:
        made.fit(**{"X": TABLE, "y": Y} | {name: value})
    assert "\n" not in str(caught.value)


def small() -> gpubp.Network:
    return gpubp.Network([4, 5, 3], output="softmax", backend="cpu")


CALLS = {
    "quantile_bins count": (lambda v: gpubp.quantile_bins(X, v), [None, 1.5, "", 10**400]),
    "quantile_bins x": (gpubp.quantile_bins, ["", {}, 10**400, [1.0]]),
    "quantile_bins categories": (lambda v: gpubp.quantile_bins(X, categories=v), [True, object()]),
    "tree_bins x": (lambda v: gpubp.tree_bins(v, Y), [None, True, object()]),
    "tree_bins y": (lambda v: gpubp.tree_bins(X, v), [None, [1.0]]),
    "tree_bins count": (lambda v: gpubp.tree_bins(X, Y, v), [1, "x", 10**400]),
    "gradient_check": (lambda v: gpubp.gradient_check(v, X, Y), [None, object(), np.float32(2)]),
    "compiled": (lambda v: small().compiled(rows=v), [0, "x", 10**400]),
    "save": (lambda v: small().save("never", preprocessing=v), [object(), {"a": np.float32(2)}]),
    "input_gradient": (lambda v: small().input_gradient(X, output=v), [3, "", [1], 1.5]),
    "initialize_from": (lambda v: small().initialize_from(X, biases=v), [-1, "x", 10**400]),
    "npy": (lambda v: gpubp.data.npy(v, v), [None, b"x", "a\0b"]),
    "csv": (lambda v: gpubp.data.csv(v, "y"), [None, b"x", "a\0b"]),
    "parquet": (lambda v: gpubp.data.parquet(v, "y"), [None, 1.5, [1], "a\0b"]),
    "TensorBoard": (gpubp.TensorBoard, [None, b"x", "a\0b"]),
    "search": (lambda v: gpubp.search(v, {"alpha": [1]}, X, Y), [None, object()]),
    "search space": (lambda v: gpubp.search(gpubp.MLPClassifier(), v, X, Y), [True, "x", {3: [1]}]),
}
CALLED = [(name, value) for name, (_, values) in CALLS.items() for value in values]


@pytest.mark.parametrize(("name", "value"), CALLED)
def test_a_call_with_what_cannot_be_is_refused(name, value):
    with pytest.raises(errors.GpubpError) as caught:
        CALLS[name][0](value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("take", ["fit", "predict", "forward", "fit y", "sample_weight"])
def test_a_mask_is_not_ignored(take):
    net = gpubp.Network([4, 5, 3], output="softmax", backend="cpu")
    masked = np.ma.masked_less(X, 0)
    weight = np.ma.masked_array(np.ones(30), np.arange(30) < 3)
    calls = {
        "fit": lambda: net.fit(masked, Y),
        "predict": lambda: net.predict(masked),
        "forward": lambda: net.forward(masked),
        "fit y": lambda: net.fit(X, np.ma.masked_equal(Y, 1)),
        "sample_weight": lambda: net.fit(X, Y, sample_weight=weight),
    }
    with pytest.raises(errors.DataError, match="masked values"):
        calls[take]()
    np.testing.assert_array_equal(net.predict(np.ma.masked_array(X)), net.predict(X))


def test_sparse_complex_numbers_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    net = gpubp.Network([4, 5, 3], output="softmax", backend="cpu")
    with pytest.raises(errors.DataError, match="complex"):
        net.predict(sparse.csr_matrix(X * (1 + 1j)))


def test_a_table_with_a_mask_or_half_a_character_is_refused():
    pytest.importorskip("sklearn")
    model = gpubp.TabularClassifier(preset="fast")
    with pytest.raises(errors.DataError, match="masked"):
        model.fit({"a": np.ma.masked_less(X[:, 0], 0)}, Y)
    with pytest.raises(errors.DataError, match="half of a character"):
        model.fit({"a": ["x", "\ud800"] * 15}, Y)
    with pytest.raises(errors.DataError, match="half of a character"):
        model.fit({"a\ud800": X[:, 0]}, Y)
