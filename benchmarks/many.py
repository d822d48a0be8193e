"""Train many networks of one shape: at once, one after the other, in two processes, elsewhere.

    python benchmarks/many.py [--peer-python PATH] [--rounds 3] [--members 1,8]

Every way trains the same K networks on the same data for as many epochs with Adam. Each runs in a
process of its own, in turn, in an order drawn anew each round; a ratio is the median over the
rounds of the ratio within a round. Data are on every side where a step can read them before the
clock starts, and compilation is left out: every way trains an epoch before. More than eight
networks have a round less, as a round takes a minute.

"the products" are the matrix products of all steps alone, by NumPy, half of the networks in a
process each: where they take nearly as long, no training by such products can be faster. "bound"
is one after the other beside these products: what "one after the other" would be if all but NumPy's
products took no time at once. "one thread" is `Networks` in a process that may use one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from markdown import Rounds, circumstances, median, number, ratio, table
from process import turns

# sizes, batch, rows, epochs
CASES = (((30, 64, 64, 2), 32, 3200, 8), ((784, 128, 10), 128, 6400, 2))
MEMBERS = (1, 2, 8, 32, 64)
STACKED = 1 << 18  # bytes of a stack of matrices: so many stay in a core's own cache
MANY = 8  # networks, from which on there is a round less
Run = Callable[[int], None]  # trains for so many epochs
Way = Callable[[tuple[int, ...], int, Any, Any, int], Run]


def at_once(sizes: Any, batch: int, x: Any, y: Any, members: int) -> Run:
    """Train by `gpubp.Networks`."""
    import gpubp

    def run(epochs: int) -> None:
        nets = gpubp.Networks(sizes, members, output="softmax", backend="cpu")
        nets.fit(x, y, epochs=epochs, batch_size=batch)

    return run


def one_after_the_other(
    sizes: Any, batch: int, x: Any, y: Any, members: int, first: int = 0
) -> Run:
    """Train by `gpubp.Network`, each with all threads."""
    import gpubp

    def run(epochs: int) -> None:
        for seed in range(first, first + members):
            net = gpubp.Network(sizes, output="softmax", backend="cpu", seed=seed)
            net.fit(x, y, epochs=epochs, batch_size=batch)

    return run


def on_one_thread(sizes: Any, batch: int, x: Any, y: Any, members: int) -> Run:
    """Train by `gpubp.Networks` on one thread, as one after the other does on all."""
    from gpubp.backends.cpu.threads import use_threads

    use_threads(1)
    return at_once(sizes, batch, x, y, members)


def two_processes(sizes: Any, batch: int, x: Any, y: Any, members: int) -> Run:
    """Train half of them here and half in a process that was started before, on a thread each."""
    from gpubp.backends.cpu.threads import use_threads

    use_threads(1)
    here = (members + 1) // 2
    return in_two_processes(
        one_after_the_other(sizes, batch, x, y, here),
        one_after_the_other(sizes, batch, x, y, members - here, here),
    )


def the_products(sizes: Any, batch: int, x: Any, y: Any, members: int) -> Run:
    """Do the matrix products of all steps and nothing else, on a thread of two processes each."""
    import numpy as np

    from gpubp.backends.cpu.threads import use_threads

    use_threads(1)
    largest = 4 * max(i * o for i, o in pairwise(sizes))
    stacked = max(1, STACKED // largest)

    def stack(rows: int, columns: int) -> Any:
        return np.ones((stacked, rows, columns), np.float32)

    products = []
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        a, w, d = stack(batch, inputs), stack(inputs, outputs), stack(batch, outputs)
        products += [(a, w, d), (a.swapaxes(1, 2), d, stack(inputs, outputs))]
        if layer:
            products.append((d, w.swapaxes(1, 2), stack(batch, inputs)))

    def of(members: int) -> Run:
        def run(epochs: int) -> None:
            for _ in range(members * epochs * len(x) // batch // stacked):
                for a, b, out in products:
                    np.matmul(a, b, out=out)

        return run

    return in_two_processes(of((members + 1) // 2), of(members // 2))


def in_two_processes(mine: Run, others: Run) -> Run:
    """Return what does the one here and the other, meanwhile, in a process that it starts now."""
    ask_read, ask = os.pipe()
    done, done_write = os.pipe()
    if os.fork() == 0:
        os.close(ask)  # so that the end of the parent ends this process
        while epochs := os.read(ask_read, 1):
            others(epochs[0])
            os.write(done_write, b".")
        os._exit(0)

    def run(epochs: int) -> None:
        os.write(ask, bytes([epochs]))
        mine(epochs)
        os.read(done, 1)

    return run


def jax_vmap(sizes: Any, batch: int, x: Any, y: Any, members: int) -> Run:
    """Train by JAX: steps scanned, members mapped, all compiled to one call an epoch."""
    import jax
    import jax.numpy as jnp
    from cases import Case
    from peers.jax_peer import Jax

    case, jax_peer = Case("step", sizes, batch), Jax()
    update = jax_peer.update(case)
    states = [jax_peer.start(case, seed) for seed in range(members)]
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *states)
    xs, ys, steps = jnp.asarray(x), jnp.asarray(y), len(x) // batch

    def epoch(state: Any, key: Any) -> Any:
        order = jax.random.permutation(key, len(x))[: steps * batch].reshape(steps, batch)
        return jax.lax.scan(lambda s, rows: update(s, xs[rows], ys[rows]), state, order)

    many = jax.jit(jax.vmap(epoch))

    def run(epochs: int) -> None:
        state = stacked
        for seed in range(epochs):
            state, losses = many(state, jax.random.split(jax.random.key(seed), members))
        losses.block_until_ready()

    return run


def torch_vmap(sizes: Any, batch: int, x: Any, y: Any, members: int) -> Run:
    """Train by PyTorch: gradients of all members by torch.func, Adam on the stacked parameters."""
    import torch
    from cases import Case
    from peers.torch_peer import Torch

    made = [Torch().network(Case("step", sizes, batch), seed) for seed in range(members)]
    xs, ys = torch.from_numpy(x), torch.from_numpy(y)

    def loss_of(parameters: Any, rows: Any) -> Any:
        outputs = torch.func.functional_call(made[0], parameters, (xs[rows],))
        return torch.nn.functional.cross_entropy(outputs, ys[rows])

    gradients = torch.func.vmap(torch.func.grad(loss_of))

    def run(epochs: int) -> None:
        parameters, _ = torch.func.stack_module_state(made)
        optimizer = torch.optim.Adam(parameters.values(), 1e-3, fused=True)
        for _ in range(epochs):
            orders = torch.stack([torch.randperm(len(xs)) for _ in range(members)])
            for start in range(0, len(xs), batch):
                found = gradients(parameters, orders[:, start : start + batch])
                for name, parameter in parameters.items():
                    parameter.grad = found[name]
                optimizer.step()

    return run


def scikit_learn(sizes: Any, batch: int, x: Any, y: Any, members: int) -> Run:
    """Train by scikit-learn's classifiers in two processes of joblib."""
    import joblib
    from sklearn.neural_network import MLPClassifier

    def one(seed: int, epochs: int) -> Any:
        settings = {"batch_size": batch, "max_iter": epochs, "random_state": seed, "tol": 0}
        return MLPClassifier(sizes[1:-1], alpha=0, **settings).fit(x, y)

    def run(epochs: int) -> None:
        joblib.Parallel(n_jobs=2)(joblib.delayed(one)(seed, epochs) for seed in range(members))

    return run


