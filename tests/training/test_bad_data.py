"""Bad arrays get one clear line each, and change nothing."""

import numpy as np
import pytest

import gpubp
from gpubp import errors

X = np.ones((4, 3))


def network(output="softmax", outputs=2):
    return gpubp.Network([3, outputs], output=output, backend="cpu")


NAN = X.copy()
NAN[2, 1] = np.nan
HUGE = X.copy()
HUGE[1, 0] = 1e300

BAD_INPUTS = [
    (np.ones(3), errors.ShapeError, r"x has shape \(3,\).*reshape one row to \(1, 3\)"),
    (np.ones((4, 5)), errors.ShapeError, r"x has shape \(4, 5\); \(rows, 3\) is needed"),
    (np.ones((2, 2, 3)), errors.ShapeError, "x has shape"),
    (NAN, errors.NonFiniteError, r"x\[2, 1\] is nan"),
    (HUGE, errors.NonFiniteError, r"x\[1, 0\] is inf in float32"),
    (np.full((4, 3), "a"), errors.DataError, "x has dtype <U1"),
    (np.full((4, 3), 1j), errors.DataError, "x has dtype complex128"),
    ([[1, 2], [3]], errors.DataError, "x is no array of numbers"),
    (np.array([["a", None, 1]], dtype=object), errors.DataError, "x is no array of numbers"),
]


@pytest.mark.parametrize(("x", "kind", "message"), BAD_INPUTS)
@pytest.mark.parametrize("method", ["forward", "predict", "input_gradient"])
def test_bad_inputs(x, kind, message, method):
    with pytest.raises(kind, match=message) as caught:
        getattr(network(), method)(x)
    assert "\n" not in str(caught.value)


BAD_EXPECTED = [
    ("softmax", [0, 1, 2, 0], errors.DataError, "class in row 2 is 2; a class from 0 to 1"),
    ("softmax", [0, -1, 0, 0], errors.DataError, "class in row 1 is -1"),
    ("softmax", [0, 1, 0.5, 0], errors.ShapeError, "no whole numbers"),
    ("softmax", [0, 1], errors.ShapeError, "x has 4 rows and y has shape"),
    ("softmax", np.ones((4, 3)), errors.ShapeError, r"\(rows, 2\) or \(rows,\) of class indices"),
    ("softmax", np.ones((4, 2)), errors.DataError, "row 0 sum to 2"),
    ("softmax", [[1, 0]] * 3 + [[2, -1]], errors.DataError, "row 3 is 2; cross_entropy needs"),
    ("sigmoid", [[1, 0]] * 3 + [[1, 1.5]], errors.DataError, "row 3 is 1.5"),
    ("identity", [[1, np.nan]] * 4, errors.DataError, "not finite in row 0"),
    ("identity", 3.0, errors.ShapeError, "x has 4 rows and y has shape"),
]


@pytest.mark.parametrize(("output", "y", "kind", "message"), BAD_EXPECTED)
@pytest.mark.parametrize("method", ["fit", "train_step", "evaluate", "trace"])
def test_bad_expected_values(output, y, kind, message, method):
    net = network(output)
    before = net.parameters.copy()
    with pytest.raises(kind, match=message) as caught:
        getattr(net, method)(X, y)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(net.parameters, before)


BAD_FITS = [
    ({"batch_size": 5}, errors.DataError, "batch_size is 5 and the data have 4 rows"),
    ({"batch_size": 0}, errors.ConfigurationError, "batch_size is 0"),
    ({"batch_size": 2.5}, errors.ConfigurationError, "batch_size is 2.5"),
    ({"epochs": 0}, errors.ConfigurationError, "epochs is 0"),
    ({"loss": "croos_entropy"}, errors.UnknownNameError, "did you mean 'cross_entropy'"),
    ({"loss": "binary_cross_entropy"}, errors.ConfigurationError, "needs output='sigmoid'"),
    ({"optimizer": "adma"}, errors.UnknownNameError, "did you mean 'adam'"),
    ({"validation": (X[:2], [0])}, errors.ShapeError, "validation x has 2 rows"),
]


@pytest.mark.parametrize(("setting", "kind", "message"), BAD_FITS)
def test_bad_settings_of_fit(setting, kind, message):
    with pytest.raises(kind, match=message):
        network().fit(X, [0, 1, 0, 1], **setting)


def test_no_rows():
    with pytest.raises(errors.DataError, match="x has no rows"):
        network().fit(np.ones((0, 3)), np.ones(0, int))
    assert network().predict(np.ones((0, 3))).shape == (0, 2)


BAD_OPTIMIZERS = [
    (lambda: gpubp.SGD(0), "learning_rate is 0"),
    (lambda: gpubp.SGD(float("nan")), "learning_rate is nan"),
    (lambda: gpubp.SGD(0.1, momentum=1.0), "momentum is 1.0"),
    (lambda: gpubp.SGD(0.1, nesterov=True), "nesterov=True with momentum 0"),
    (lambda: gpubp.RMSProp(decay=-0.1), "decay is -0.1"),
    (lambda: gpubp.Adam(beta1=1.0), "beta1 is 1.0"),
    (lambda: gpubp.Adam(epsilon=0), "epsilon is 0"),
    (lambda: gpubp.AdamW(weight_decay=-1), "weight_decay is -1"),
    (lambda: gpubp.EarlyStopping(patience=0), "patience is 0"),
]


@pytest.mark.parametrize(("make", "message"), BAD_OPTIMIZERS)
def test_bad_optimizers(make, message):
    with pytest.raises(errors.ConfigurationError, match=message):
        make()


def test_integer_classes_become_one_hot_for_other_losses():
    net = network("sigmoid")
    by_class = net.evaluate(X, [0, 1, 1, 0])
    by_row = net.evaluate(X, [[1, 0], [0, 1], [0, 1], [1, 0]])
    assert by_class == by_row


class OnAnotherDevice:
    """What an array on a GPU looks like from outside."""

    __cuda_array_interface__ = {"shape": (1, 3)}  # noqa: RUF012


def test_gpu_array_and_cpu_network():
    with pytest.raises(errors.DeviceError, match=r"x lies on a GPU and the network on the CPU"):
        network().predict(OnAnotherDevice())
