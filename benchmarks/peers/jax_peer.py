"""JAX: a compiled step with donated buffers, and lax.scan over many steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case, all_rows, in_chunks, mnist, rows_to_predict, scaled, step_batches
from default_network import default_rows

from peers import jax_default

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}
SCAN_STEPS = 16
State = Any


def versions() -> dict[str, str]:
    """Return the versions."""
    import jaxlib

    return {"jax": jax.__version__, "jaxlib": jaxlib.__version__}


class Jax:
    """The step compiled, its state donated."""

    def __init__(self) -> None:
        jax.config.update("jax_platforms", "cpu")

    def start(self, case: Case, seed: int = 0) -> State:
        """Return parameters, both moments and the number of steps."""
        if case.kind == "default":
            return jax_default.start_of(case)
        random = np.random.default_rng(seed)
        parameters = []
        for inputs, outputs in zip(case.sizes, case.sizes[1:], strict=False):
            limit = np.sqrt(6 / inputs) if case.activation == "relu" else np.sqrt(3 / inputs)
            weight = random.uniform(-limit, limit, (inputs, outputs)).astype(np.float32)
            parameters.append((jnp.asarray(weight), jnp.zeros(outputs)))
        zeros = partial(jax.tree.map, jnp.zeros_like)
        return parameters, zeros(parameters), zeros(parameters), jnp.float32(0)

    def update(self, case: Case) -> Callable[..., Any]:
        """Return a function (state, x, y) -> (state, loss)."""
        if case.kind == "default":
            return jax_default.update_of(case)
        logits = self.logits(case)

        def loss_of(parameters: Any, x: Any, y: Any) -> Any:
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits(parameters, x)), y[:, None], 1)
            return -chosen.mean()

        def update(state: State, x: Any, y: Any) -> tuple[State, Any]:
            p, m, v, t = state
            t = t + 1
            loss, g = jax.value_and_grad(loss_of)(p, x, y)
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            rate, root = 1e-3 / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
            p = jax.tree.map(lambda p, m, v: p - rate * m / (root * jnp.sqrt(v) + 1e-8), p, m, v)
            return (p, m, v, t), loss

        return update

    def logits(self, case: Case) -> Callable[[Any, Any], Any]:
        """Return the forward pass."""

        def logits(parameters: Any, x: Any) -> Any:
            for weight, bias in parameters[:-1]:
                x = ACTIVATIONS[case.activation](x @ weight + bias)
            weight, bias = parameters[-1]
            return x @ weight + bias

        return logits

    def step(self, case: Case) -> Callable[[int], int]:
        """Train on given batches."""
        step = jax.jit(self.update(case), donate_argnums=0)
        state = self.start(case)
        batches = [tuple(map(jnp.asarray, batch)) for batch in step_batches(case)]

        def repeat(count: int) -> int:
            nonlocal state
            for index in range(count):
                state, loss = step(state, *batches[index % len(batches)])
                float(loss)
            return count

        return repeat

    def epochs(self, case: Case, x: Any, y: Any, seed: int = 0) -> tuple[Any, Any]:
        """Return a function that trains for epochs, and one that gives the parameters."""
        step = jax.jit(self.update(case), donate_argnums=0)
        take = jax.jit(lambda rows: (x[rows], y[rows]))
        order = np.random.default_rng(seed)
        state = self.start(case, seed)

        def repeat(count: int) -> int:
            nonlocal state
            for _ in range(count):
                rows = order.permutation(len(x))
                for start in range(0, len(x), case.batch):
                    state, loss = step(state, *take(rows[start : start + case.batch]))
                float(loss)
            return count

        return repeat, lambda: state[0]

    def epoch(self, case: Case) -> Callable[[int], int]:
        """Train on all rows."""
        x, y = all_rows(case)
        repeat, _ = self.epochs(case, jnp.asarray(scaled(x)), jnp.asarray(y))
        return repeat  # type: ignore[no-any-return]

    def default(self, case: Case) -> Callable[[int], int]:
        """Train gpubp's default network for tables on all rows."""
        repeat, _ = self.epochs(case, *map(jnp.asarray, default_rows(case)))
        return repeat  # type: ignore[no-any-return]

    def predict(self, case: Case) -> Callable[[int], int]:
        """Predict all rows."""
        logits, parameters = self.logits(case), self.start(case)[0]
        predict = jax.jit(lambda parameters, x: jax.nn.softmax(logits(parameters, x)))
        rows = rows_to_predict(case)
        if case.file:
            return in_chunks(lambda part: predict(parameters, part), rows, case.sizes[-1])
        x = jnp.asarray(rows)

        def repeat(count: int) -> int:
            for _ in range(count):
                predict(parameters, x).block_until_ready()
            return count

        return repeat

    def trainer(self, case: Case, seed: int) -> tuple[Callable[[], object], Callable[[], float]]:
        """Train on MNIST."""
        x, y, x_test, y_test = mnist(case.mnist)
        repeat, parameters = self.epochs(case, jnp.asarray(scaled(x)), jnp.asarray(y), seed)
        logits, test = self.logits(case), jnp.asarray(scaled(x_test))

        def accuracy() -> float:
            return float((np.asarray(logits(parameters(), test)).argmax(1) == y_test).mean())

        return lambda: repeat(1), accuracy


class JaxScan(Jax):
    """Many steps in one call."""

    def step(self, case: Case) -> Callable[[int], int]:
        """Train on given batches, 16 steps a call."""
        update = self.update(case)
        pairs = step_batches(case)
        xs, ys = (jnp.asarray(np.stack(arrays)) for arrays in zip(*pairs, strict=True))
        state = self.start(case)

        @partial(jax.jit, donate_argnums=0)
        def steps(state: State) -> tuple[State, Any]:
            def one(state: State, index: Any) -> tuple[State, Any]:
                return update(state, xs[index], ys[index])

            return jax.lax.scan(one, state, jnp.arange(SCAN_STEPS) % len(pairs))

        def repeat(count: int) -> int:
            nonlocal state
            calls = max(1, round(count / SCAN_STEPS))
            for _ in range(calls):
                state, losses = steps(state)
                np.asarray(losses)
            return calls * SCAN_STEPS

        return repeat

    def epochs(self, case: Case, x: Any, y: Any, seed: int = 0) -> tuple[Any, Any]:
        """Train for whole epochs in one call each; the rows of a last short batch are left out."""
        update, full = self.update(case), len(x) // case.batch

        @partial(jax.jit, donate_argnums=0)
        def one_epoch(state: State, key: Any) -> tuple[State, Any]:
            order = jax.random.permutation(key, len(x))[: full * case.batch]

            def one(state: State, rows: Any) -> tuple[State, Any]:
                return update(state, x[rows], y[rows])

            return jax.lax.scan(one, state, order.reshape(full, case.batch))

        state, key = self.start(case, seed), jax.random.key(seed)

        def repeat(count: int) -> int:
            nonlocal state, key
            for _ in range(count):
                key, own = jax.random.split(key)
                state, losses = one_epoch(state, own)
                np.asarray(losses)
            return count

        return repeat, lambda: state[0]


PEERS = {"jax": Jax, "jax-scan": JaxScan}
