"""Measure gpubp on this machine's NVIDIA GPU, beside PyTorch and JAX, in 8 minutes.

    python benchmarks/gpu.py --out FOLDER

needs gpubp and CuPy and no network; PyTorch and JAX are measured where they are installed. Every
peer, in a process of its own, does each case in interleaved rounds, one peer after the other where
the data are large; times are the device's own where a library can tell them. A peer that fails or
does not answer in time is told of, begun anew and left out of that case. Results go to
FOLDER/<device>.md and .json after every case, what the peers say to FOLDER/<peer>.log. What the
device computes is not checked here: `python benchmarks/first_contact.py tests` does.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cases import Case, gpu_cases, products_of
from gpu_report import write_report
from process import Peer, PeerError, turns

from gpubp.backends.precision import PRECISIONS

HERE = Path(__file__).parent
CEILINGS = "gpu-products"  # the peer that measures them
OWN = ("gpu-gpubp", "gpu-products")
TORCH = ("gpu-torch", "gpu-torch-compile", "gpu-torch-graph")
PEERS = (*OWN, *TORCH, "gpu-jax", "gpu-jax-scan")
COMPILED_SHARE = 0.5  # of the time; after it no more is spent on compiling a PyTorch case
LARGE_BYTES = 2 << 30  # of a case's data, of which several peers would fill a device


class Clock:
    """How much of the time is used."""

    def __init__(self, minutes: float) -> None:
        self._start, self._seconds = time.perf_counter(), 60 * minutes

    @property
    def used(self) -> float:
        """The share of the time that is used, from 0."""
        return (time.perf_counter() - self._start) / self._seconds


def floor(case: Case, rates: dict[str, float]) -> float | None:
    """Return the least seconds for a case: its operations or its bytes at the measured ceilings.

    None where the ceilings could not be measured.
    """
    if not {case.precision, "copy"} <= set(rates):
        return None
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


def is_large(case: Case) -> bool:
    """Return whether a case's data, 16 batches or all rows, are large."""
    rows = case.rows if case.kind == "predict" else 16 * case.batch
    return 4 * rows * case.sizes[0] >= LARGE_BYTES


def start(name: str, options: argparse.Namespace) -> Peer:
    """Start a peer, its standard error in a file of its own."""
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    log = options.out / f"{name}.log"
    return Peer(name, sys.executable, environment, log, options.limit)


def ceilings(options: argparse.Namespace) -> dict[str, Any]:
    """Return device, notes, rates and problems, measured in a process that then ends."""
    peer = start(options.ceilings, options)
    found = peer.ask(ceilings=1)
    peer.close()
    if "error" in found:
        problems = {"all": found["error"]}
        return {"device": "unknown device", "notes": [], "rates": {}, "problems": problems}
    return found


def start_peers(options: argparse.Namespace) -> tuple[list[Peer], dict[str, Any], dict[str, str]]:
    """Start the peers; return them, their versions, and why others are missing.

    All begin at once: what takes most of their start is the import of a library.
    """
    peers, versions, missing = [], {}, {}
    for peer in [start(name, options) for name in options.peers]:
        answer = peer.ask(versions=1)
        if "error" in answer:
            missing[peer.name] = answer["error"]
            peer.close()
        else:
            peers.append(peer)
            versions |= answer["versions"]
    return peers, versions, missing


def measure(case: Case, peers: list[Peer], options: argparse.Namespace, clock: Clock) -> Any:
    """Return the seconds of every round of every peer, and why a peer has none."""
    found: dict[str, Any] = {"rounds": {}, "problems": {}}
    able = []
    for peer in peers:
        if "compile" in peer.name and clock.used > COMPILED_SHARE:
            found["problems"][peer.name] = "left out: compiling takes too long for what is left"
        else:
            able.append(peer)
    together = [[peer] for peer in able] if is_large(case) else [able]
    for group in together:
        measure_group(case, group, options, found)
        for peer in group:
            leave(peer, case, peer.name in found["problems"])
    return found


def measure_group(
    case: Case, peers: list[Peer], options: argparse.Namespace, found: dict[str, Any]
) -> None:
    """Measure peers in interleaved rounds; one that fails in a round has no rounds at all."""
    rounds, problems = found["rounds"], found["problems"]
    for peer in peers:
        problem = peer.prepare(case, options.seconds)
        if problem:
            problems[peer.name] = problem
            leave(peer, case, failed=True)  # what it holds, the others may need
    able = [peer for peer in peers if peer.name not in problems]
    rounds |= {peer.name: [] for peer in able}
    for number, peer in turns(options.rounds, able):
        try:
            if peer.name not in problems:
                rounds[peer.name].append(peer.seconds())
        except PeerError as error:
            problems[peer.name] = f"in round {number + 1}: {error}"
            del rounds[peer.name]


def leave(peer: Peer, case: Case, failed: bool) -> None:
    """Have a peer give its memory back; by a new process where it failed, or keeps memory."""
    if failed or (is_large(case) and "jax" in peer.name) or "error" in peer.ask(forget=1):
        peer.restart()


def main() -> int:
    """Measure and write the results as they come."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="", help="regular expression on the names of cases")
    parser.add_argument("--peers", type=lambda text: text.split(","), default=list(PEERS))
    parser.add_argument("--ceilings", default=CEILINGS, help="the peer that measures the ceilings")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.15, help="of one round of one peer")
    parser.add_argument(
        "--limit", type=float, default=120, help="seconds that a peer may be silent"
    )
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="in all; later cases are left out"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    clock = Clock(options.minutes)
    options.out.mkdir(parents=True, exist_ok=True)
    about = ceilings(options)
    result: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "device": about["device"],
        "notes": about["notes"],
        "ceilings": about["rates"],
        "ceilings_missing": about["problems"],
        "cases": {},
        "left_out": [],
    }
    peers, result["versions"], result["missing"] = start_peers(options)
    try:
        for case in gpu_cases():
            if not re.search(options.cases, case.name):
                continue
            if clock.used > 0.95 or not peers:
                result["left_out"].append(case.name)
                continue
            print(case.name, file=sys.stderr, flush=True)
            found = measure(case, peers, options, clock)
            limit = floor(case, result["ceilings"])
            result["cases"][case.name] = {"case": asdict(case), "floor": limit, **found}
            write_report(result, options.out)
    finally:
        for peer in peers:
            peer.close()
        print(write_report(result, options.out))
    return 0 if any(found["rounds"] for found in result["cases"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
