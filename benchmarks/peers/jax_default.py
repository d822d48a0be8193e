"""gpubp's default network for tables in JAX, in the form that is fastest there on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from cases import Case
from default_network import (
    BINS,
    DECAY,
    DROPOUT,
    EMBEDDING,
    EPOCHS,
    NUMBERS,
    PACE,
    RATE,
    STEPS,
    edges,
    start,
)

FEW = 128  # rows of a batch, up to which products are the faster way to embed numbers
ACTIVATIONS = {"mish": jax.nn.mish, "relu": jax.nn.relu}


def embedded(parameters: Any, x: Any) -> Any:
    """Return the piecewise-linear embedding of numbers, (rows, NUMBERS * EMBEDDING)."""
    bounds = jnp.asarray(edges())
    cell = jax.vmap(partial(jnp.searchsorted, side="right"), (0, 1), 1)(bounds[:, 1:-1], x)
    cell = cell + BINS * jnp.arange(NUMBERS)
    low, width = bounds[:, :-1].ravel(), jnp.diff(bounds).ravel()
    share = (x - low[cell]) / width[cell]
    table = parameters["table"]
    both = jnp.concatenate([jnp.cumsum(table, 1) - table, table], 2).reshape(-1, 2 * EMBEDDING)
    before, own = jnp.split(both[cell], 2, axis=2)
    linear = x[:, :, None] * parameters["weight"] + parameters["bias"]
    return (linear + before + share[:, :, None] * own).reshape(len(x), -1)


def embedded_by_products(parameters: Any, x: Any) -> Any:
    """Return the same by the components of every number and a product with the table."""
    bounds = jnp.asarray(edges())
    low, width = bounds[:, :-1], jnp.diff(bounds)
    floor = jnp.zeros((NUMBERS, BINS)).at[:, 0].set(-jnp.inf)
    ceiling = jnp.ones((NUMBERS, BINS)).at[:, -1].set(jnp.inf)
    share = jnp.clip((x[:, :, None] - low) / width, floor, ceiling)
    bent = jnp.einsum("rct,ctd->rcd", share, parameters["table"])
    linear = x[:, :, None] * parameters["weight"] + parameters["bias"]
    return (linear + bent).reshape(len(x), -1)


def outputs_of(case: Case) -> Callable[..., Any]:
    """Return the forward pass (parameters, x, key) -> outputs; without a key nothing is dropped."""
    rate, activation = DROPOUT[case.activation], ACTIVATIONS[case.activation]
    embed = embedded if case.batch > FEW else embedded_by_products

    def outputs(parameters: Any, x: Any, key: Any = None) -> Any:
        names = parameters["names"][x[:, 0].astype(jnp.int32)]
        numbers = embed(parameters, x[:, 1 : 1 + NUMBERS])
        x = jnp.concatenate([numbers, names, x[:, 1 + NUMBERS :]], 1)
        for layer, (weight, bias) in enumerate(parameters["dense"][:-1]):
            x = activation(x @ weight + bias)
            if rate and key is not None:
                kept = jax.random.bernoulli(jax.random.fold_in(key, layer), 1 - rate, x.shape)
                x = jnp.where(kept, x / (1 - rate), 0)
        weight, bias = parameters["dense"][-1]
        return x @ weight + bias

    return outputs


def loss_of(outputs: Any, y: Any) -> Any:
    """Return the mean loss: of classes, or of numbers."""
    if jnp.issubdtype(y.dtype, jnp.integer):
        return -jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], 1).mean()
    return jnp.square(outputs[:, 0] - y).mean()


def start_of(case: Case) -> Any:
    """Return parameters, both moments, the number of steps and the running mean."""
    parameters = jax.tree.map(jnp.asarray, start(case))
    zeros, mean = partial(jax.tree.map, jnp.zeros_like), jax.tree.map(jnp.copy, parameters)
    return parameters, zeros(parameters), zeros(parameters), jnp.float32(0), mean


def update_of(case: Case) -> Callable[..., Any]:
    """Return a function (state, x, y) -> (state, loss): a step of AdamW and of the mean."""
    outputs, seed = outputs_of(case), jax.random.key(0, impl="unsafe_rbg")

    def loss(parameters: Any, x: Any, y: Any, key: Any) -> Any:
        return loss_of(outputs(parameters, x, key), y)

    def update(state: Any, x: Any, y: Any) -> tuple[Any, Any]:
        p, m, v, t, mean = state
        key = jax.random.fold_in(seed, t.astype(jnp.int32))
        value, g = jax.value_and_grad(loss)(p, x, y, key)
        rate = (
            RATE[case.activation] * (1 + jnp.cos(jnp.pi * jnp.minimum(t / (EPOCHS * STEPS), 1))) / 2
        )
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        size, root, kept = rate / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t), 1 - rate * DECAY
        p = jax.tree.map(lambda p, m, v: kept * p - size * m / (root * jnp.sqrt(v) + 1e-8), p, m, v)
        mean = jax.tree.map(lambda mean, p: mean + PACE * (p - mean), mean, p)
        return (p, m, v, t, mean), value

    return update
