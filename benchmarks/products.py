"""Time the products of training steps by BLAS, by tiles and by squares of our own, and whole steps.

    python benchmarks/products.py [--threads 2] [--rounds 20]

Each product of float32 is done on one thread, by the processor time that it takes, as one of two
parts of a step does it. Steps are those of `fit`, with so many threads, by the time that passes, or
on one thread by processor time. They take turns; the tables show the least time of all rounds.
Tiles and squares do the shapes that they are for; a processor without AMX has no squares.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from markdown import circumstances, table

import gpubp
from gpubp.backends.cpu import blas
from gpubp.backends.cpu.aligned import aligned_empty
from gpubp.backends.cpu.compiled_backend import CompiledBackend
from gpubp.backends.cpu.host_kernels import host_kernels
from gpubp.backends.cpu.threads import use_threads

# sizes and batch
NETWORKS = (
    ((784, 128, 10), 32),
    ((784, 128, 10), 256),
    ((784, 512, 512, 10), 128),
    ((784, 512, 512, 10), 1024),
    ((1024, 2048, 2048, 2048, 10), 1024),
    ((128, 256, 256, 10), 256),
)
INNER = (32, 100, 784, 4096)  # how many products the sums have whose errors are shown
SECONDS = 0.005  # of one measurement of a product
BATCHES = 16
MULTIPLICATIONS = 1_600_000_000  # in the largest products of one measurement of steps
Product = tuple[str, int, int, int, bool, bool]  # what it is, m, n, k, transposed a, transposed b


def products_of(sizes: tuple[int, ...], batch: int) -> list[Product]:
    """Return the products of one of two parts of a step."""
    found: list[Product] = []
    for inputs, outputs in pairwise(sizes):
        half = (inputs // 16 + 1) // 2 * 16
        found.append((f"x W, {inputs} to {outputs}", batch, outputs, half, False, False))
        found.append((f"x' dz, {inputs} to {outputs}", half, outputs, batch, True, False))
        if inputs != sizes[0]:
            found.append((f"dz W', {inputs} to {outputs}", batch, half, outputs, False, True))
    return found


def ways() -> dict[str, blas.Products]:
    """Return the products of each way, by its name."""
    products = CompiledBackend(*host_kernels()).products
    assert products is not None, "NumPy's BLAS was not found"
    found = {
        "BLAS": products._replace(tiled=False, squares=0),
        "tiles": products._replace(squares=0),
    }
    return found | ({"squares": products} if products.squares else {})


def least(work: dict[str, Callable[[], float]], rounds: int) -> list[float]:
    """Return the least seconds of each kind of work, which take turns."""
    times = [[function() for function in work.values()] for _ in range(rounds)]
    return [min(column) for column in zip(*times, strict=True)]


def product_rows(rounds: int) -> list[list[str]]:
    """Return the lines of the table of products."""
    host, _ = host_kernels()
    random, flat = np.random.default_rng(0), np.zeros(1, np.float32)

    def numbers(rows: int, columns: int) -> Any:
        found = aligned_empty((rows, columns), np.dtype(np.float32))
        found[...] = random.standard_normal(found.shape)
        return found

    lines = []
    for sizes, batch in NETWORKS:
        for name, m, n, k, of_a, of_b in products_of(sizes, batch):
            a, b = numbers(*((k, m) if of_a else (m, k))), numbers(*((n, k) if of_b else (k, n)))
            call = ("multiply", a, b, numbers(m, n), of_a, of_b, 1.0)
            times = max(1, int(SECONDS * 5e10 / (m * n * k)))

            def seconds(plan: Any, times: int = times) -> float:
                start = time.thread_time()
                with blas.threads_for(0):
                    host.run_plans(plan, times)
                return (time.thread_time() - start) / times

            plans = {
                way: host.plan([call], 1, products, (flat, flat), False)
                for way, products in ways().items()
            }
            least_times = least({w: lambda p=p: seconds(p) for w, p in plans.items()}, rounds)
            rates = [f"{2e-9 * m * n * k / each:.0f}" for each in least_times]
            title = f"{'-'.join(map(str, sizes))}, {batch}"
            gain = f"{least_times[0] / least_times[-1]:.2f}"
            lines.append([title, name, f"{m} {n} {k}", *rates, gain])
    return lines


def error_rows() -> list[list[str]]:
    """Return the lines of the table of errors, of 128 rows and columns of normal numbers."""
    host, _ = host_kernels()
    random, flat = np.random.default_rng(0), np.zeros(1, np.float32)
    lines = []
    for inner in INNER:
        a = random.standard_normal((128, inner)).astype(np.float32)
        b = random.standard_normal((inner, 128)).astype(np.float32)
        exact = a.astype(np.float64) @ b.astype(np.float64)
        units = 2.0**-24 * (np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64))
        cells = [f"{inner}"]
        for products in ways().values():
            found = np.empty((128, 128), np.float32)
            call = ("multiply", a, b, found, False, False, 1.0)
            host.run_plans(host.plan([call], 1, products, (flat, flat), False), 1)
            errors = np.abs(found - exact) / units
            cells.append(f"{np.sqrt((errors**2).mean()):.3f}, {errors.max():.2f}")
        lines.append(cells)
    return lines


def trainer(
    sizes: tuple[int, ...], batch: int, products: blas.Products, clock: Callable[[], float]
) -> Callable[[], float]:
    """Return a function that trains a while and returns the seconds of a step."""
    random = np.random.default_rng(0)
    x = random.random((BATCHES * batch, sizes[0]), dtype=np.float32)
    y = random.integers(0, sizes[-1], len(x))
    epochs = max(1, MULTIPLICATIONS // (len(x) * max(a * b for a, b in pairwise(sizes))))
    backend = CompiledBackend(*host_kernels())
    backend.products = products
    net = gpubp.Network(list(sizes), output="softmax", backend=backend)

    def seconds() -> float:
        start = clock()
        net.fit(x, y, batch_size=batch, epochs=epochs, optimizer=gpubp.Adam())
        return (clock() - start) / (BATCHES * epochs)

    seconds()
    return seconds


def step_rows(threads: int, rounds: int) -> list[list[str]]:
    """Return the lines of the table of steps."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    lines = []
    for sizes, batch in NETWORKS:
        work = {way: trainer(sizes, batch, products, clock) for way, products in ways().items()}
        times = least(work, rounds)
        title = f"{'-'.join(map(str, sizes))}, {batch}"
        lines.append([title, *(f"{1e6 * t:,.0f}" for t in times), f"{times[0] / times[-1]:.2f}"])
    return lines


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    use_threads(given.threads)
    print("GFLOP/s of a product on one thread\n")
    names = list(ways())
    head = ["network, batch", "product", "m n k", *names, f"{names[-1]} / BLAS"]
    print(table(head, product_rows(given.rounds)))
    print("\nErrors beside float64, root of the mean square and largest, in 2^-24 of the sum of")
    print("magnitudes of what is summed\n")
    print(table(["products in a sum", *names], error_rows()))
    print(f"\nmicroseconds a step, threads: {given.threads}\n")
    head = ["network, batch", *names, f"BLAS / {names[-1]}"]
    print(table(head, step_rows(given.threads, given.rounds)))
    print(f"\n{circumstances()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
