"""Where definitions are those of other libraries, and where not: docs/definitions.md.

The numbers were made once by PyTorch 2.14.1 and by optax 0.2.8 on JAX 0.10.2, in float64.
"""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
from gpubp.backends import Scratch

GRADIENTS = [[0.5, -1.0], [0.25, 3.0], [-0.125, 0.5], [1.0, 0.0625], [1e-9, -2e-9]]

# Parameters [1, -2] after these gradients, at a learning rate of 0.1
OF_PYTORCH = [
    (gpubp.RMSProp(0.1, epsilon=1e-3), [0.3318028342421845, -2.045039796742149]),
    (gpubp.Nadam(0.1), [0.7351070520926528, -2.0288445217488547]),
    (gpubp.Adam(0.1), [0.6150336043062362, -2.0713332633632366]),
    (gpubp.AdamW(0.1, weight_decay=0.1), [0.5745880946352069, -1.9744343445541555]),
    (gpubp.Adagrad(0.1), [0.7903282462910888, -2.0124375060838027]),
]
OF_OPTAX = [
    (gpubp.Adam(0.1), [0.6150336043062362, -2.0713332633632366]),
    (gpubp.Lion(0.1, weight_decay=1e-3), [0.6995600919905006, -2.2989801979803013]),
    (gpubp.Lion(0.1, weight_decay=0.1), [0.6569105489, -2.1999603987999996]),
]
NOT_OF_OPTAX = [
    (gpubp.RMSProp(0.1, epsilon=1e-3), [0.3370342599741092, -2.0457923263641105]),
    (gpubp.Nadam(0.1), [0.5798216166975747, -2.0564972816788796]),
]


def after_all_gradients(optimizer, backend):
    parameters = backend.asarray(np.array([1.0, -2.0]))
    moments = tuple(backend.asarray(np.zeros(2)) for _ in optimizer.state)
    for step, gradient in enumerate(GRADIENTS, start=1):
        backend.update_now(
            optimizer.kernel,
            backend.asarray(np.array(gradient)),
            parameters,
            moments,
            optimizer.scalars(step),
            Scratch(backend.xp),
        )
    return backend.to_numpy(parameters)


@pytest.mark.parametrize(("optimizer", "expected"), OF_PYTORCH + OF_OPTAX, ids=str)
def test_optimizers_are_those_of_other_libraries(backend, optimizer, expected):
    # PyTorch keeps the product of Nadam's momenta in float32
    np.testing.assert_allclose(after_all_gradients(optimizer, backend), expected, rtol=1e-8)


@pytest.mark.parametrize(("optimizer", "expected"), NOT_OF_OPTAX, ids=str)
def test_optimizers_that_differ_from_optax(backend, optimizer, expected):
    assert np.abs(after_all_gradients(optimizer, backend) - expected).max() > 5e-4


def rates(patience, losses):
    """Return what the learning rate is multiplied by after each epoch."""
    callback, found, history = gpubp.ReduceOnPlateau(patience), [], gpubp.History()

    class Net:
        factor = 1.0

        def scale_learning_rate(self, factor):
            self.factor *= factor

    net = Net()
    callback.begin(net, len(losses))
    for loss in losses:
        history.loss.append(loss)
        callback.epoch_end(net, history)
        found.append(net.factor)
    return found


def test_a_plateau_takes_one_epoch_more_in_pytorch_which_has_a_threshold():
    """PyTorch's patience=2 on these losses, where it takes 0.99995 for no better than 1."""
    losses = [1, 0.99995, 1, 1, 1, 1, 1, 1]
    of_pytorch = [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01]
    assert rates(3, [1] * 8) == pytest.approx(of_pytorch)
    assert rates(3, losses) == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01])
    assert rates(2, [1] * 8) != pytest.approx(of_pytorch)


def test_a_cosine_stays_at_its_end_and_rises_again_in_pytorch():
    """CosineAnnealingLR(T_max=4) after 0 to 8 steps."""
    of_pytorch = [1, 0.8535533905932737, 0.5, 0.14644660940672627, 0, 0.1464466094067262, 0.5]
    schedule = gpubp.CosineDecay(1.0, 4)
    found = [schedule(step) for step in range(7)]
    assert found[:5] == pytest.approx(of_pytorch[:5], abs=1e-15)
    assert found[5:] == [0, 0]


def test_class_weights_with_label_smoothing_weigh_rows_not_terms(backend):
    """PyTorch weighs the share that is spread over the other classes by their weights."""
    net = gpubp.Network([2, 3], output="softmax", backend=backend, dtype="float64")
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 1.0, -1.0]])
    net.layers[0].weight[...] = net.backend.asarray(logits)
    net.layers[0].bias[...] = 0
    x, y, weights = np.eye(2), np.array([0, 1]), np.array([1.0, 3.0])
    smoothed = gpubp.losses.cross_entropy(0.3)
    weighted, spread = (
        net.evaluate(x, y, sample_weight=weights)["loss"],
        net.evaluate(x, y, loss=smoothed)["loss"],
    )
    assert weighted == pytest.approx(0.3660322974975746, rel=1e-12)  # as in PyTorch
    assert spread == pytest.approx(0.6994586305507687, rel=1e-12)  # as in PyTorch
    both = net.evaluate(x, y, loss=smoothed, sample_weight=weights)["loss"]
    logarithms = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    targets = 0.7 * np.eye(3)[y] + 0.1
    assert both == pytest.approx(np.average(-(targets * logarithms).sum(1), weights=weights))
    assert abs(both - 0.6229758001222252) > 1e-3  # PyTorch's
