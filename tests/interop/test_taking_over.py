"""Networks of scikit-learn and PyTorch that are taken over."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import gpubp
from gpubp import errors, exchange

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((40, 5)).astype(np.float32)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learns_estimators_are_taken_over():
    neural_network = pytest.importorskip("sklearn.neural_network")
    x = X.astype(float)
    several = RANDOM.integers(0, 2, (40, 3))
    cases = [
        (neural_network.MLPClassifier, np.array(["a", "b", "c"])[RANDOM.integers(0, 3, 40)]),
        (neural_network.MLPClassifier, x[:, 0] > 0),
        (neural_network.MLPClassifier, several),
        (neural_network.MLPRegressor, x[:, 0] ** 2),
        (neural_network.MLPRegressor, x[:, :2] ** 2),
    ]
    for kind, y in cases:
        theirs = kind(hidden_layer_sizes=(7, 4), activation="tanh", random_state=0, max_iter=20)
        theirs.fit(x, y)
        ours = exchange.from_scikit_learn(theirs, backend="cpu")
        if hasattr(theirs, "classes_"):
            np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
            found, exact = ours.predict_proba(x), theirs.predict_proba(x)
        else:
            found, exact = ours.predict(x), theirs.predict(x)
        np.testing.assert_allclose(found, exact, rtol=1e-10)
        assert ours.loss_curve_ == theirs.loss_curve_
        assert ours.score(x, y) == pytest.approx(theirs.score(x, y))
        ours.set_params(max_iter=2, warm_start=True).fit(x, y)
    with pytest.raises(errors.ConfigurationError, match="a fitted MLPClassifier or MLPRegressor"):
        exchange.from_scikit_learn(neural_network.MLPClassifier())


def state_dict(sizes, bias=True):
    """What PyTorch's `nn.Sequential(Linear, ReLU, Linear, ...).state_dict()` holds, in NumPy."""
    state = {}
    for place, (inputs, outputs) in enumerate(pairwise(sizes)):
        state[f"{2 * place}.weight"] = RANDOM.standard_normal((outputs, inputs)).astype("f4")
        if bias:
            state[f"{2 * place}.bias"] = RANDOM.standard_normal(outputs).astype("f4")
    return state


@pytest.mark.parametrize("bias", [True, False])
def test_a_state_dict_of_pytorch_is_taken_over(bias):
    state = state_dict([5, 4, 3], bias)
    net = exchange.from_pytorch(state, "relu", "identity", backend="cpu")
    hidden = np.maximum(X @ state["0.weight"].T + state.get("0.bias", 0), 0)
    exact = hidden @ state["2.weight"].T + state.get("2.bias", 0)
    np.testing.assert_allclose(net.predict(X), exact, rtol=1e-5, atol=1e-6)


def test_modules_of_pytorch_are_taken_over_with_their_activations():
    torch = pytest.importorskip("torch", reason="PyTorch is not among the tests' needs")
    nn = torch.nn
    for made in (nn.ReLU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.ELU(), nn.Mish(), nn.Tanh()):
        module = nn.Sequential(nn.Linear(5, 8), made, nn.Dropout(), nn.Linear(8, 3)).eval()
        net = exchange.from_pytorch(module, backend="cpu")
        exact = module(torch.from_numpy(X)).detach().numpy()
        np.testing.assert_allclose(net.predict(X), exact, rtol=1e-4, atol=1e-5)


class Fake:
    """A module of PyTorch as far as the import looks at it."""

    def __init__(self, *children, **settings):
        self._children = children
        vars(self).update(settings)

    def children(self):
        return self._children


def fake(kind, **settings):
    return type(kind, (Fake,), {"__repr__": lambda self: kind})(**settings)


def test_activations_come_from_the_module():
    state = state_dict([5, 4, 3])
    layers = [
        fake("Linear"),
        fake("GELU", approximate="tanh"),
        fake("Linear"),
        fake("Softmax", dim=-1),
    ]
    module = Fake(*layers, state_dict=lambda: state)
    net = exchange.from_pytorch(module, backend="cpu")
    assert [layer.activation.name for layer in net.layers] == ["gelu_tanh", "softmax"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: exchange.from_pytorch({}), "the state dict is empty"),
        (lambda: exchange.from_pytorch({"0.weight": np.ones(3)}), r"'0.weight' of shape \(3,\)"),
        (
            lambda: exchange.from_pytorch(
                {"0.weight": np.ones((3, 2)), "1.weight": np.ones((3, 4))}
            ),
            "linear layer 2 has 4 inputs; 3, the outputs",
        ),
        (lambda: exchange.from_pytorch({"0.bias": np.ones(3)}), "'0' has no weight"),
        (
            lambda: exchange.from_pytorch(Fake(fake("Linear"), fake("Conv2d"))),
            "Conv2d cannot be taken over",
        ),
        (
            lambda: exchange.from_pytorch(
                Fake(fake("Linear"), fake("LeakyReLU", negative_slope=0.2))
            ),
            "LeakyReLU has negative_slope 0.2; 0.01 is needed",
        ),
        (lambda: exchange.write_numpy_predictor(3, "x.py"), "a int cannot be exported"),
    ],
)
def test_what_cannot_be_taken_over_is_refused(make, message):
    with pytest.raises(errors.GpubpError, match=message):
        make()


def test_a_softplus_with_another_threshold_is_refused():
    class Module:
        def __init__(self, **settings):
            vars(self).update(settings)

    def network(threshold):
        kinds = [type(name, (Module,), {}) for name in ("Linear", "Softplus")]
        return Sequential([kinds[0](), kinds[1](beta=1, threshold=threshold)])

    class Sequential:
        def __init__(self, parts):
            self.children = lambda: parts

        def state_dict(self):
            return {"0.weight": np.ones((2, 3)), "0.bias": np.zeros(2)}

    assert gpubp.exchange.from_pytorch(network(20), backend="cpu").output.name == "softplus"
    with pytest.raises(errors.ConfigurationError, match="has threshold 1; 20 is needed"):
        gpubp.exchange.from_pytorch(network(1), backend="cpu")