OURS: dict[str, Way] = {
    "at once": at_once,
    "one after the other": one_after_the_other,
    "one thread": on_one_thread,
    "two processes": two_processes,
    "the products": the_products,
}
PEERS: dict[str, Way] = {
    "jax vmap+scan": jax_vmap,
    "torch.func+vmap": torch_vmap,
    "scikit-learn n_jobs=2": scikit_learn,
}
WAYS = OURS | PEERS
VERSIONS = {"jax vmap+scan": "jax", "torch.func+vmap": "torch", "scikit-learn n_jobs=2": "sklearn"}


def child(way: str, case: int, members: int) -> None:
    """Prepare one way, then train each time a line comes, and answer with the seconds."""
    import importlib
    import warnings

    import numpy as np

    warnings.simplefilter("ignore")  # of few epochs
    sizes, batch, rows, epochs = CASES[case]
    values = np.random.default_rng(0)
    x = values.standard_normal((rows, sizes[0]), dtype=np.float32)
    y = values.integers(0, sizes[-1], rows)
    run = WAYS[way](sizes, batch, x, y, members)
    run(1)  # compiles, wakes threads, fills caches
    module = VERSIONS.get(way)
    print(importlib.import_module(module).__version__ if module else "", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        run(epochs)
        print(json.dumps(time.perf_counter() - start), flush=True)


class Peer:
    """A way in a process of its own, which begins to prepare itself."""

    def __init__(self, python: str, way: str, case: int, members: int) -> None:
        words = [python, str(Path(__file__).resolve()), "--child", way, str(case), str(members)]
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def wait(self) -> tuple[bool, str]:
        """Wait until it is ready; return whether it is, and its version or what is wrong."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = self._process.stdout.readline()
        if line:
            return True, line.strip()
        return False, self._process.stderr.read().strip().splitlines()[-1]

    def seconds(self) -> float:
        """Train once and return the seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print("go", file=self._process.stdin)
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measure(case: int, members: int, given: argparse.Namespace) -> tuple[Rounds, dict[str, str]]:
    """Return the seconds of every round of every way, and what was said of each."""
    begun, said, peers = {}, {}, {}
    for way in WAYS:
        python = given.peer_python if way in PEERS else sys.executable
        begun[way] = Peer(python, way, case, members)
    for way, peer in begun.items():
        works, said[way] = peer.wait()
        if works:
            peers[way] = peer
    rounds: Rounds = {way: [] for way in peers}
    for _, way in turns(max(1, given.rounds - (members > MANY)), [*peers]):
        rounds[way].append(peers[way].seconds())
    for peer in peers.values():
        peer.close()
    return rounds, said


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peer-python", default=sys.executable, help="has the other libraries")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--members",
        type=lambda text: tuple(map(int, text.split(","))),
        default=MEMBERS,
        help="such as 1,8",
    )
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child[0], *map(int, given.child[1:]))
        return 0
    versions: dict[str, str] = {}
    tables = []
    for case, (sizes, batch, rows, epochs) in enumerate(CASES):
        lines = []
        for members in given.members:
            rounds, said = measure(case, members, given)
            versions |= said
            own = median(rounds, "at once")
            pace = "" if own is None else f"{members * rows * epochs / own:,.0f}"
            others = [number(ratio(rounds, way, "at once")) for way in WAYS if way != "at once"]
            bound = number(ratio(rounds, "one after the other", "the products"))
            lines.append([str(members), pace, *others, bound])
        others = [way for way in WAYS if way != "at once"]
        head = ["networks", "rows a second, at once", *others, "bound"]
        name = "-".join(map(str, sizes))
        title = f"{name}, batch {batch}, {rows:,} rows, {epochs} epochs"
        tables.append(f"## {title}\n\n{table(head, lines)}\n")
    said = [f"{way}: {version}" for way, version in versions.items() if version]
    load = "" if not hasattr(os, "getloadavg") else f"load {os.getloadavg()[0]:.1f}"
    print("# Many networks at once, on the CPU\n")
    print(circumstances(*said, load))
    print(f"Times as a multiple of those at once, medians of {given.rounds} rounds.\n")
    print("\n".join(tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
