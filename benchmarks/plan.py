"""Compare what `gpubp plan` predicts for 1, 2 and 4 ranks with the steps they take here.

    python benchmarks/plan.py --ranks 1 2 4

For each number of ranks the constants are measured with as many (`plan --calibrate`): on fewer
processors than ranks each computes more slowly. Extra: ``mpi-mpich``, or another MPI.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from markdown import circumstances, number, table

import gpubp
from distributed import BATCH, SIZES, measured
from gpubp.cli.openblas import use_best_kernels
from gpubp.cli.planning import Constants, plan, read_constants
from gpubp.distributed.launching import environment, find_launcher, launcher_vendor


def calibrated(ranks: int) -> Constants:
    """Return the constants that so many ranks measure, each with one thread."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "constants.json"
        command = [find_launcher(), "-n", str(ranks), sys.executable, "-m", "mpi4py", "-m", "gpubp"]
        command += ["plan", "--calibrate", "--backend", "cpu", "--constants", str(path)]
        one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        subprocess.run(command, env=environment(ranks) | one, check=True, capture_output=True)
        return read_constants(path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    use_best_kernels()
    parameters = gpubp.Network(SIZES, backend="cpu").parameters.size
    rows = []
    for ranks in options.ranks:
        predicted, taken = [], []
        for _ in range(options.rounds):
            constants = calibrated(ranks)
            predicted.append(plan(parameters, BATCH, ranks, constants)[-1].step)
            taken.append(BATCH / measured(ranks, False)["rate"])
        mine, real = statistics.median(predicted), statistics.median(taken)
        rows.append(
            [
                str(ranks),
                number(constants.flops / 1e9),
                number(constants.alpha * 1e6),
                number(constants.bandwidth / 1e9),
                number(1e3 * mine),
                number(1e3 * real),
                number(mine / real),
            ]
        )
    print("# What gpubp plan predicts, beside what is measured\n")
    print(circumstances(launcher_vendor(find_launcher())))
    print(f"{'-'.join(map(str, SIZES))}, {BATCH} rows a batch over all ranks, one thread a rank\n")
    head = ["ranks", "GFLOP/s a rank", "alpha us", "GB/s", "predicted ms", "measured ms", "ratio"]
    print(table(head, rows))
    print(
        f"\nMedians over {options.rounds} rounds; constants of the last. With one rank nothing is"
        " sent, and its alpha and bandwidth are those assumed."
    )


if __name__ == "__main__":
    main()
