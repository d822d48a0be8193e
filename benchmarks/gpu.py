"""Check and measure gpubp on this machine's NVIDIA GPU, beside PyTorch and JAX, in 8 minutes.

    python benchmarks/gpu.py

needs gpubp, CuPy and pytest (with hypothesis and mpmath), and no network; PyTorch and JAX are
measured where they are installed. First the tests run on the GPU: among them every kernel against
float64, 100 training steps against the CPU's, and replayed steps against steps that are not
recorded. Then every peer, in a process of its own, does each case in interleaved rounds; times are
the device's own where a library can tell them. Results go to benchmarks/results/<device>.md and
.json.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shlex
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cases import Case, gpu_cases, products_of
from gpu_report import write_report
from process import Peer

import gpubp
from gpubp.backends.precision import PRECISIONS
from gpubp.errors import BackendUnavailableError

HERE = Path(__file__).parent
OWN = ("gpu-gpubp", "gpu-products")
TORCH = ("gpu-torch", "gpu-torch-compile", "gpu-torch-graph")
PEERS = (*OWN, *TORCH, "gpu-jax", "gpu-jax-scan")
COMPILED_SHARE = 0.5  # of the time; after it no more is spent on compiling a PyTorch case
COPY_BYTES = 1 << 30
SIDE = 8192  # of the matrices that the ceiling is measured with


class Clock:
    """How much of the time is used."""

    def __init__(self, minutes: float) -> None:
        self._start, self._seconds = time.perf_counter(), 60 * minutes

    @property
    def used(self) -> float:
        """The share of the time that is used, from 0."""
        return (time.perf_counter() - self._start) / self._seconds


def run_tests() -> dict[str, Any]:
    """Run the tests that use the GPU; return what pytest said last, and whether all passed."""
    environment = os.environ | {"GPUBP_REQUIRE_GPU": "1", "GPUBP_TEST_BACKEND": "gpu"}
    tests = [str(HERE.parent / "tests"), "-k", "gpu"]  # those with a backend to choose name it
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.strip().splitlines() or [done.stderr.strip()[-200:]]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"passed": done.returncode == 0, "said": lines[-1], "failed": failed}


def ceilings() -> dict[str, float]:
    """Return the bytes a second of a large copy, and the operations a second of large products."""
    import cupy
    from peers.gpu_gpubp_peer import Products, timed

    source = cupy.random.default_rng(0).integers(0, 255, COPY_BYTES, dtype=cupy.uint8)
    target = cupy.empty_like(source)
    copies = [timed(lambda: cupy.copyto(target, source)) for _ in range(10)]
    found = {"copy": 2 * COPY_BYTES / sorted(copies)[len(copies) // 2]}
    for precision in PRECISIONS:
        case = Case("predict", (SIDE, SIDE), SIDE, rows=SIDE, precision=precision)
        repeat = Products().step(case)
        repeat(5)
        _, seconds = repeat(5)
        found[precision] = 5 * 2 * SIDE**3 / seconds
    return found


def floor(case: Case, rates: dict[str, float]) -> float:
    """Return the least seconds for a case: its operations or its bytes at the measured ceilings."""
    precision = PRECISIONS[case.precision]
    operations = sum(2 * m * n * k for m, n, k in products_of(case))
    parameters = sum(
        (inputs + 1) * outputs for inputs, outputs in zip(case.sizes, case.sizes[1:], strict=False)
    )
    stored, full = precision.stored.itemsize, precision.dtype.itemsize
    outputs = case.batch * sum(case.sizes[1:])
    # inputs: once. A layer's outputs: written, read by the next layer and by the weight's gradient;
    # their gradients: written, read twice. Weights, gradients and moments: the optimizer's 7 times.
    moved = case.batch * case.sizes[0] * 4
    if case.kind == "step":
        moved += 6 * outputs * stored + parameters * (2 * stored + 7 * full)
    else:
        moved += 2 * outputs * stored + parameters * stored
    return max(operations / rates[case.precision], moved / rates["copy"])


def start_peers(names: list[str]) -> tuple[list[Peer], dict[str, Any], dict[str, str]]:
    """Start the peers; return them, their versions, and why others are missing."""
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    peers, versions, missing = [], {}, {}
    for name in names:
        peer = Peer(name, sys.executable, environment)
        answer = peer.ask(versions=1)
        if "error" in answer:
            missing[name] = answer["error"]
            peer.close()
        else:
            peers.append(peer)
            versions |= answer["versions"]
    return peers, versions, missing


def measure(case: Case, peers: list[Peer], options: argparse.Namespace, clock: Clock) -> Any:
    """Return the seconds of every round of every peer, and why a peer has none."""
    able, problems = [], {}
    for peer in peers:
        if "compile" in peer.name and clock.used > COMPILED_SHARE:
            problems[peer.name] = "left out: compiling takes too long for the time that is left"
            continue
        problem = peer.prepare(case, options.seconds)
        if problem:
            problems[peer.name] = problem
        else:
            able.append(peer)
    rounds: dict[str, list[float]] = {peer.name: [] for peer in able}
    for number in range(options.rounds):
        for peer in random.Random(number).sample(able, len(able)):
            rounds[peer.name].append(peer.seconds())
    for peer in able:
        peer.ask(forget=1)
    return {"rounds": rounds, "problems": problems}


def main() -> int:
    """Check, measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="", help="regular expression on the names of cases")
    parser.add_argument("--peers", type=lambda text: text.split(","), default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.15, help="of one round of one peer")
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="in all; later cases are left out"
    )
    parser.add_argument("--no-tests", action="store_true", help="measure only")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    clock = Clock(options.minutes)
    try:
        backend = gpubp.get_backend("gpu")
    except BackendUnavailableError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "device": backend.device,
        "notes": backend.notes,
        "tests": None if options.no_tests else run_tests(),
        "ceilings": ceilings(),
        "cases": {},
        "left_out": [],
    }
    peers, result["versions"], result["missing"] = start_peers(
        [name for name in PEERS if name in options.peers]
    )
    for case in gpu_cases():
        if not re.search(options.cases, case.name):
            continue
        if clock.used > 0.95:
            result["left_out"].append(case.name)
            continue
        print(case.name, file=sys.stderr, flush=True)
        found = measure(case, peers, options, clock)
        limit = floor(case, result["ceilings"])
        result["cases"][case.name] = {"case": asdict(case), "floor": limit, **found}
        write_report(result, options.out)
    for peer in peers:
        peer.close()
    print(write_report(result, options.out))
    return 0 if result["tests"] is None or result["tests"]["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
