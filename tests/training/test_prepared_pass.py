"""Forward passes that a network prepares once for each number of rows."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
from conftest import compiled
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from gpubp.backends.cpu.planned_steps import PlannedSteps
from gpubp.training.prepared_pass import MOST_PASSES

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((1100, 5))
CLASSES = RANDOM.integers(0, 3, len(X))


def network(backend=None, **settings):
    settings = {"dtype": "float64", "seed": 3} | settings
    return gpubp.Network([5, 8, 8, 3], "tanh", "softmax", backend or compiled(), **settings)


def test_full_chunks_and_the_rest_have_a_pass_each_and_give_the_walked_outputs():
    net, walked = network(), network(NumpyBackend())
    for _ in range(3):
        for each in (net, walked):
            each.train_step(X[:50], CLASSES[:50], optimizer="adam")
        np.testing.assert_allclose(net.predict(X), walked.predict(X), rtol=1e-12)
    assert {rows: type(each.run) for rows, each in net.stack.passes.items()} == {
        1024: PlannedSteps,
        76: PlannedSteps,
    }
    assert walked.stack.passes == {}


def test_larger_buffers_and_moved_parameters_forget_the_passes():
    net = network()
    net.predict(X[:10])
    (before,) = net.stack.passes.values()
    net.predict(X[:20])
    assert [*net.stack.passes] == [20]
    net.predict(X[:10])
    assert net.stack.passes[10] is not before
    net.stack.lie_in(np.empty_like(net.parameters))
    assert net.stack.passes == {}
    np.testing.assert_array_equal(net.predict(X[:10]), network().predict(X[:10]))


def test_only_so_many_passes_are_kept():
    net = network()
    net.predict(X[:100])
    for rows in range(1, 3 * MOST_PASSES):
        net.predict(X[:rows])
        assert len(net.stack.passes) <= MOST_PASSES


@pytest.mark.parametrize("bins", [None, [[-1.0, 0.0, 1.0], [], [], [-2.0, 2.0], []]])
def test_backward_is_that_of_the_last_forward_whatever_was_done_between_two(bins):
    """What a layer noted in a step with dropout, or in a walked pass, is not that of the pass."""
    net, fresh = (network(dropout=0.5, bins=bins) for _ in range(2))
    rows, others = X[:30], X[30:60]
    dy = RANDOM.standard_normal((30, 3))
    net.forward(rows)
    net.train_step(others, CLASSES[:30], optimizer=gpubp.SGD(1e-300))
    net.input_gradient(others)
    found = []
    for each in (net, fresh):
        each.forward(rows)
        found.append((each.backward(dy), each.gradients.copy()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-9)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-9, atol=1e-12)
