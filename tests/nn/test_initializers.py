"""Initial weights: their spread, their bounds, and what "auto" chooses."""

import numpy as np
import pytest

import gpubp
from gpubp.backends.random import INITIAL_WEIGHTS, checked_seed, generator
from gpubp.nn.initializers import INITIALIZERS

INPUTS, OUTPUTS = 300, 500
VARIANCE = {  # as the papers give it
    "glorot": 2 / (INPUTS + OUTPUTS),
    "he": 2 / INPUTS,
    "lecun": 1 / INPUTS,
}


@pytest.mark.parametrize("name", sorted(set(INITIALIZERS) - {"zeros"}))
def test_variance_and_bounds(name):
    weight = INITIALIZERS[name](np.random.default_rng(0), INPUTS, OUTPUTS)
    variance = VARIANCE[name.partition("_")[0]]
    assert weight.shape == (INPUTS, OUTPUTS)
    assert abs(weight.mean()) < 5 * np.sqrt(variance / weight.size)
    assert weight.var() == pytest.approx(variance, rel=0.02)
    if name.endswith("uniform"):
        assert abs(weight).max() <= np.sqrt(3 * variance)
    else:
        assert abs(weight).max() > 3.5 * np.sqrt(variance)


AUTOMATIC = [("relu", "he_uniform"), ("selu", "lecun_normal"), ("tanh", "glorot_uniform")]


@pytest.mark.parametrize(("activation", "initializer"), AUTOMATIC)
def test_auto_follows_the_activation(activation, initializer):
    sizes = [7, 5, 3]
    auto = gpubp.Network(sizes, activation, backend="cpu")
    named = gpubp.Network(sizes, activation, backend="cpu", initializer=initializer)
    np.testing.assert_array_equal(auto.layers[0].weight, named.layers[0].weight)
    expected = INITIALIZERS[initializer](generator(0, INITIAL_WEIGHTS), 7, 5).astype("f4")
    np.testing.assert_array_equal(auto.layers[0].weight, expected)


def test_biases_and_zeros_are_zero():
    net = gpubp.Network([3, 4, 2], backend="cpu", initializer="zeros")
    assert not net.parameters.any()
    assert not gpubp.Network([3, 4], backend="cpu").layers[0].bias.any()


def test_layers_draw_different_numbers():
    net = gpubp.Network([4, 4, 4], "tanh", backend="cpu")
    assert (net.layers[0].weight != net.layers[1].weight).any()


def test_no_seed_draws_one():
    assert checked_seed(None) != checked_seed(None)
    assert checked_seed(np.int64(5)) == 5
    assert gpubp.Network([1, 1], backend="cpu", seed=2**64 - 1).seed == 2**64 - 1


@pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState])
def test_a_generator_draws_the_seed(make):
    """Of one state one seed, and the next network gets another."""
    first, second = make(5), make(5)
    seeds = [checked_seed(first), checked_seed(first)]
    assert seeds == [checked_seed(second), checked_seed(second)]
    assert seeds[0] != seeds[1]
    assert gpubp.Network([1, 1], backend="cpu", seed=make(5)).seed == seeds[0]


def test_a_sequence_of_seeds_is_a_seed():
    expected = int(np.random.SeedSequence(3).generate_state(1, np.uint64)[0])
    assert checked_seed(np.random.SeedSequence(3)) == expected
