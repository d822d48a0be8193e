"""Compare training on the CPU with PyTorch, JAX and scikit-learn, and with the products alone.

    python benchmarks/cpu.py --peer-python PATH --mnist FOLDER

Every peer runs in a process of its own. In a round each does the work of the case once, one after
the other, in an order drawn anew each time, with a pause in between: threads of OpenBLAS and OpenMP
spin for up to a tenth of a second after the last product, and would slow down whoever comes next. A
ratio is the median over the rounds of the ratio within a round. Results go to
benchmarks/results/cpu-speed.md and .json, or to files of the name that --report gives.

On a machine that others use too, --clock processor --threads 1 counts each peer's processor time.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cases import MANY, Case, cases, write_rows
from default_network import default_cases
from footprint import footprint
from process import Peer, turns
from report import write_report

from gpubp.cli.openblas import WIDE, has_wide_vectors

HERE = Path(__file__).parent
WITH_NUMPY_BLAS = ("gpubp", "gpubp-fit", "gpubp-numpy", "floor", "sklearn")
# Run by this Python; the others by --peer-python.
OWN = (
    *("gpubp", "gpubp-fit", "gpubp-numpy", "floor", "gpubp-bfloat16", "gpubp-compiled"),
    "gpubp-estimator",
)
OTHERS = ("torch", "torch-compile", "torch-bfloat16", "jax", "jax-scan", "sklearn", "onnxruntime")
PEERS = (*OWN, *OTHERS)
KINDS = {  # of cases that a peer does; the others do all
    "gpubp-fit": ("step",),
    "gpubp-numpy": ("step", "epoch", "predict"),
    "gpubp-bfloat16": ("step", "epoch", "predict", "accuracy"),
    "floor": ("step", "predict"),
    "sklearn": ("step", "epoch", "predict", "accuracy"),
    "torch-bfloat16": ("step", "epoch", "predict", "accuracy"),
    "torch-compile": ("step", "epoch", "predict", "default"),
    "gpubp-compiled": ("predict",),
    "gpubp-estimator": ("predict",),
    "onnxruntime": ("predict",),
}
PAUSE = 0.25  # seconds between two peers


def environment(peer: str, default_blas: bool, threads: int, clock: str) -> dict[str, str]:
    """Return the environment of a worker."""
    found = {**os.environ, "GPUBP_BENCHMARK_CLOCK": clock}
    for variable in ("OMP", "MKL", "OPENBLAS"):
        found[f"{variable}_NUM_THREADS"] = str(threads)
    if peer == "gpubp-numpy":
        found["GPUBP_HOST_KERNELS"] = "off"
    if default_blas:
        found.pop("OPENBLAS_CORETYPE", None)
    elif peer in WITH_NUMPY_BLAS and has_wide_vectors():
        found.setdefault("OPENBLAS_CORETYPE", WIDE)  # as the command gpubp does
    return found


def load() -> float | None:
    """Return how many processes ran or waited to run in the last minute; None where none says."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def start(options: argparse.Namespace) -> tuple[list[Peer], dict[str, Any]]:
    """Start the workers; leave out what is not installed and settings that change nothing."""
    wanted = [name for name in PEERS if name in options.peers]
    wanted += [f"{name}@default" for name in WITH_NUMPY_BLAS if name in options.peers]
    peers, versions, missing = [], {}, {}
    for name in wanted:
        peer, _, blas = name.partition("@")
        python = sys.executable if peer in OWN else options.peer_python
        settings = environment(peer, blas == "default", options.threads, options.clock)
        worker = Peer(name, python, settings)
        answer = worker.ask(versions=1)
        if "error" in answer:
            missing[name] = answer["error"]
            worker.close()
        else:
            versions[name] = answer["versions"]
            peers.append(worker)
    same = versions.get("floor", {}).get("blas kernels")
    same_kernels = same is not None and same == versions.get("floor@default", {}).get(
        "blas kernels"
    )
    if same_kernels:
        for worker in [worker for worker in peers if worker.name.endswith("@default")]:
            worker.close()
            peers.remove(worker)
    return peers, {"versions": versions, "missing": missing, "same_kernels": same_kernels}


def measure(case: Case, peers: list[Peer], options: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of every round of every peer, and why a peer has none."""
    able, problems = [], {}
    for peer in peers:
        if case.kind not in KINDS.get(peer.peer, (case.kind,)):
            continue
        problem = peer.prepare(case, options.seconds)
        if problem:
            problems[peer.name] = problem
        else:
            able.append(peer)
    rounds: dict[str, list[float]] = {peer.name: [] for peer in able}
    for _, peer in turns(options.rounds, able):
        time.sleep(PAUSE)
        rounds[peer.name].append(peer.seconds())
    memory = {peer.name: peer.memory for peer in able}
    return {"rounds": rounds, "problems": problems, "memory": memory}


@contextmanager
def rows_at_hand(case: Case) -> Iterator[Case]:
    """Give the case, with a file of its rows where there are very many, which is then removed."""
    if case.kind != "predict" or case.rows < MANY:
        yield case
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.npy")
        write_rows(case, path)
        yield replace(case, file=str(path))


def measure_accuracy(case: Case, peers: list[Peer], options: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds, epochs and accuracy of runs with different seeds."""
    runs: dict[str, list[Any]] = {}
    for seed in range(options.seeds):
        for peer in peers:
            if case.kind in KINDS.get(peer.peer, (case.kind,)) and peer.name == peer.peer:
                peer.ask(prepare=asdict(case))
                runs.setdefault(peer.name, []).append(peer.ask(train=seed))
    return {"runs": runs}


def main() -> None:
    """Measure and write the results."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", default=sys.executable, help="has the other libraries")
    parser.add_argument("--mnist", default="", help="folder of the four MNIST files")
    parser.add_argument("--cases", default="", help="regular expression on the names of cases")
    parser.add_argument("--peers", type=lambda text: text.split(","), default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4, help="of one round of one peer")
    parser.add_argument("--seeds", type=int, default=3, help="runs to the accuracy")
    parser.add_argument("--threads", type=int, default=cores)
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--report", default="cpu-speed", help="name of the files of results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "threads": options.threads,
        "clock": options.clock,
        "load": (load(), load()),
        "cases": {},
    }
    peers, about = start(options)
    result |= about
    for case in [*cases(options.mnist), *default_cases()]:
        if not re.search(options.cases, case.name):
            continue
        print(case.name, file=sys.stderr, flush=True)
        how = measure_accuracy if case.kind == "accuracy" else measure
        result["load"] = (result["load"][0], load())
        with rows_at_hand(case) as given:
            result["cases"][case.name] = {"case": asdict(case), **how(given, peers, options)}
        write_report(result, options.out, options.report)
    for peer in peers:
        peer.close()
    if not options.cases:
        result["footprint"] = footprint(options.peer_python)
    print(write_report(result, options.out, options.report))


if __name__ == "__main__":
    main()
