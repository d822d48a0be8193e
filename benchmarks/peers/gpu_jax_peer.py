"""JAX on a GPU: a compiled step with donated buffers, and lax.scan over many steps.

JAX gives no device events: the time is that of the host, to the end of the last step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from cases import CLASSES, Case

from peers import jax_peer
from peers.jax_peer import versions as versions

BATCHES = 16
SCAN_STEPS = 64
CHUNK = 1 << 16
MATMUL = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}


def free() -> None:
    """Forget what was compiled; memory that JAX has taken it keeps until its process ends."""
    jax.clear_caches()


class Jax(jax_peer.Jax):
    """The step compiled, its state donated."""

    def __init__(self) -> None:
        if jax.default_backend() != "gpu":
            raise RuntimeError(f"JAX runs on {jax.default_backend()}")

    def logits(self, case: Case) -> Callable[[Any, Any], Any]:
        """Return the forward pass in the case's precision; parameters are float32."""
        exact, wide = super().logits(case), jnp.float32

        def logits(parameters: Any, x: Any) -> Any:
            with jax.default_matmul_precision(MATMUL[case.precision]):
                if case.precision == "bfloat16":
                    parameters = jax.tree.map(lambda part: part.astype(jnp.bfloat16), parameters)
                    return exact(parameters, x.astype(jnp.bfloat16)).astype(wide)
                return exact(parameters, x)

        return logits

    def batches(self, case: Case) -> tuple[Any, Any]:
        """Return inputs (batches, rows, inputs) and classes on the device."""
        keys = jax.random.split(jax.random.key(0))
        x = jax.random.uniform(keys[0], (BATCHES, case.batch, case.sizes[0]))
        return x, jax.random.randint(keys[1], (BATCHES, case.batch), 0, CLASSES)

    def step(self, case: Case) -> Callable[[int], int]:
        """Train on given batches."""
        step = jax.jit(self.update(case), donate_argnums=0)
        state = self.start(case)
        xs, ys = self.batches(case)
        pairs = [(xs[index], ys[index]) for index in range(BATCHES)]

        def repeat(count: int) -> int:
            nonlocal state
            for index in range(count):
                state, loss = step(state, *pairs[index % BATCHES])
            loss.block_until_ready()
            return count

        return repeat

    def predict(self, case: Case) -> Callable[[int], int]:
        """Predict all rows, a chunk at a time."""
        logits, parameters = self.logits(case), self.start(case)[0]
        x = jax.random.uniform(jax.random.key(0), (case.rows, case.sizes[0]))
        predict = jax.jit(lambda parameters, x: jax.nn.softmax(logits(parameters, x)))

        def repeat(count: int) -> int:
            for _ in range(count):
                parts = [
                    predict(parameters, x[start : start + CHUNK])
                    for start in range(0, case.rows, CHUNK)
                ]
                jnp.concatenate(parts).block_until_ready()
            return count

        return repeat


class JaxScan(Jax):
    """Many steps in one call."""

    def step(self, case: Case) -> Callable[[int], int]:
        """Train on given batches, 64 steps a call."""
        update, state = self.update(case), self.start(case)
        xs, ys = self.batches(case)

        @partial(jax.jit, donate_argnums=0)
        def steps(state: Any, xs: Any, ys: Any) -> Any:
            def one(state: Any, index: Any) -> Any:
                return update(state, xs[index], ys[index])

            return jax.lax.scan(one, state, jnp.arange(SCAN_STEPS) % BATCHES)

        def repeat(count: int) -> int:
            nonlocal state
            calls = max(1, round(count / SCAN_STEPS))
            for _ in range(calls):
                state, losses = steps(state, xs, ys)
            losses.block_until_ready()
            return calls * SCAN_STEPS

        return repeat


PEERS: dict[str, type] = {"gpu-jax": Jax, "gpu-jax-scan": JaxScan}
