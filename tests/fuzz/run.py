"""`nox -s fuzz -- --minutes N`: attacks for hours; writes what was tried to a Markdown file."""

from __future__ import annotations

import argparse
import faulthandler
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from attacks import ATTACKS, failure

LIMIT = 10  # seconds of a case
GROWTH = 2 << 30  # bytes that the process may grow by
WEIGHTS = {"model files": 5}  # cases for each of another kind


def main() -> int:
    """Attack until the time is over; return how many kinds of failure there are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--first", type=int, default=1_000_000, help="number of the first case")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/fuzz.md"))
    given = parser.parse_args()
    start, tried, failures = time.monotonic(), Counter[str](), Counter[str]()
    folder = Path(tempfile.mkdtemp(prefix="gpubp-fuzz-"))
    prepared = {}
    for name, make in ATTACKS.items():
        (folder / name).mkdir()
        prepared[name] = make(folder / name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stderr = open(folder / "stderr", "w", encoding="utf-8")  # noqa: SIM115 - notes of what is converted
    number = given.first
    while time.monotonic() - start < 60 * given.minutes:
        for name, attack in prepared.items():
            for _ in range(WEIGHTS.get(name, 1)):
                number += 1
                faulthandler.dump_traceback_later(5 * LIMIT, exit=True, file=sys.__stderr__)
                begun = time.monotonic()
                what = failure(attack, number)
                faulthandler.cancel_dump_traceback_later()
                if time.monotonic() - begun > LIMIT:
                    what = f"it took more than {LIMIT} s"
                tried[name] += 1
                if what:
                    failures[f"{name}: {what}"] += 1
                    if failures[f"{name}: {what}"] == 1:
                        print(f"{name} {number}: {what}", flush=True)
        if tried["checkpoints"] % 50 == 0:
            write(given.out, tried, failures, time.monotonic() - start, before)
    write(given.out, tried, failures, time.monotonic() - start, before)
    return min(len(failures), 1)


def write(
    path: Path, tried: Counter[str], failures: Counter[str], seconds: float, before: int
) -> None:
    """Write the report."""
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    lines = [
        "# Fuzzing",
        "",
        "Printed by `nox -s fuzz -- --minutes N`: files changed at random, odd arrays, settings.",
        "A failure is an exception that is not of `gpubp.errors`, or has several lines, a case of",
        "more than 10 s, or growth beyond 2 GB.",
        "",
        f"Time: {seconds / 60:.1f} min in one process. Memory grew by {grown / 1e6:.0f} MB"
        f" ({'too much' if grown > GROWTH else 'allowed are 2 GB'}).",
        "",
        "| what | cases |",
        "|---|---:|",
        *(f"| {name} | {count:,} |" for name, count in tried.items()),
        "",
        f"Failures: {sum(failures.values()) or 'none'}.",
        *(f"\n- {count} times {what}" for what, count in failures.most_common()),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
