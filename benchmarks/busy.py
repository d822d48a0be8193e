"""Time training steps on a quiet and on a busy machine, beside PyTorch, JAX and scikit-learn.

    python benchmarks/busy.py --peer-python PATH

A busy machine has one or two processes beside the one that trains, which only count. Peers run and
take turns as in cpu.py. The tables show microseconds a step, the median over the rounds, and how
many times as long it takes beside busy processes as on a quiet machine. A case is printed as soon
as it is measured.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cases import MIDDLE, SMALL, Case
from cpu import measure, start
from default_network import STEPS, default_cases
from markdown import Rounds, circumstances, fastest, median, ratio, row, table

BUSY = (0, 1, 2)  # processes beside
LIBRARIES = {  # the columns: a library's modes, of which the fastest counts
    "gpubp": ("gpubp", "gpubp-fit"),
    "PyTorch": ("torch",),
    "JAX": ("jax", "jax-scan"),
    "scikit-learn": ("sklearn",),
}
SAID = ("python", "numpy", "gpubp", "compiled kernels")  # of versions, by every report
PEERS = [mode for modes in LIBRARIES.values() for mode in modes]


def busy_cases() -> list[Case]:
    """Return what is trained: steps with Adam, and epochs of the default networks for tables."""
    shapes = ((SMALL, 32), (SMALL, 256), (MIDDLE, 128), (MIDDLE, 1024))
    return [Case("step", sizes, batch) for sizes, batch in shapes] + default_cases()


def count_on() -> None:
    """Keep a processor busy."""
    while True:
        sum(range(100_000))


@contextmanager
def beside(count: int) -> Iterator[None]:
    """Keep so many processes counting within the context."""
    processes = [multiprocessing.Process(target=count_on, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def lines_of(case: Case, found: dict[int, Rounds]) -> list[list[str]]:
    """Return a case's lines of the table, one for each number of busy processes."""
    steps = STEPS if case.kind == "default" else 1
    lines = []
    for busy, rounds in found.items():
        cells = []
        for modes in LIBRARIES.values():
            mode = fastest(rounds, modes)
            seconds, quiet = median(rounds, mode), median(found[0], fastest(found[0], modes))
            if seconds is None or quiet is None:
                cells.append("")
                continue
            more = f" ({seconds / quiet:.1f})" if busy else ""
            cells.append(f"{1e6 * seconds / steps:,.0f}{more}")
        own = LIBRARIES["gpubp"]
        others = [mode for mode in PEERS if mode not in own]
        best = ratio(rounds, fastest(rounds, others), fastest(rounds, own))
        cells.append("" if best is None else f"{best:.2f}")
        lines.append([case.name.removesuffix("/relu") if not busy else "", str(busy), *cells])
    return lines


def main() -> int:
    """Print the table, line by line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peer-python", default=sys.executable, help="has the other libraries")
    parser.add_argument("--cases", default="", help="a regular expression of their names")
    parser.add_argument("--peers", type=lambda text: text.split(","), default=PEERS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one round of one peer")
    options = parser.parse_args()
    options.threads, options.clock = os.cpu_count() or 1, "wall"
    peers, about = start(options)
    versions = {
        name: value for peer in peers for name, value in about["versions"][peer.name].items()
    }
    others = [f"{name} {value}" for name, value in versions.items() if name not in SAID]
    print(circumstances(*others))
    print(table(["network, batch", "busy", *LIBRARIES, "best other / gpubp"], []), flush=True)
    for case in filter(lambda case: re.search(options.cases, case.name), busy_cases()):
        found: dict[int, Rounds] = {}
        for busy in BUSY:
            with beside(busy):
                found[busy] = measure(case, peers, options)["rounds"]
        for line in lines_of(case, found):
            print(row(line), flush=True)
    for peer in peers:
        peer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
