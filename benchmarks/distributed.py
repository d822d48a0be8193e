"""Measure several ranks beside one: rows a second, share of the time spent waiting, scaling.

    python benchmarks/distributed.py --ranks 1 2 --rounds 5

Every rank has one BLAS thread. The jobs run in turn, each in processes of its own; what is timed
lies within a job, after a first epoch. Extra: ``mpi-mpich``, or another MPI.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from markdown import circumstances, number, table

import gpubp
from gpubp.cli.openblas import use_best_kernels
from gpubp.distributed.launching import environment, find_launcher, launcher_vendor

SIZES = [784, 512, 512, 10]
BATCH = 2048
ROWS = 16 * BATCH
EPOCHS = 4


def job(out: str, deterministic: bool, batch: int) -> None:
    """Train in this rank, among the others of its job; rank 0 writes what it measured."""
    from gpubp.distributed import communicator

    talk = communicator()
    rng = np.random.default_rng(0)
    x = rng.random((ROWS, SIZES[0]), np.float32)
    y = rng.integers(0, SIZES[-1], ROWS)
    net = gpubp.Network(SIZES, output="softmax", backend="cpu")
    settings = {"batch_size": batch, "distributed": talk, "deterministic": deterministic}
    net.fit(x, y, epochs=1, **settings)
    talk.barrier("the beginning")
    before, start = talk.seconds, time.perf_counter()
    net.fit(x, y, epochs=EPOCHS, **settings)
    talk.barrier("the end")
    seconds = time.perf_counter() - start
    if talk.is_root:
        found = {"rate": ROWS * EPOCHS / seconds, "waiting": (talk.seconds - before) / seconds}
        Path(out).write_text(json.dumps(found))


def measured(ranks: int, deterministic: bool) -> dict[str, float]:
    """Run a job of so many ranks and return what its rank 0 wrote."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "found.json")
        launcher = [find_launcher(), "-n", str(ranks)]
        _finish(_start(launcher, ranks, ["--job", out] + ["--deterministic"] * deterministic))
        found: dict[str, float] = json.loads(Path(out).read_text())
        return found


def apart(ranks: int) -> dict[str, float]:
    """Run so many jobs of one rank at a time, each on its part of the batch; add up their rates.

    They never wait for each other: no training together could be faster on these processors.
    """
    with tempfile.TemporaryDirectory() as folder:
        outs = [str(Path(folder) / f"{rank}.json") for rank in range(ranks)]
        words = ["--batch", str(BATCH // ranks)]
        for process in [_start([], ranks, ["--job", out, *words]) for out in outs]:
            _finish(process)
        found = [json.loads(Path(out).read_text()) for out in outs]
        return {"rate": sum(one["rate"] for one in found), "waiting": 0.0}


def _start(launcher: list[str], ranks: int, words: list[str]) -> subprocess.Popen[bytes]:
    command = [*launcher, sys.executable, "-m", "mpi4py", __file__, *words]
    one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment(ranks) | one, stderr=subprocess.DEVNULL)


def _finish(process: subprocess.Popen[bytes]) -> None:
    if process.wait():
        raise SystemExit(f"a job ended with exit code {process.returncode}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--deterministic", action="store_true", help="add up in integers")
    parser.add_argument("--batch", type=int, default=BATCH, help="for the ranks themselves")
    parser.add_argument("--job", default="", help="for the ranks themselves")
    options = parser.parse_args()
    if options.job:
        job(options.job, options.deterministic, options.batch)
        return
    use_best_kernels()
    first = options.ranks[0]
    jobs = {str(ranks): (measured, ranks) for ranks in options.ranks}
    jobs |= {f"{n} apart": (apart, n) for n in options.ranks if n > 1}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in jobs}
    for _ in range(options.rounds):
        for name, (run, ranks) in jobs.items():
            more = (options.deterministic,) if run is measured else ()
            found[name].append(run(ranks, *more))
            print(name, found[name][-1], file=sys.stderr)
    rows = []
    for name, (_, ranks) in jobs.items():
        pairs = zip(found[name], found[str(first)], strict=True)
        rows.append(
            [
                name,
                number(statistics.median(one["rate"] for one in found[name])),
                number(statistics.median(one["rate"] / ranks for one in found[name])),
                f"{statistics.median(one['waiting'] for one in found[name]):.1%}",
                number(statistics.median(a["rate"] / b["rate"] for a, b in pairs)),
            ]
        )
    import mpi4py

    print("# Several ranks beside one, on the CPU\n")
    print(circumstances(f"mpi4py {mpi4py.__version__}", launcher_vendor(find_launcher())))
    how = ", deterministic" if options.deterministic else ""
    print(
        f"{'-'.join(map(str, SIZES))}, Adam, float32, {BATCH} rows a batch over all ranks, one BLAS"
        f" thread a rank{how}\n"
    )
    head = ["ranks", "rows/s", "rows/s a rank", "waiting", f"beside {first}"]
    print(table(head, rows))
    print(
        f"\nMedians over {options.rounds} rounds, the jobs in turn; ratios within a round. Apart:"
        " jobs of one rank at the same time, each with its part of the batch, that never talk: what"
        " these processors give at most."
    )


if __name__ == "__main__":
    main()
